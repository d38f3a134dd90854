"""What the stores compute without a store: digests and the JSON they write."""

import pytest

from tests.worker.stores_world import ANNA
from worker.stores.calls import compact, rest_of_note
from worker.stores.digests import Digests


def test_another_key_gives_other_digests() -> None:
    """Digests say nothing without the key; a short key is refused, and the error says what to do."""
    one, two = Digests(b"a" * 16), Digests(b"b" * 16)
    assert one.digest(ANNA) != two.digest(ANNA)
    assert one.fingerprint != two.fingerprint
    assert len(one.digest(ANNA)) == 32
    with pytest.raises(ValueError, match="16 random ones"):
        Digests(b"short")


def test_json_is_compact_and_leaves_out_nothing_said() -> None:
    """None is left out, False and 0 are not."""
    assert compact({"a": None, "b": False, "c": 0, "d": "é"}) == '{"b":false,"c":0,"d":"é"}'
    assert rest_of_note({"n": 1}) == '"n":1'
    assert rest_of_note({}) == ""
