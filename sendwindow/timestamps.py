"""The producer's clock, and conversions between aware datetimes and milliseconds since 1970."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
# A year away from the limits of datetime, so that a zone or a duration can still be added.
_FIRST_MS: Final = (datetime(2, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
_LAST_MS: Final = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MS


def now_ms() -> int:
    """Return this machine's time in milliseconds since 1970.

    It is used for new ids, for the informational `et` of a job, and to check the times of a new
    message.
    """
    return time.time_ns() // 1_000_000  # noqa: TID251  # a backend installs this package without worker.runtime.clock


def to_ms(instant: datetime) -> int:
    """Return an aware datetime as whole milliseconds since 1970, rounded down."""
    return (instant - _EPOCH) // _MS


def from_ms(ms: float) -> datetime:
    """Return milliseconds since 1970 as an aware datetime in UTC, in whole milliseconds.

    A value outside the supported range becomes the first instant of year 2 or of year 9999.
    """
    return _EPOCH + int(min(_LAST_MS, max(_FIRST_MS, ms))) * _MS
