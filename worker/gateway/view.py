"""What the gateway knows of the store for probes and scrapes: asked at most once a second, however often they come."""

import asyncio
from typing import Final

from worker.clock import monotonic
from worker.ports import Records
from worker.telemetry.stored import Snapshot

FRESH_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 2.0
"""A probe that waits longer is a probe that failed."""


class StoreView:
    """Totals and depths of the store, None while it does not answer."""

    def __init__(self, records: Records) -> None:
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
                snapshot = Snapshot(await self._records.counts(), await self._records.depths())
        except Exception as error:  # noqa: BLE001  # whatever it is, the store cannot be used now
            self.problem = type(error).__name__
            return None
        self.problem = None
        return snapshot
