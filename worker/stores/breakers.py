"""The breakers of accounts, which claims, admissions and settlements keep in Redis."""

from collections.abc import Sequence
from typing import Final

from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import worker_script

_BREAKERS: Final = worker_script("breakers")
_MAX_ACCOUNTS: Final = 100
"""So that a call takes less than 5 ms of the store."""


class BreakerStore:
    """Implements `worker.ports.Breakers` on one partition."""

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def due(self, accounts: Sequence[str]) -> list[str]:
        """Return the accounts that the caller asks Twilio about now.

        They have an open breaker, or are paused because Twilio refused their credentials. No other
        caller gets them for five seconds.
        """
        found: list[bytes] = []
        for start in range(0, len(accounts), _MAX_ACCOUNTS):
            part = accounts[start : start + _MAX_ACCOUNTS]
            found += await self._calls.run(_BREAKERS, ["due", *part])
        return [name.decode() for name in found]

    async def answered(self, account: str, *, is_active: bool) -> None:
        """Record that Twilio answered a GET, so that one message of the account may try.

        `is_active`: Twilio takes the credentials, so a pause because of them is over.
        """
        word = "accepted" if is_active else "answered"
        await self._calls.run_durably(_BREAKERS, [word, account])
