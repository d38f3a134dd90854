"""The periodic work when the wall clock of this machine is set."""

import asyncio
import time
from datetime import datetime, timedelta, tzinfo

import arq.utils
import arq.worker
import pytest
import structlog

from sendwindow.keys import Keys
from tests.support.pipeline_world import Watch
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from worker.pipeline.periodic import PeriodicWork
from worker.pipeline.recorder import Observers
from worker.pipeline.store_retry import Health, StoreRetry
from worker.runtime import clock
from worker.runtime.cancellation import end_tasks
from worker.telemetry.journal import Journal

pytestmark = pytest.mark.asyncio


class Wall:
    """This machine's wall clock, which a test can set. Nothing else in the process follows it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta()
        wall = self

        class Moved(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> "Moved":
                return super().now(tz) + wall.ahead

        for module in (arq.worker, clock):
            patch.setattr(module, "datetime", Moved)
        for library in (arq.worker, arq.utils):
            patch.setattr(library, "time", lambda: time.time() + wall.ahead.total_seconds())


@pytest.mark.parametrize(
    "ahead",
    [
        timedelta(hours=-3),
        pytest.param(timedelta(hours=3), marks=pytest.mark.long),
        pytest.param(timedelta(seconds=-10), marks=pytest.mark.long),
    ],
)
async def test_periodic_work_goes_on_when_the_clock_was_set(
    store: Place, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    """After the clock is set back or forward, periodic work starts again at once.

    It neither waits for the hour at which it was due nor catches up.
    """
    wall, ticked = Wall(monkeypatch), asyncio.Event()

    async def turn() -> int:
        ticked.set()
        return 0

    async def next_tick() -> None:
        ticked.clear()
        async with asyncio.timeout(HANG_SECONDS):
            await ticked.wait()

    watch, log = Watch(), structlog.get_logger().bind()
    duties = PeriodicWork(
        store.url,
        Keys(store.partition),
        StoreRetry(Health(log, watch), lambda: 0.0),
        Observers(Journal(None, "w1"), watch, log),
    )
    duties.add("test", 1, turn, full=1)
    running = asyncio.create_task(duties.run())
    try:
        await next_tick()
        wall.ahead = ahead
        await watch.until(lambda: "periodic" in watch.parts)
        await next_tick()
        await next_tick()
    finally:
        await end_tasks([running])
