"""Checks whether the gateway can use its store and its journal.

A readiness probe reaches the store at most once a second.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from sendwindow.store_faults import fault_of
from worker.ports.records import Records
from worker.runtime.clock import monotonic
from worker.telemetry.journal import Journal
from worker.telemetry.metrics import Metrics
from worker.telemetry.stored_metrics import Snapshot

FRESH_SECONDS: Final = 1.0
MAX_SECONDS: Final = 2.0
"""A probe of the store that takes longer counts as failed."""


NOT_ANSWERED: Final = "the store has not answered yet"


class StoreNotOpenError(ConnectionError):
    """The gateway may not use the store, or not yet. The text says why."""


class StoreHealth:
    """Whether the store answers and accepts writes, and its totals.

    `records` raises StoreNotOpenError while the store is not open yet.

    `place` names the store in `problem`. `problem` is None while the store can be used.
    """

    def __init__(self, records: Callable[[], Records], place: str = "the store") -> None:
        self._records = records
        self._place = place
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._totals: Snapshot | None = None
        self._counted_at = float("-inf")
        self.problem: str | None = NOT_ANSWERED

    async def look(self) -> bool:
        """Return whether the store can be used.

        It probes the store at most once a second. The cost of a probe does not grow with the number
        of messages. Raises nothing.
        """
        async with self._lock:
            if monotonic() - self._looked_at >= FRESH_SECONDS:
                try:
                    records = self._records()
                except StoreNotOpenError as error:
                    # There was no probe, so the next look may come at once.
                    self.problem = str(error)
                else:
                    self.problem = await self._problem(records)
                    self._looked_at = monotonic()
            return self.problem is None

    async def totals(self) -> Snapshot | None:
        """Return the totals and depths, which are counted at most once a second.

        Returns None when the store cannot be used, or when counting takes too long.
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
            async with asyncio.timeout(MAX_SECONDS):
                records = self._records()
                counts, depths = await records.counts(), await records.depths()
                return Snapshot(counts, depths, await records.suspected_for())
        except (RedisError, OSError):
            # The next look() reports the cause. A scrape without totals leaves a gap in the graph,
            # which is correct: the totals are not known.
            return None

    async def _problem(self, records: Records) -> str | None:
        try:
            async with asyncio.timeout(MAX_SECONDS):
                await records.probe()
        except Exception as error:  # noqa: BLE001  # any error means that the store cannot be used
            return fault_of(error).sentence(self._place)
        return None


class JournalHealth:
    """Whether the journal can be written.

    The gateway stores callbacks and responds to them without the journal, because losing a STOP
    would be worse than losing a journal line.
    """

    def __init__(self, journal: Journal, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._journal = journal
        self._metrics = metrics
        self._log = log
        self._is_failing = False

    def look(self) -> None:
        """Write the journal lines that are still missing, if that is possible. Raises nothing.

        It counts every failure, and logs only the first failure and the recovery.
        """
        try:
            self._journal.catch_up()
        except OSError as error:
            self._metrics.failing("journal")
            if not self._is_failing:
                self._is_failing = True
                self._log.error(
                    "failing", part="journal", error=error.strerror, remedy="free space on its disk"
                )
            return
        if self._is_failing:
            self._is_failing = False
            self._log.info("recovered", part="journal")
