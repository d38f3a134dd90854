"""Whether the gateway can use its store and its journal. Readiness asks the store at most once a second."""

import asyncio
from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from sendwindow.store_faults import fault_of
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
    """Whether the store answers and takes writes, and its totals. `records` raises while it is not open yet.

    `place` names the store in `problem`, which is None while the store can be used.
    """

    def __init__(self, records: Callable[[], Records], place: str = "the store") -> None:
        self._records = records
        self._place = place
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._totals: Snapshot | None = None
        self._counted_at = float("-inf")
        self.problem: str | None = "the store has not answered yet"

    async def look(self) -> bool:
        """Return whether the store can be used. Asks it at most once a second, at a cost that does not grow.

        Raises nothing.
        """
        async with self._lock:
            if monotonic() - self._looked_at >= FRESH_SECONDS:
                self.problem = await self._problem()
                self._looked_at = monotonic()
            return self.problem is None

    async def totals(self) -> Snapshot | None:
        """Return totals and depths, counted at most once a second.

        None when the store cannot be used or takes too long to count.
        """
        if not await self.look():
            return None
        async with self._lock:
            if monotonic() - self._counted_at >= FRESH_SECONDS:
                self._totals = await self._count()
                self._counted_at = monotonic()
            return self._totals

    async def _count(self) -> Snapshot | None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                records = self._records()
                counts, depths = await records.counts(), await records.depths()
                return Snapshot(counts, depths, await records.suspected_for())
        except (RedisError, OSError):
            # The next look names the cause; a scrape without totals leaves a gap, which is the truth.
            return None

    async def _problem(self) -> str | None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._records().probe()
        except StoreNotOpenError:
            return "the store has not answered yet"
        except Exception as error:  # noqa: BLE001  # whatever it is, the store cannot be used now
            return fault_of(error).sentence(self._place)
        return None


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
