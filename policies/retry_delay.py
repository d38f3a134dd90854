"""Decides when a message is tried again.

The result depends only on the arguments. The caller supplies the random number.
"""

from datetime import datetime, timedelta
from typing import Final

from policies.error_catalogue import ErrorEntry

FIRST_SPREAD: Final = timedelta(seconds=2)
"""The range over which the first retry is spread. It doubles with every attempt."""

MAX_SPREAD: Final = timedelta(minutes=15)

MAX_RETRY_AFTER: Final = timedelta(hours=1)
"""The longest `Retry-After` that we obey. A wrong header must not delay a message for days."""

_MAX_DOUBLINGS: Final = 16


def next_try_at(
    attempt: int,
    entry: ErrorEntry,
    chance: float,
    *,
    retry_after: float | None,
    now: datetime,
    expires_at: datetime,
) -> datetime | None:
    """Return when to try again after `attempt` attempts, or None if that was the last one.

    The next try is never sooner than the wait of the entry or `retry_after`, which is in seconds as
    the header gave it. To this we add exponential backoff with full jitter: `chance`, a uniform
    random number from 0 to 1, selects a point of a spread. The spread doubles with each attempt but
    does not extend beyond expiry. There is no try at or after expiry.

    Source: Twilio, error 20429, "retry with exponential backoff" (read 2026-11-20).
    """
    if entry.max_tries and attempt >= entry.max_tries:
        return None
    spread = min(MAX_SPREAD, FIRST_SPREAD * 2 ** min(max(attempt - 1, 0), _MAX_DOUBLINGS))
    soonest = now + least_wait(entry, retry_after)
    if FIRST_SPREAD <= (left := expires_at - soonest) < spread:
        # Otherwise the growing spread could reach past expiry, and the message would lose its last
        # try.
        spread = left
    at = soonest + spread * min(max(chance, 0.0), 1.0)
    return at if at < expires_at else None


def least_wait(entry: ErrorEntry, retry_after: float | None) -> timedelta:
    """Return how long an error holds back whatever it concerns: a message, a sender, an account.

    That is the wait of the entry, or `retry_after` if it is longer: what Twilio asked for, in
    seconds, up to `MAX_RETRY_AFTER`.
    """
    if retry_after is None or not retry_after > 0:
        return entry.wait
    asked = timedelta(seconds=min(retry_after, MAX_RETRY_AFTER.total_seconds()))
    return max(entry.wait, asked)
