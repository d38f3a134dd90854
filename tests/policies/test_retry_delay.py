"""When a message is tried again."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.error_catalogue import ErrorEntry
from policies.retry_delay import FIRST_SPREAD, MAX_RETRY_AFTER, MAX_SPREAD, next_try_at
from tests.depth import examples
from tests.policies.given import DAY, ERRORS, HOUR, MINUTE, NOW, SECOND, TICK

SLOW_DOWN = ERRORS.entries[20429]
ONCE_MORE = ERRORS.entries[30450]
ENTRIES = st.sampled_from(sorted(ERRORS.entries)).map(ERRORS.entries.__getitem__)


def tried(
    attempt: int = 1,
    entry: ErrorEntry = SLOW_DOWN,
    chance: float = 0.0,
    retry_after: float | None = None,
    expires_in: timedelta = DAY,
) -> datetime | None:
    return next_try_at(
        attempt, entry, chance, retry_after=retry_after, now=NOW, expires_at=NOW + expires_in
    )


@pytest.mark.parametrize(
    "attempt, widest",
    [
        (1, 2 * SECOND),
        (2, 4 * SECOND),
        (5, 32 * SECOND),
        (9, 512 * SECOND),
        (10, 15 * MINUTE),
        (10_000, 15 * MINUTE),
    ],
)
def test_the_spread_doubles_with_each_attempt_up_to_its_widest(
    attempt: int, widest: timedelta
) -> None:
    """Exponential with full jitter: chance 0 is the earliest instant, and chance 1 the latest."""
    first = NOW + SLOW_DOWN.wait
    assert tried(attempt, chance=0.0) == first
    assert tried(attempt, chance=0.5) == first + widest / 2
    assert tried(attempt, chance=1.0) == first + widest


@pytest.mark.parametrize(
    "retry_after, least",
    [
        (None, SECOND),
        (0.25, SECOND),
        (30, 30 * SECOND),
        (3600, HOUR),
        (3601, HOUR),
        (1e300, HOUR),
        (float("inf"), HOUR),
        (float("nan"), SECOND),
        (-5, SECOND),
    ],
)
def test_retry_after_is_honoured_up_to_an_hour(retry_after: float | None, least: timedelta) -> None:
    """The longer of header and catalogue counts, at most an hour.

    A nonsense header holds no message for days.
    """
    assert tried(retry_after=retry_after) == NOW + least


def test_an_entry_with_a_number_of_tries_ends_after_them() -> None:
    """30450 may be tried once more, half an hour later."""
    assert tried(1, ONCE_MORE) == NOW + 30 * MINUTE
    assert tried(2, ONCE_MORE) is None


@pytest.mark.parametrize(
    "expires_in, again",
    [
        pytest.param(SECOND, False, id="at-expiry"),
        pytest.param(SECOND + TICK, True, id="just-before"),
    ],
)
def test_nothing_is_tried_on_or_after_expiry(expires_in: timedelta, again: bool) -> None:
    """A retry at or after the expiry is not scheduled."""
    assert (tried(expires_in=expires_in) is not None) is again


def test_a_long_wait_costs_no_message_its_last_try() -> None:
    """A spread ends at the expiry, unless too little time is left for it."""
    left = 90 * SECOND
    assert tried(10_000, chance=0.5, expires_in=SECOND + left) == NOW + SECOND + left / 2
    assert tried(10_000, chance=0.5, expires_in=3 * SECOND) == NOW + 2 * SECOND
    assert tried(10_000, chance=0.5, expires_in=3 * SECOND - TICK) is None


@settings(max_examples=examples(300))
@given(
    attempt=st.integers(-3, 10**9),
    entry=ENTRIES,
    chance=st.floats(-1, 2),
    retry_after=st.none() | st.floats(),
    expires_in=st.timedeltas(-DAY, 3 * DAY),
)
def test_every_retry_lies_between_its_least_wait_and_expiry(
    attempt: int, entry: ErrorEntry, chance: float, retry_after: float | None, expires_in: timedelta
) -> None:
    """A retry is never sooner than the wait, nor later than the spread, and always before
    expiry.
    """
    at = tried(attempt, entry, chance, retry_after, expires_in)
    if at is not None:
        assert NOW + entry.wait <= at < NOW + expires_in
        assert at <= NOW + max(entry.wait, MAX_RETRY_AFTER) + MAX_SPREAD
        assert entry.max_tries == 0 or attempt < entry.max_tries


@given(attempt=st.integers(1, 40), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_greater_chance_never_retries_sooner(attempt: int, low: float, high: float) -> None:
    """A greater random number never gives an earlier retry."""
    unbounded = replace(SLOW_DOWN, max_tries=0)
    first, second = (
        tried(attempt, unbounded, min(low, high)),
        tried(attempt, unbounded, max(low, high)),
    )
    assert first is not None
    assert second is not None
    assert first <= second
    assert FIRST_SPREAD < MAX_SPREAD
