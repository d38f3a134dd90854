"""Workers as processes: killed, frozen past their lease, cut off, with a moved clock.

The store decides who holds what.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.cutting import proxied
from tests.chaos.processes import Process
from tests.chaos.scene import Scene, measured, seconds_until
from tests.chaos.sentinel import StoreServer, one_server
from tests.chaos.staging import staged
from tests.support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.long]

LEASE = 2.0
"""Seconds, as in the settings of these tests."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """Yield a store server of this test's own."""
    with one_server(tmp_path / "server") as running:
        yield running


@asynccontextmanager
async def _running(scene: Scene, *urls: str) -> AsyncIterator[list[Process]]:
    """Run worker processes, one for each store URL, and kill them at the end."""
    processes = [scene.process(f"worker-{number}", url) for number, url in enumerate(urls)]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.kill()


async def _send_until_claimed(scene: Scene, process: Process) -> None:
    """Send until this worker holds some of the messages."""
    before = scene.claims(process.name)

    async def claimed() -> int:
        await scene.send(30)
        return scene.claims(process.name) - before

    await until(claimed, "ten claims", holds=lambda found: found >= 10, poll=0.1)


async def test_a_killed_workers_messages_move_on(server: StoreServer, tmp_path: Path) -> None:
    """After SIGKILL during POSTs another worker sends what was not begun, and evidence settles
    the rest.
    """
    async with staged(tmp_path, server.url) as scene, _running(scene, server.url) as [process]:
        scene.sandbox.settings.latency_ms = 700
        await scene.send(60)
        await scene.until_posted(25)
        async with scene.worker():
            killed_at = time.monotonic()
            process.kill()
            scene.journal.write("killed", point="posting", process=process.name)
            await scene.until_ended()
            moved_on = time.monotonic() - killed_at
            report = await scene.judge()
    measured(
        f"worker killed, lease {LEASE} s: everything ended {moved_on:.1f} s later; {report.counts}"
    )
    assert report.counts.ends == {"accepted": 60}
    assert report.counts.unknown <= 25


async def test_a_worker_frozen_past_its_lease_does_no_harm(
    server: StoreServer, tmp_path: Path
) -> None:
    """After SIGSTOP for more than a lease a worker's late results are evidence, and its claims
    are void.
    """
    async with (
        staged(tmp_path, server.url) as scene,
        _running(scene, server.url) as [process],
        scene.worker(),
    ):
        scene.sandbox.settings.latency_ms = 200
        for _ in range(3):
            await _send_until_claimed(scene, process)
            process.send(signal.SIGSTOP)
            await asyncio.sleep(LEASE * 2)
            process.send(signal.SIGCONT)
        await scene.come_to_rest()
        assert process.is_alive
        report = await scene.judge(suspended=True)
    measured(f"worker frozen three times for {LEASE * 2} s: {report.counts}")
    assert report.counts.reaped > 0
    assert report.counts.duplicates == 0
    # Frozen between intent and first byte, an attempt proves nothing: the message waits for an
    # operator.
    assert report.counts.ends.keys() == {"accepted"}
    assert report.counts.open.get("unresolved", 0) <= 3 * scene.settings.dispatch.slots


async def test_a_worker_cut_off_from_the_store_does_no_harm(
    server: StoreServer, tmp_path: Path
) -> None:
    """A worker cut off for two leases while another works finds its messages gone and does no
    harm.
    """
    async with (
        proxied(server.address) as proxy,
        staged(tmp_path, server.url) as scene,
        _running(scene, proxy.url) as [process],
        scene.worker(),
    ):
        scene.sandbox.settings.latency_ms = 200
        for _ in range(3):
            await _send_until_claimed(scene, process)
            # A permit whose reply is lost proves nothing; such messages wait for an operator, as
            # above.
            await until(lambda: not proxy.admitting, "a moment without a request for a permit")
            proxy.close()
            await asyncio.sleep(LEASE * 2)
            proxy.open()
            await scene.until_ended()
        assert process.is_alive
        report = await scene.judge()
    measured(f"worker cut off three times for {LEASE * 2} s: {report.counts}")
    assert report.counts.reaped > 0
    assert report.counts.ends == {"accepted": len(scene.sent)}
    assert report.counts.posts_accepted == len(scene.sent)


async def test_a_clock_that_jumps_sends_nothing_twice(server: StoreServer, tmp_path: Path) -> None:
    """A clock that jumps hours forward and a little back ends all leases, and no worker sends
    twice.
    """
    async with (
        staged(tmp_path, server.url) as scene,
        _running(scene, server.url, server.url) as processes,
        scene.worker(),
    ):
        scene.sandbox.settings.latency_ms = 1000
        for jump in (timedelta(hours=1), timedelta(seconds=-2), timedelta(hours=3)):
            for process in processes:
                await _send_until_claimed(scene, process)
            await scene.pass_time(jump)
            await scene.come_to_rest()
        report = await scene.judge(suspended=True)
    measured(f"clock moved three times: {report.counts}")
    assert report.counts.reaped > 0
    assert report.counts.duplicates == 0


async def test_sending_goes_on_soon_after_the_store_is_back(
    server: StoreServer, tmp_path: Path
) -> None:
    """If the store is killed for three seconds the processes live, and readiness follows.

    Times are printed.
    """
    async with (
        # A lease that outlasts the outage: on a loaded machine one worker may be back so much later
        # than the other that its messages would be reaped.
        staged(tmp_path, server.url, lease_seconds=60) as scene,
        _running(scene, server.url, server.url) as processes,
        scene.worker() as worker,
    ):
        scene.sandbox.settings.latency_ms = 50
        await scene.send(400)
        await scene.until_posted(100)
        server.crash()
        unready = await scene.until_ready(worker, ready=False)
        posted = len(scene.posts())
        await asyncio.sleep(3)
        await asyncio.to_thread(server.start)
        again = await seconds_until(lambda: len(scene.posts()) > posted, "another POST")
        ready = await scene.until_ready(worker)
        await scene.until_ended()
        assert all(process.is_alive for process in processes)
        report = await scene.judge()
    measured(
        f"store killed: not ready after {unready:.1f} s; back: sending after {again:.1f} s, "
        f"ready {ready:.1f} s later"
    )
    assert report.counts.ends == {"accepted": 400}
    assert (report.counts.posts, report.counts.unknown) == (400, 0)


async def test_a_worker_that_hangs_on_a_frozen_store_turns_not_ready(
    server: StoreServer, tmp_path: Path
) -> None:
    """A worker whose store accepts connections and answers nothing turns not ready.

    The time is printed.
    """
    async with staged(tmp_path, server.url) as scene, scene.worker() as worker:
        await scene.send(20)
        await scene.until_ended()
        server.freeze()
        unready = await scene.until_ready(worker, ready=False)
        server.thaw()
        ready = await scene.until_ready(worker)
        await scene.send(20)
        await scene.until_ended()
        report = await scene.judge()
    measured(f"store frozen: not ready after {unready:.1f} s; thawed: ready after {ready:.1f} s")
    assert report.counts.ends == {"accepted": 40}
