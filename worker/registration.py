"""Reports to the store that this process is alive, and learns from it whether the process may work.

Two releases that know no common store layout must not work at the same time: one could miss what
the other stored, such as an opt-out. The store decides, in one step, which of two may begin. A
process that may not begin waits until the others are gone.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from worker.ports.processes import (
    Holdings,
    LivingProcess,
    ProcessRegistry,
    ProcessReport,
    RegistryAnswer,
)
from worker.runtime.cancellation import end_tasks
from worker.telemetry.logs import get_log

MAX_NAMED: Final = 5
"""How many processes a sentence names. `processes` lists all of them."""


class Registration:
    """The entry of this process in the registry.

    `holds` returns what the process holds now. `answer`: the last answer of the registry, None
    before the first one. `has_to_stop`: set while this process must not work, so that it stops what
    it does. `waited_since`: the store's clock when it last began to wait, None if it never did.
    """

    def __init__(
        self,
        registry: ProcessRegistry,
        role: str,
        settings: Mapping[str, str],
        release: str,
        holds: Callable[[], Holdings | None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._release = release
        self._holds = holds
        self._is_working = False
        self._may_work = asyncio.Event()
        self.role = role
        self.has_to_stop = asyncio.Event()
        self.answer: RegistryAnswer | None = None
        self.waited_since: datetime | None = None

    @property
    def problem(self) -> str | None:
        """Why this process does no work: the processes in the way, and the remedy. None if none."""
        if self.answer is None or not self.answer.in_the_way:
            return None
        return (
            "waits for processes of a release that cannot work at the same time as this one: "
            f"{_named(self.answer.in_the_way)}; stop them, and this process starts by itself "
            "(at most 30 s after a kill -9)"
        )

    async def report(self) -> None:
        """Report once. Raises redis-py's errors."""
        answer = await self._registry.report(
            ProcessReport(
                self.role,
                self._settings,
                self._release,
                self._holds(),
                is_working=self._is_working,
            )
        )
        had_to_wait, self.answer = self.problem is not None, answer
        if answer.in_the_way:
            self._may_work.clear()
            self.has_to_stop.set()
            if not had_to_wait:
                self.waited_since = answer.at
                get_log().error(
                    "waits_for_other_release",
                    processes=[one.process_id for one in answer.in_the_way],
                    releases=sorted({one.release_name for one in answer.in_the_way}),
                    remedy="stop these processes; this one starts by itself when they are gone, "
                    "at most 30 s after a kill -9",
                )
            return
        self._is_working = True
        self.has_to_stop.clear()
        self._may_work.set()
        if had_to_wait:
            get_log().info("other_release_gone")

    async def admitted(self, stopping: asyncio.Event) -> bool:
        """Wait until this process may work. Returns False if it is stopped first."""
        await first_of(self._may_work, stopping)
        return not stopping.is_set()

    def stopped_working(self) -> None:
        """Record that nothing is under way here any more. The next report says so."""
        self._is_working = False
        self._may_work.clear()


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(waiting)


def _named(processes: Sequence[LivingProcess]) -> str:
    names = [f"{one.process_id} (release {one.release_name})" for one in processes[:MAX_NAMED]]
    more = len(processes) - len(names)
    return ", ".join([*names, *([f"and {more} more"] if more else [])])
