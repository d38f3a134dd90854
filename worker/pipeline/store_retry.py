"""Repeats calls to Redis until they succeed. No failure of Redis ends a worker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from worker.pipeline.health import Health

Answer = TypeVar("Answer")

LAST_SECONDS: Final = 1.0
"""How long a stopping worker waits for each of Redis's last replies; Redis may be down."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_MAX_PAUSE_SECONDS: Final = 1.0
"""Short, so that sending resumes within two seconds of Redis's return."""


class StoreRetry:
    """Repeats calls with growing, jittered pauses. `chance` draws evenly from 0 to 1."""

    def __init__(self, health: Health, chance: Callable[[], float]) -> None:
        self.health = health
        self._chance = chance

    async def keep_trying(
        self,
        part: str,
        call: Callable[[], Awaitable[Answer]],
        unless: Callable[[], bool] = lambda: False,
    ) -> Answer | None:
        """Repeat a call until it succeeds, forever if need be.

        Return None when `unless` is true after a failure.
        """
        try:
            return await self._keep_trying(part, call, unless)
        finally:
            self.health.given_up(part)

    async def _keep_trying(
        self, part: str, call: Callable[[], Awaitable[Answer]], unless: Callable[[], bool]
    ) -> Answer | None:
        failures = 0
        while True:
            try:
                answer = await call()
            except Exception as error:  # noqa: BLE001 -- whatever is wrong with Redis, a result must not be lost
                self.health.failed(part, error)
                failures += 1
                if unless():
                    return None
                await self.pause(failures)
            else:
                self.health.works(part)
                return answer

    async def pause(self, failures: int) -> None:
        """Wait before the next try, longer after each failure in a row."""
        longest = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
        await asyncio.sleep(longest * (0.5 + 0.5 * self._chance()))
