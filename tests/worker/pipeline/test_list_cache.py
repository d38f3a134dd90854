"""A kept list gives the same answers as comparing every row."""

from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from sendwindow.addresses import parse_address
from sendwindow.vocabulary import OnUnknown
from tests.support.cast import GRETA, GRETA_SMS
from worker.pipeline.unknown.list_cache import FRESH, keep
from worker.pipeline.unknown.matching import DOUBT, may_be_to, vouching_for
from worker.ports.unknowns import UnknownAttempt
from worker.twilio.messages import Listing, MessageRow

NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
ADDRESSES: Final = (
    "whatsapp:+5511995550123",
    "whatsapp:+551195550123",
    GRETA,
    "whatsapp:US.abc1",
    "whatsapp:US.abc2",
    "whatsapp:US.ENT.abc1",
    "messenger:1234",
    "messenger:12345",
    GRETA_SMS,
)


def row(number: int, to: str, after: int) -> MessageRow:
    return MessageRow(
        f"SM{number:032x}", "sent", to, "from", "text", NOON + timedelta(seconds=after)
    )


def attempt(intent_at: datetime) -> UnknownAttempt:
    return UnknownAttempt("m1", 1, intent_at, NOON, OnUnknown.NEVER, None)


ROWS: Final = st.lists(
    st.builds(
        row,
        st.integers(0, 40),
        st.sampled_from([*ADDRESSES, "nothing we know"]),
        st.integers(-9, 9),
    ),
    unique_by=lambda one: one.message_sid,
    max_size=12,
)


@given(ROWS, st.sampled_from(ADDRESSES), st.integers(-9, 9), st.sets(st.integers(0, 40)))
def test_a_kept_list_answers_as_every_row_would(
    rows: list[MessageRow], to: str, after: int, known: set[int]
) -> None:
    """The index of a kept list finds the same rows and witnesses as a search row by row."""
    sids = {f"SM{number:032x}" for number in known}
    kept = keep(Listing(tuple(rows), 1), NOON, is_all=True, known=sids)
    address, intent_at = parse_address(to), NOON + timedelta(seconds=after)
    may_be = [one for one in rows if may_be_to(one, address)]
    assert sorted(kept.rows_to(address), key=rows.index) == may_be
    ours = [one for one in rows if one.message_sid in sids]
    assert list(kept.known) == ours
    assert kept.vouches_for(attempt(intent_at), address) == bool(
        vouching_for(ours, intent_at, address)
    )


@given(st.lists(st.integers(-2000, 0), max_size=5), st.booleans(), st.integers(-2000, 0))
def test_a_list_covers_what_it_reaches_back_to(
    seconds: list[int], is_whole: bool, intent: int
) -> None:
    """A list read to its end covers everything; another covers what is newer than its last row."""
    rows = tuple(row(at, GRETA_SMS, after) for at, after in enumerate(seconds))
    kept = keep(Listing(rows, 1, is_whole), NOON, is_all=True)
    intent_at = NOON + timedelta(seconds=intent)
    reaches = (
        seconds == sorted(seconds, reverse=True)
        and bool(rows)
        and rows[-1].created_at < intent_at - DOUBT
    )
    assert kept.covers(attempt(intent_at)) == (is_whole or reaches)


def test_a_list_is_fresh_for_seconds_and_never_before_it_was_read() -> None:
    """A list is fresh for seconds and never before it was read, even if the clock was set back."""
    kept = keep(Listing((), 1, True), NOON, is_all=True)
    assert [
        kept.is_fresh(NOON + wait) for wait in (-SECOND, 0 * SECOND, FRESH - SECOND, FRESH)
    ] == [
        False,
        True,
        True,
        False,
    ]
