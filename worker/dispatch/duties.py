"""Keeps a worker's share of the periodic work going, whatever fails."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from sendwindow.keys import Keys
from sendwindow.store_faults import fault_of
from worker import clock
from worker.dispatch.periodic import ClockMovedError, Duty, run_periodic
from worker.dispatch.scribe import Reports
from worker.dispatch.steady import LAST_SECONDS, Patience
from worker.tasks import end_tasks

MAX_FAILURES: Final = 3


class Duties:
    """The periodic work of one worker. `store_url`: where arq's worker connects.

    What fails MAX_FAILURES times in a row makes the worker not ready: a denied right does, a store that is away does
    not.
    """

    def __init__(self, store_url: str, keys: Keys, patience: Patience, reports: Reports) -> None:
        self._health = patience.health
        self._failures: Counter[str] = Counter()
        self._store_url = store_url
        self._keys = keys
        self._patience = patience
        self._meter = reports.meter
        self._log = reports.log
        self._duties: tuple[Duty, ...] = ()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._is_stopping = False

    def add(self, name: str, every: int, turn: Callable[[], Awaitable[int]], *, full: int) -> None:
        """Have a turn taken every so many seconds; a turn that did `full` pieces of work is followed by another."""
        self._duties = (*self._duties, Duty(name, every, self._work(name, turn, full)))

    def stop(self) -> None:
        """Let a turn under way be the last of its duty."""
        self._is_stopping = True

    async def end(self) -> None:
        """End the turns under way. Call it once `run` has ended.

        Each gets a moment: what the store did already is told only by a turn that hears its answer.
        """
        if turns := [turn for turn in self._under_way.values() if not turn.done()]:
            await asyncio.wait(turns, timeout=LAST_SECONDS)
        await end_tasks(self._under_way.values())

    async def run(self) -> None:
        """Run arq's worker, which ends when the store blips or the clock is set, again and again, until cancelled."""
        failures = 0
        while True:
            started = clock.monotonic()
            try:
                await run_periodic(self._store_url, self._keys, self._duties, lambda: self._works("periodic"))
            except ClockMovedError:
                self._meter.failing("periodic")
                self._log.warning("periodic_restarted", error="ClockMovedError")
            except Exception as error:  # noqa: BLE001 -- a store that is away must not end the worker
                fault = fault_of(error)
                self._log.warning("periodic_restarted", error=type(error).__name__, word=fault.word)
                self._failed("periodic", error)
                if fault.word == "OOM":
                    # arq needs room of its own in the store. A full one has to drain, so the duties go on without it.
                    for duty in self._duties:
                        await duty.work()
            failures = 1 if clock.monotonic() - started > 10 else failures + 1
            await self._patience.pause(failures)

    def _failed(self, part: str, error: Exception) -> None:
        fault = fault_of(error)
        if fault.is_passing or fault.word == "OOM":
            # What takes messages says that the store is away; a full store has to drain, so it makes no worker unready.
            self._meter.failing(part)
            return
        self._failures[part] += 1
        if self._failures[part] >= MAX_FAILURES:
            self._health.failed(part, error)
        else:
            self._meter.failing(part)

    def _works(self, part: str) -> None:
        del self._failures[part]
        self._health.works(part)

    def _work(self, name: str, turn: Callable[[], Awaitable[int]], full: int) -> Callable[[], Awaitable[None]]:
        """Make a duty of turns: again while a turn was full, never twice at once, no exception to arq."""

        async def take_turns() -> None:
            try:
                while await turn() >= full and not self._is_stopping:
                    pass
            except Exception as error:  # noqa: BLE001 -- the next tick tries again
                self._log.warning("duty_failed", duty=name, error=type(error).__name__)
                self._failed(name, error)
            else:
                self._works(name)

        async def work() -> None:
            if name in self._under_way and not self._under_way[name].done():
                return
            task = self._under_way[name] = asyncio.create_task(take_turns(), name=name)
            # A task of our own, and waited for without cancelling it: arq ends its jobs when the store blips, but a
            # turn has to wait for the store's answer, which says what is to be told.
            await asyncio.wait({task})

        return work
