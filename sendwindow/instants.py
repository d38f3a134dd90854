"""The producer's clock, and instants as milliseconds since 1970 and aware datetimes in UTC."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
# A year away from what datetime can hold, so that a zone or a duration may still be added.
_FIRST_MS: Final = (datetime(2, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
_LAST_MS: Final = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MS


def now_ms() -> int:
    """Read this machine's clock in milliseconds. Only ids and the informational `et` of a job rest on it."""
    return time.time_ns() // 1_000_000  # noqa: TID251  # a backend installs this package without worker.clock


def to_ms(instant: datetime) -> int:
    """Turn an aware datetime into whole milliseconds, rounding down."""
    return (instant - _EPOCH) // _MS


def from_ms(ms: float) -> datetime:
    """Turn milliseconds into an aware datetime in UTC, whole milliseconds. Absurd ones become year 2 or 9999."""
    return _EPOCH + int(min(_LAST_MS, max(_FIRST_MS, ms))) * _MS
