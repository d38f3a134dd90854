"""Repeats calls to Redis until they succeed, and records which parts of a worker fail now.

No failure of Redis ends a worker.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from structlog.typing import FilteringBoundLogger

from sendwindow.connect import RECONNECT_AFTER
from sendwindow.errors import NotDurable
from sendwindow.store_faults import fault_of
from worker.ports.pipeline_metrics import PipelineMetrics

Value = TypeVar("Value")

LAST_SECONDS: Final = 1.0
"""How long a stopping worker waits for each of Redis's last replies; Redis may be down."""

_MAX_ERRORS: Final = 8
"""After so many errors that no outage of Redis explains, `outlast` gives the call up."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_MAX_PAUSE_SECONDS: Final = 1.0
"""Short, so that sending resumes within two seconds of Redis's return."""


class Health:
    """Records which parts fail. Logs a part's first failure and its recovery, not each try."""

    def __init__(
        self, log: FilteringBoundLogger, metrics: PipelineMetrics, place: str = "the store"
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._place = place
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> frozenset[str]:
        return frozenset(self._failing)

    @property
    def problem(self) -> str | None:
        """One sentence about the part that failed first, because the others mostly follow from it.

        None while nothing fails.
        """
        part = next(iter(self._failing), None)
        return None if part is None else f"{self._failing[part]} (part {part})"

    def failed(self, part: str, error: Exception) -> None:
        """Record that a part failed.

        The log gets the sentence of the fault table, because the text of an error may hold a URL
        with secrets.
        """
        self._metrics.failing(part)
        if part not in self._failing:
            fault = fault_of(error)
            self._failing[part] = fault.sentence(self._place)
            code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
            self._log.warning(
                "failing",
                part=part,
                error=type(error).__name__,
                code=code,
                word=fault.word,
                why=self._failing[part],
            )

    def works(self, part: str) -> None:
        """Record that a part works."""
        if part in self._failing:
            del self._failing[part]
            self._log.info("recovered", part=part)

    def given_up(self, part: str) -> None:
        """Forget a part that the worker gave up, because no later call could show that it works."""
        self._failing.pop(part, None)


@dataclass(frozen=True, slots=True)
class Tried(Generic[Value]):
    """What a call returned in the end. `failures`: how many calls before it raised an error."""

    answer: Value
    failures: int


class StoreRetry:
    """Repeats calls with growing, jittered pauses. `chance` draws evenly from 0 to 1."""

    def __init__(self, health: Health, chance: Callable[[], float]) -> None:
        self.health = health
        self._chance = chance

    async def keep_trying(
        self,
        part: str,
        call: Callable[[], Awaitable[Value]],
        unless: Callable[[], bool] = lambda: False,
    ) -> Tried[Value] | None:
        """Repeat a call until it succeeds, forever if need be.

        Return None when `unless` is true after a failure.
        """
        failures = 0
        try:
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
                    return Tried(answer, failures)
        finally:
            self.health.given_up(part)

    async def outlast(self, part: str, call: Callable[[], Awaitable[Value]]) -> Value:
        """Repeat a call as long as Redis is away.

        Redis may be there and refuse the call. This raises the last of several such errors, because
        other work must not wait for one call.
        """
        errors: list[Exception] = []

        async def ask() -> Value:
            try:
                return await call()
            except (*RECONNECT_AFTER, NotDurable):
                raise
            except Exception as error:
                errors.append(error)
                raise

        tried = await self.keep_trying(part, ask, unless=lambda: len(errors) >= _MAX_ERRORS)
        if tried is None:
            raise errors[-1]
        return tried.answer

    async def pause(self, failures: int) -> None:
        """Wait before the next try, longer after each failure in a row."""
        longest = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
        await asyncio.sleep(longest * (0.5 + 0.5 * self._chance()))
