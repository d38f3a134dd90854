"""When a message is tried again: a pure function of the attempt, the error and a random number given to it."""

from datetime import datetime, timedelta
from typing import Final

from policies.errors import ErrorEntry

FIRST_SPREAD: Final = timedelta(seconds=2)
"""How far the first retry is spread; it doubles with every attempt."""

WIDEST_SPREAD: Final = timedelta(minutes=15)

LONGEST_RETRY_AFTER: Final = timedelta(hours=1)
"""A `Retry-After` beyond this is cut: a wrong header must not hold a message for days."""

_DOUBLINGS: Final = 16


def next_try_at(
    attempt: int,
    entry: ErrorEntry,
    chance: float,
    *,
    retry_after: float | None,
    now: datetime,
    expires_at: datetime,
) -> datetime | None:
    """Answer when to try again after `attempt` attempts, None when this was the last.

    Never sooner than the entry's wait and `retry_after` (seconds, as the header gave it); beyond that, exponential with
    full jitter: `chance`, drawn evenly from 0 to 1, picks a point of a spread that doubles with each attempt, but does
    not reach beyond expiry. What would fall on or after expiry is not tried.
    Source: Twilio, error 20429, "retry with exponential backoff" (read 2026-11-20).
    """
    if entry.max_tries and attempt >= entry.max_tries:
        return None
    spread = min(WIDEST_SPREAD, FIRST_SPREAD * 2 ** min(max(attempt - 1, 0), _DOUBLINGS))
    soonest = now + max(entry.wait, _header(retry_after))
    if FIRST_SPREAD <= (left := expires_at - soonest) < spread:
        # Ever longer waits must not cost a message its last try.
        spread = left
    at = soonest + spread * min(max(chance, 0.0), 1.0)
    return at if at < expires_at else None


def _header(retry_after: float | None) -> timedelta:
    if retry_after is None or not retry_after > 0:
        return timedelta(0)
    return min(LONGEST_RETRY_AFTER, timedelta(seconds=min(retry_after, LONGEST_RETRY_AFTER.total_seconds())))
