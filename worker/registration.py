"""Reports to the store that this process is alive, and learns from it whether the process may work.

Two releases that know no common store layout must not work at the same time: one could miss what
the other stored, such as an opt-out. The store decides, in one step, which of two may begin. A
process that may not begin waits until the others are gone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from sendwindow.errors import NotDurable
from sendwindow.store_faults import fault_of
from worker.pipeline.store_retry import LAST_SECONDS
from worker.ports.processes import (
    Holdings,
    LivingProcess,
    ProcessRegistry,
    ProcessReport,
    RegistryAnswer,
)
from worker.runtime.cancellation import end_tasks
from worker.settings.settings import Settings
from worker.stores.store import Store, StoreRefused
from worker.telemetry.logs import get_log
from worker.wiring import register

Answer = TypeVar("Answer")

RETRY_SECONDS: Final = 0.5
"""How often a process that starts without its store tries again."""

REGISTER_SECONDS: Final = 5.0
"""How often a process reports to the store that it is alive.

A worker then also registers its names again, which restores the names that a failover lost.
"""

WAITING_SECONDS: Final = 1.0
"""How often a process that waits for another release reports, so that it begins soon."""

MAX_NAMED_PROCESSES: Final = 5
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
            "(at most 40 s after a kill -9)"
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
                    "at most 40 s after a kill -9",
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
    names = [
        f"{one.process_id} (release {one.release_name})" for one in processes[:MAX_NAMED_PROCESSES]
    ]
    more = len(processes) - len(names)
    return ", ".join([*names, *([f"and {more} more"] if more else [])])


@asynccontextmanager
async def registered(
    store: Store,
    settings: Settings,
    registration: Registration,
    stopping: asyncio.Event,
    noted: Callable[[bool], None] = lambda _: None,
) -> AsyncIterator[None]:
    """Report to the store, until the block ends, that this process is alive.

    `noted` is called each time with whether the store is marked as restored from a copy.
    """

    async def report() -> bool:
        await registration.report()
        noted(registration.answer is not None and registration.answer.is_restoring)
        return True

    await until_answered(report, settings, stopping)
    keeping = asyncio.create_task(
        _keep_registered(store, settings, registration, report), name="register"
    )
    try:
        yield
    finally:
        await _forget(store, keeping)


async def admitted(
    store: Store, settings: Settings, registration: Registration, stopping: asyncio.Event
) -> bool:
    """Wait until this process may work, and register what the names in messages stand for.

    Claims look the names up. Only a worker replaces what a name stands for, because it sends
    accordingly. A gateway may have older settings. Returns False when the process is stopped first.
    Raises StoreRefused.
    """

    async def register_names() -> bool:
        await register(store, settings, overwrite=registration.role == "worker")
        return True

    while await registration.admitted(stopping):
        await until_answered(register_names, settings, stopping)
        if registration.problem is None:
            return not stopping.is_set()
        registration.stopped_working()
    return False


async def _keep_registered(
    store: Store,
    settings: Settings,
    registration: Registration,
    report: Callable[[], Coroutine[Any, Any, bool]],
) -> None:
    """Report again and again.

    A worker also registers its names again, which restores those that the store lost.
    """
    while True:
        waits = registration.problem is not None
        await asyncio.sleep(WAITING_SECONDS if waits else REGISTER_SECONDS)
        # The dispatcher reports that the store or a replica is away. After a failover lost a name,
        # another process may have registered it for something else.
        with suppress(RedisError, OSError, NotDurable, StoreRefused):
            await report()
            if registration.role == "worker" and registration.problem is None:
                await register(store, settings, overwrite=False)


async def _forget(store: Store, registering: asyncio.Task[None]) -> None:
    """Remove this process from the store. A store that is away forgets it by itself."""
    await end_tasks([registering])
    with suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(LAST_SECONDS):
            await store.processes.forget()


async def until_answered(
    ask: Callable[[], Coroutine[Any, Any, Answer]], settings: Settings, stopping: asyncio.Event
) -> Answer | None:
    """Ask the store until it answers. Returns None when the process is stopped first.

    Raises StoreRefused.
    """
    stopped = asyncio.create_task(stopping.wait(), name="stopping")
    told = False
    try:
        while not stopping.is_set():
            asking = asyncio.create_task(ask(), name="asking the store")
            await asyncio.wait({asking, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                asking.cancel()
                return None
            try:
                return asking.result()
            except (RedisError, OSError, NotDurable) as error:
                # The error's text may hold the URL and its password, so only the kind is logged.
                if not told:
                    fault = fault_of(error)
                    get_log().warning(
                        "store_unreachable",
                        error=type(error).__name__,
                        word=fault.word,
                        store=settings.store_place,
                        remedy=fault.remedy,
                    )
                told = True
            await asyncio.wait({stopped}, timeout=RETRY_SECONDS)
        return None
    finally:
        stopped.cancel()
