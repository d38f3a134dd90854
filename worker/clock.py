"""The one place that reads this machine's clocks. Where two processes must agree, Redis `TIME` counts instead."""

import time
from datetime import UTC, datetime


def wall_now() -> datetime:
    """Read the wall clock, as an aware datetime in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Read the clock that never goes back, in seconds; permits and deadlines are measured with it."""
    return time.monotonic()


def perf() -> float:
    """Read the finest clock, in seconds; for durations in logs and metrics."""
    return time.perf_counter()
