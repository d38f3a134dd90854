"""Until when gateways have listened to what persons write, for each account."""

from datetime import datetime
from typing import Final

from sendwindow.timestamps import from_ms
from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import worker_script

_LISTENING: Final = worker_script("listening")


class InboundCoverageStore:
    """Records and reads until when gateways listened, by the store's clock."""

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def heard_until(self, account: str) -> tuple[datetime, datetime | None]:
        """Return the store's now, and until when a gateway listened for this account.

        None: no gateway ever did. Raises redis-py's errors.
        """
        now, before = await self._calls.run(_LISTENING, ["", account])
        return from_ms(int(now)), from_ms(int(before)) if before else None

    async def hear(self, account: str) -> None:
        """Record that a gateway is listening for this account now. Raises redis-py's errors."""
        await self._calls.run(_LISTENING, ["1", account])
