"""What the stores compute without a store: digests and the JSON they write."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendwindow.vocabulary import Reason
from tests.support.cast import ANNA
from worker.stores.fact_parsing import read_state
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


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from(Reason)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé\n\x1f"), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("abcd"), _JSON))
def test_json_is_written_as_the_standard_library_writes_it(fields: dict[str, object]) -> None:
    """Scripts, and timelines that a release before this one wrote, have the same spelling."""
    written = json.dumps(without_none(fields), ensure_ascii=False, separators=(",", ":"))
    assert compact(fields) == written


def test_the_states_of_two_senders_are_not_mixed_up() -> None:
    """A state that was read before is returned for the same fields only."""
    fields: list[bytes | int] = [b"3", b"", b"1790000000000", b"quality"]
    first = read_state(fields)
    assert read_state(fields) == first
    for place, other in enumerate((b"4", b"paused", b"", b"limit")):
        assert read_state([*fields[:place], other, *fields[place + 1 :]]) != first
