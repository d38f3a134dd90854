"""What the gateway knows of its store and its journal. The store is asked at most once a second, however many probe."""

import asyncio
from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.clock import monotonic
from worker.journal import Journal
from worker.ports import Records
from worker.telemetry.metrics import Metrics
from worker.telemetry.stored import Snapshot

FRESH_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 2.0
"""A probe that waits longer is a probe that failed."""


class StoreNotOpenError(ConnectionError):
    """The store has not answered since this process started."""


class StoreView:
    """Totals and depths of the store, None while it does not answer. `records` raises while it is not open yet."""

    def __init__(self, records: Callable[[], Records]) -> None:
        self._records = records
        self._lock = asyncio.Lock()
        self._seen: Snapshot | None = None
        self._seen_at = float("-inf")
        self.problem: str | None = None

    async def look(self) -> Snapshot | None:
        """Ask the store unless it answered within the last second; raises nothing."""
        async with self._lock:
            if monotonic() - self._seen_at >= FRESH_SECONDS:
                self._seen = await self._ask()
                self._seen_at = monotonic()
            return self._seen

    async def _ask(self) -> Snapshot | None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                records = self._records()
                snapshot = Snapshot(await records.counts(), await records.depths())
        except StoreNotOpenError:
            self.problem = "the store has not answered yet"
            return None
        except Exception as error:  # noqa: BLE001  # whatever it is, the store cannot be used now
            self.problem = f"the store does not answer ({type(error).__name__})"
            return None
        self.problem = None
        return snapshot


class JournalView:
    """Whether the journal can be written. Callbacks are stored and answered without it: a lost STOP would be worse."""

    def __init__(self, journal: Journal, meter: Metrics, log: FilteringBoundLogger) -> None:
        self._journal = journal
        self._meter = meter
        self._log = log
        self._is_failing = False

    def look(self) -> None:
        """Have it catch up; raises nothing. Counts each failure, logs the first one and the recovery."""
        try:
            self._journal.catch_up()
        except OSError as error:
            self._meter.failing("journal")
            if not self._is_failing:
                self._is_failing = True
                self._log.error("failing", part="journal", error=error.strerror, remedy="free space on its disk")
            return
        if self._is_failing:
            self._is_failing = False
            self._log.info("recovered", part="journal")
