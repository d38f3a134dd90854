"""The store away, read-only, full, or without its scripts: workers turn not-ready, lose nothing,
and go on.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.faults import Match
from sendwindow.errors import QueueFull, StoreUnavailable
from sendwindow.producer import Producer
from tests.chaos.sentinel import StoreServer, one_server
from tests.chaos.staging import staged

pytestmark = pytest.mark.asyncio


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """Yield a store server of this test's own."""
    with one_server(tmp_path / "server") as running:
        yield running


async def test_results_outlive_a_killed_store(server: StoreServer, tmp_path: Path) -> None:
    """If the store is killed during POSTs, their replies are recorded once it is back."""
    async with staged(tmp_path, server.url) as scene, scene.worker() as worker:
        scene.sandbox.settings.latency_ms = 300
        await scene.send(20)
        await scene.until_posted(10)
        server.crash()
        await scene.until_ready(worker, ready=False)
        await asyncio.to_thread(server.start)
        await scene.until_ready(worker)
        await scene.send(5)
        await scene.until_ended()
        report = await scene.judge()
        assert set((await scene.stages()).values()) == {"accepted"}
    assert report.counts.posts == 25
    assert report.counts.unknown == 0


async def test_after_an_outage_holders_come_first(server: StoreServer, tmp_path: Path) -> None:
    """After an outage longer than a lease, the workers that hold messages settle them first.

    The server is stopped with SIGSTOP, and neither worker takes a message from the other.
    """
    async with (
        staged(tmp_path, server.url) as scene,
        scene.worker(name="one"),
        scene.worker(name="two"),
    ):
        scene.sandbox.settings.latency_ms = 200
        await scene.send(60)
        await scene.until_posted(30)
        server.freeze()
        await asyncio.sleep(3)
        server.thaw()
        await scene.until_ended()
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 60}
    assert (report.counts.posts, report.counts.reaped, report.counts.unknown) == (60, 0, 0)


async def test_a_read_only_store_stops_sending_until_it_can_write(
    server: StoreServer, tmp_path: Path
) -> None:
    """With a read-only store there is no POST, producers get a clear error, and Twilio gets 503."""
    async with staged(tmp_path, server.url) as scene, scene.worker() as worker:
        await scene.send(5)
        await scene.until_ended()
        server.turn_read_only()
        await scene.until_ready(worker, ready=False)
        posted = len(scene.posts())
        async with Producer(server.url, timeout=1) as hurried:
            with pytest.raises(StoreUnavailable, match="send the same object again"):
                await scene.send(1, producer=hurried)
        assert await scene.say(0, "STOP") == 503
        assert len(scene.posts()) == posted
        server.turn_writable()
        await scene.until_ready(worker)
        assert await scene.say(0, "STOP") == 200
        await scene.send(20)
        await scene.until_ended()
        stages = await scene.stages()
        report = await scene.judge()
    assert stages["m5"] == "accepted"
    assert sum(stage == "refused" for stage in stages.values()) == 2
    assert report.counts.ends == {"accepted": 23, "refused": 2}


async def test_a_full_store_refuses_new_work_and_drains(
    server: StoreServer, tmp_path: Path
) -> None:
    """A full store takes no new message, while workers, searches, callbacks and inbound messages
    go on.
    """
    async with staged(tmp_path, server.url) as scene:
        for action in ("accept_reset", "callback_lost"):
            scene.fault(action, match=Match(id="m0"))
        await scene.send(50)
        server.configure("maxmemory", server.info("memory")["used_memory"] // 2)
        with pytest.raises(QueueFull, match="takes no new messages"):
            await scene.send(1)
        async with scene.worker() as worker:
            await scene.until_ended(scene.sent[1:])
            await scene.until_stage("m0", "unknown")
            await scene.pass_time(timedelta(minutes=1))
            await scene.until_ended()
            assert await scene.say(3, "STOP") == 200
            assert worker.ready
            with pytest.raises(QueueFull):
                await scene.send(1)
            server.configure("maxmemory", 0)
            await scene.store.publish_pressure()
            await scene.send(20)
            await scene.until_ended()
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 68, "refused": 2}
    assert report.counts.callbacks_answered > 0
    assert report.counts.resolved == {"evidence_list": 1}


async def test_flushed_scripts_are_loaded_again(server: StoreServer, tmp_path: Path) -> None:
    """SCRIPT FLUSH at any moment costs each script one more call."""
    async with staged(tmp_path, server.url) as scene, scene.worker() as worker:
        for _ in range(5):
            await scene.send(20)
            server.ask("SCRIPT", "FLUSH")
        await scene.until_ended()
        report = await scene.judge()
        assert worker.ready
    assert report.counts.ends == {"accepted": 100}
    assert scene.watch.parts == []
