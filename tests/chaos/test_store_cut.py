"""The connection to the store is cut at any byte of a reply, after the script ran: nothing lost
or doubled.
"""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from sendwindow.keys import Keys
from tests.chaos.cutting import WHOLE, Cut, Proxy, load_all, proxied
from tests.chaos.scene import Scene
from tests.chaos.sentinel import StoreServer, one_server
from tests.chaos.staging import staged
from tests.support.waiting import no_hang, until
from worker.pipeline.arq_cron import PeriodicJob, run_cron_jobs
from worker.runtime.cancellation import end_tasks

pytestmark = pytest.mark.asyncio

OFFSETS = (0, 1, 5, WHOLE)
"""No byte of the reply, its type byte, part of its first line, all but its last byte."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """Yield a store server of this test's own."""
    with one_server(tmp_path / "server") as running:
        load_all(running)
        yield running


async def _cut(scene: Scene, proxy: Proxy, script: str) -> None:
    """Cut the script's next replies, one at each offset, while messages flow."""
    proxy.cuts = [Cut(script, after) for after in OFFSETS]
    while proxy.done[script] < len(OFFSETS):
        await scene.send(3)
        await scene.until_ended()


async def test_any_reply_to_a_worker_may_be_cut(server: StoreServer, tmp_path: Path) -> None:
    """Each of the worker's scripts loses its reply at several bytes, and each message has one
    POST and one end.
    """
    async with proxied(server.address) as proxy, staged(tmp_path, server.url) as scene:
        async with scene.worker(proxy.url) as worker:
            for script in ("claim", "admit", "settle", "renew", "reap"):
                await _cut(scene, proxy, script)
            await scene.until_ready(worker)
        report = await scene.judge()
    assert report.counts.ends == {"accepted": len(scene.sent)}
    assert report.counts.posts == len(scene.sent)
    # Messages of a claim whose reply was cut were claimed again at once, not after its lease.
    assert (report.counts.unknown, report.counts.reaped) == (0, 0)


async def test_any_reply_to_the_gateway_may_be_cut(server: StoreServer, tmp_path: Path) -> None:
    """Callbacks and inbound messages are applied once and get a 2xx, whichever reply is lost."""
    async with (
        proxied(server.address) as proxy,
        staged(tmp_path, proxy.url) as scene,
        scene.worker(server.url),
    ):
        await _cut(scene, proxy, "status")
        for person, after in enumerate(OFFSETS):
            proxy.cuts = [Cut("inbound", after)]
            assert await scene.say(person, "STOP") == 200
        for after in OFFSETS:
            proxy.cuts = [Cut("enqueue", after)]
            await scene.send(1, people=2)
        await scene.until_ended()
        report = await scene.judge()
        counts = await scene.store.records.counts()
    assert (proxy.done["status"], proxy.done["inbound"], proxy.done["enqueue"]) == (4, 4, 4)
    assert report.counts.ends == {"accepted": len(scene.sent) - 4, "refused": 4}
    assert counts["opted_out:inbound"] == 4
    assert counts["enqueued"] == len(scene.sent)


async def test_messages_given_back_at_a_stop_survive_a_cut(
    server: StoreServer, tmp_path: Path
) -> None:
    """A cut reply to the release at a stop costs no message a try or a crash."""
    async with proxied(server.address) as proxy, staged(tmp_path, server.url, slots=4) as scene:
        scene.sandbox.settings.latency_ms = 300
        async with scene.worker(proxy.url, name="first"):
            await scene.send(12)
            await scene.until_posted(4)
            proxy.cuts = [Cut("release", 0)]
        assert proxy.done["release"] == 1
        async with scene.worker(name="second"):
            await scene.until_ended()
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 12}
    assert report.counts.reaped == 0


async def test_a_stop_outranks_a_permit_whose_reply_was_lost(
    server: StoreServer, tmp_path: Path
) -> None:
    """A STOP outranks a permit whose reply was lost: no POST starts.

    The way to the store was closed after the permit was granted.
    """
    async with proxied(server.address) as proxy, staged(tmp_path, server.url) as scene:
        proxy.closes_after_cut = True
        async with scene.worker(proxy.url) as worker:
            proxy.cuts = [Cut("admit", 0)]
            await scene.send(1, people=1)
            await until(proxy.cut_happened.is_set, "a cut", seen=lambda: proxy.seen)
            assert await scene.say(0, "STOP") == 200
            await scene.until_ready(worker, ready=False)
            proxy.open()
            await scene.until_ended()
        report = await scene.judge(unposted=True)
    assert report.counts.ends == {"refused": 1}


async def test_periodic_work_that_is_stopped_leaves_no_connection_behind(
    server: StoreServer,
) -> None:
    """Periodic work that is cancelled while the store hangs leaves no open connection.

    A connection left open warns and fails the test.
    """

    async def work() -> None:
        pass

    async with proxied(server.address) as proxy:
        proxy.muted = frozenset({b"EXISTS", b"UNWATCH"})
        running = asyncio.create_task(
            run_cron_jobs(proxy.url, Keys("p0"), (PeriodicJob("test", 1, work),))
        )
        async with no_hang("the connection to be muted, twice", lambda: proxy.seen):
            await proxy.was_muted.wait()
            proxy.was_muted.clear()
            running.cancel()
            await proxy.was_muted.wait()
        await end_tasks([running])
        assert running.cancelled()
    gc.collect()
