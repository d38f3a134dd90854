"""The periodic work when this machine's wall clock is set."""

import asyncio
import time
from datetime import datetime, timedelta, tzinfo

import arq.utils
import arq.worker
import pytest
import structlog

from sendwindow.keys import Keys
from tests.worker.dispatch_world import HANG_SECONDS, Watch
from tests.worker.stores_world import Place
from worker import clock
from worker.dispatch.duties import Duties
from worker.dispatch.scribe import Reports
from worker.dispatch.steady import Health, Patience
from worker.journal import Journal
from worker.tasks import end_tasks

pytestmark = pytest.mark.asyncio


class Wall:
    """This machine's wall clock, which somebody may set. Nothing else of the process follows it."""

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
async def test_duties_go_on_when_the_clock_was_set(
    store: Place, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    """Set back or forward, duties begin anew at once instead of waiting for the hour they were due, or catching up."""
    wall, ticked = Wall(monkeypatch), asyncio.Event()

    async def turn() -> int:
        ticked.set()
        return 0

    async def next_tick() -> None:
        ticked.clear()
        async with asyncio.timeout(HANG_SECONDS):
            await ticked.wait()

    watch, log = Watch(), structlog.get_logger().bind()
    duties = Duties(
        store.url,
        Keys(store.partition),
        Patience(Health(log, watch), lambda: 0.0),
        Reports(Journal(None, "w1"), watch, log),
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
