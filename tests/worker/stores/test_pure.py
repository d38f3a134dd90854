"""What the stores compute without a store: digests and the JSON they write."""

import pytest

from tests.support.cast import ANNA
from worker.stores.person_digests import PersonDigests
from worker.stores.script_runner import compact, without_none


def test_another_key_gives_other_digests() -> None:
    """Another key gives other digests, and a short key is refused with a remedy."""
    one, two = PersonDigests(b"a" * 16), PersonDigests(b"b" * 16)
    assert one.digest(ANNA) != two.digest(ANNA)
    assert one.fingerprint != two.fingerprint
    assert len(one.digest(ANNA)) == 32
    with pytest.raises(ValueError, match="16 random ones"):
        PersonDigests(b"short")


def test_json_is_compact_and_leaves_out_nothing_said() -> None:
    """JSON leaves out None, but not False and 0."""
    assert compact({"a": None, "b": False, "c": 0, "d": "é"}) == '{"b":false,"c":0,"d":"é"}'
    assert without_none({"a": None, "b": False}) == {"b": False}
