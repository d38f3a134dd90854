"""The only module that reads this machine's clocks.

Where two processes must agree on the time, they use Redis `TIME` instead.
"""

import time
from datetime import UTC, datetime


def wall_now() -> datetime:
    """Return the wall-clock time as an aware datetime in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return the seconds of a clock that never goes back. Permits and deadlines use it."""
    return time.monotonic()


def perf() -> float:
    """Return the seconds of the most precise clock. Durations in logs and metrics use it."""
    return time.perf_counter()
