"""The only module that reads this machine's clocks.

`monotonic` returns the seconds of a clock that never goes back. Permits and deadlines use it.
`perf` returns the seconds of the most precise clock. Durations in logs and metrics use it.

Where two processes must agree on the time, they use Redis `TIME` instead.
"""

from datetime import UTC, datetime
from time import monotonic
from time import perf_counter as perf

__all__ = ["monotonic", "perf", "wall_now"]


def wall_now() -> datetime:
    """Return the wall-clock time as an aware datetime in UTC."""
    return datetime.now(UTC)
