"""Patience with a store that is away or a disk that is full: backoff, and who is failing. No failure ends anything."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from structlog.typing import FilteringBoundLogger

from sendwindow.store_faults import fault_of
from worker.dispatch.meter import Meter

Answer = TypeVar("Answer")

LAST_SECONDS: Final = 1.0
"""How long a stop waits for each of the last answers of the store; it may be away."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Short, so that sending goes on within two seconds of the store's return."""


class Health:
    """Which parts fail at this moment. The first failure and the recovery of a part are logged, not each try."""

    def __init__(self, log: FilteringBoundLogger, meter: Meter, place: str = "the store") -> None:
        self._log = log
        self._meter = meter
        self._place = place
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> frozenset[str]:
        return frozenset(self._failing)

    @property
    def problem(self) -> str | None:
        """One sentence with what fails first, of which the others are mostly consequences; None when nothing fails."""
        part = next(iter(self._failing), None)
        return None if part is None else f"{self._failing[part]} (part {part})"

    def failed(self, part: str, error: Exception) -> None:
        """Note that a part failed. Texts of errors may hold URLs with secrets: what is logged is the table's."""
        self._meter.failing(part)
        if part not in self._failing:
            fault = fault_of(error)
            self._failing[part] = fault.sentence(self._place)
            code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
            self._log.warning(
                "failing", part=part, error=type(error).__name__, code=code, word=fault.word, why=self._failing[part]
            )

    def works(self, part: str) -> None:
        """Note that a part works, again or still."""
        if part in self._failing:
            del self._failing[part]
            self._log.info("recovered", part=part)

    def given_up(self, part: str) -> None:
        """Note that nobody tries a part any more, so that nobody would find that it works again."""
        self._failing.pop(part, None)


class Patience:
    """Tries calls again until they succeed, with growing pauses and jitter. `chance` draws evenly from 0 to 1."""

    def __init__(self, health: Health, chance: Callable[[], float]) -> None:
        self.health = health
        self._chance = chance

    async def insist(
        self, part: str, call: Callable[[], Awaitable[Answer]], unless: Callable[[], bool] = lambda: False
    ) -> Answer | None:
        """Call until it succeeds, for ever; None when `unless` became true after a failure."""
        try:
            return await self._insist(part, call, unless)
        finally:
            self.health.given_up(part)

    async def _insist(
        self, part: str, call: Callable[[], Awaitable[Answer]], unless: Callable[[], bool]
    ) -> Answer | None:
        failures = 0
        while True:
            try:
                answer = await call()
            except Exception as error:  # noqa: BLE001 -- whatever the store's trouble is, a result must not be lost
                self.health.failed(part, error)
                failures += 1
                if unless():
                    return None
                await self.pause(failures)
            else:
                self.health.works(part)
                return answer

    async def pause(self, failures: int) -> None:
        """Wait before the next try; longer with every failure in a row."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 10))
        await asyncio.sleep(longest * (0.5 + 0.5 * self._chance()))
