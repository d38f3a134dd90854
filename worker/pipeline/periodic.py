"""Runs a worker's share of the periodic work, and continues after every failure."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from sendwindow.keys import Keys
from sendwindow.store_faults import fault_of
from worker.pipeline.arq_cron import ClockMovedError, PeriodicJob, run_cron_jobs
from worker.pipeline.recorder import Observers
from worker.pipeline.store_retry import LAST_SECONDS, StoreRetry
from worker.runtime import clock
from worker.runtime.cancellation import end_tasks

MAX_FAILURES: Final = 3


class PeriodicWork:
    """The periodic work of one worker. `store_url`: where arq's worker connects.

    A part that fails MAX_FAILURES times in a row makes the worker not ready. A missing permission
    counts as such a failure, a store that is away does not.
    """

    def __init__(
        self, store_url: str, keys: Keys, store_retry: StoreRetry, observers: Observers
    ) -> None:
        self._health = store_retry.health
        self._failures: Counter[str] = Counter()
        self._store_url = store_url
        self._keys = keys
        self._store_retry = store_retry
        self._metrics = observers.metrics
        self._log = observers.log
        self._jobs: tuple[PeriodicJob, ...] = ()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._is_stopping = False

    def add(self, name: str, every: int, turn: Callable[[], Awaitable[int]], *, full: int) -> None:
        """Add a turn that runs every `every` seconds.

        A turn that did `full` pieces of work is followed by another at once.
        """
        self._jobs = (*self._jobs, PeriodicJob(name, every, self._work(name, turn, full)))

    def stop(self) -> None:
        """Start no further turns. Each turn under way is the last of its job."""
        self._is_stopping = True

    async def end(self) -> None:
        """End the turns under way. Call it once `run` has ended.

        Each turn gets a moment to finish, because only a turn that receives the store's reply can
        report what the store did.
        """
        if turns := [turn for turn in self._under_way.values() if not turn.done()]:
            await asyncio.wait(turns, timeout=LAST_SECONDS)
        await end_tasks(self._under_way.values())

    async def run(self) -> None:
        """Run arq's worker until cancelled.

        It ends when the store is briefly away or the clock is set, and is then started again.
        """
        failures = 0
        while True:
            started = clock.monotonic()
            try:
                await run_cron_jobs(
                    self._store_url, self._keys, self._jobs, lambda: self._works("periodic")
                )
            except ClockMovedError:
                self._metrics.failing("periodic")
                self._log.warning("periodic_restarted", error="ClockMovedError")
            except Exception as error:  # noqa: BLE001 -- a store that is away must not end the worker
                fault = fault_of(error)
                self._log.warning("periodic_restarted", error=type(error).__name__, word=fault.word)
                self._failed("periodic", error)
                if fault.word == "OOM":
                    # arq itself needs memory in the store. A full store has to drain, so the jobs
                    # run without arq.
                    for job in self._jobs:
                        await job.work()
            failures = 1 if clock.monotonic() - started > 10 else failures + 1
            await self._store_retry.pause(failures)

    def _failed(self, part: str, error: Exception) -> None:
        fault = fault_of(error)
        if fault.is_passing or fault.word == "OOM":
            # The claimer reports that the store is away. A full store has to drain, so it leaves
            # the worker ready.
            self._metrics.failing(part)
            return
        self._failures[part] += 1
        if self._failures[part] >= MAX_FAILURES:
            self._health.failed(part, error)
        else:
            self._metrics.failing(part)

    def _works(self, part: str) -> None:
        del self._failures[part]
        self._health.works(part)

    def _work(
        self, name: str, turn: Callable[[], Awaitable[int]], full: int
    ) -> Callable[[], Awaitable[None]]:
        """Return a job that takes turns until one is not full, never twice at once.

        It raises nothing, because arq would get the exception.
        """

        async def take_turns() -> None:
            try:
                while await turn() >= full and not self._is_stopping:
                    pass
            except Exception as error:  # noqa: BLE001 -- the next tick tries again
                self._log.warning("duty_failed", job=name, error=type(error).__name__)
                self._failed(name, error)
            else:
                self._works(name)

        async def work() -> None:
            if name in self._under_way and not self._under_way[name].done():
                return
            task = self._under_way[name] = asyncio.create_task(take_turns(), name=name)
            # The turn has a task of its own, and is not cancelled with this wait: arq cancels its
            # jobs when the store is briefly away, but a turn has to receive the store's reply, so
            # that it can report what the store did.
            await asyncio.wait({task})

        return work
