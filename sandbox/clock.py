"""The only module of the sandbox that reads this machine's clocks."""

import time
from datetime import UTC, datetime


def wall_now() -> datetime:
    """Return the time of the wall clock, as an aware datetime in UTC."""
    return datetime.now(UTC)


def perf() -> float:
    """Return the most precise clock in seconds. It measures how long a callback took."""
    return time.perf_counter()
