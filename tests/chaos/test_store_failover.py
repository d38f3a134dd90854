"""Sentinel failover under load with real processes: primary killed, replica promoted, the old one back as a replica."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sendwindow.errors import StoreUnavailable
from sendwindow.producer import Producer
from tests.chaos.processes import Process
from tests.chaos.scene import Scene, measured, until
from tests.chaos.sentinel import Watched, watched_servers
from tests.chaos.staging import staged
from worker.stores.ledger import Tuning
from worker.verify.report import Report

pytestmark = [pytest.mark.asyncio, pytest.mark.long]

RATE = 100
"""Messages a second while the primary dies."""

LINK_DOWN = 0.5
"""Seconds for which the replicas hear nothing before the primary is killed."""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A primary, two replicas, three sentinels."""
    with watched_servers(tmp_path / "servers") as running:
        yield running


@dataclass
class Load:
    """A producer that sends steadily, each message until its receipt is there."""

    scene: Scene
    producer: Producer
    refused: int = 0
    longest: float = 0.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Send until stopped. A call that failed is made again with the same message."""
        number = len(self.scene.sent)
        sending: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            task = asyncio.create_task(self._one(number))
            sending.add(task)
            number += 1
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*sending)

    def stop(self) -> None:
        """Begin no other message; those begun are sent."""
        self._stopping.set()

    async def _one(self, number: int) -> None:
        message, began = self.scene.message(number, people=50), time.monotonic()
        while True:
            try:
                await self.producer.send(message)
            except StoreUnavailable:
                self.refused += 1
                continue
            break
        self.longest = max(self.longest, time.monotonic() - began)
        self.scene.accepted(message.message_id)


@asynccontextmanager
async def _workers(scene: Scene, count: int) -> AsyncIterator[list[Process]]:
    processes = [scene.process(f"worker-{number}") for number in range(count)]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.kill()


async def _fail_over(watched: Watched, folder: Path, durability: str) -> tuple[Report, dict[str, str], list[str]]:
    """Cut the replicas off under load, kill the primary, let it come back as a replica, let everything end.

    Answers the verdict, the stage of each accepted message (`none`: the store does not know it), and who was posted.
    """
    async with staged(folder, watched.url, durability=durability, people=50, tuning=Tuning()) as scene:
        scene.sandbox.settings.latency_ms = 50
        async with (
            _workers(scene, 2) as workers,
            Producer(watched.url, durability=durability, timeout=2) as producer,
        ):
            load = Load(scene, producer)
            running = asyncio.create_task(load.run())
            await until(lambda: len(scene.posts()) >= 200, "nothing was posted", step=0.1)
            before = watched.primary()
            before.cut_replicas_off()
            await asyncio.sleep(LINK_DOWN)
            killed_at = time.monotonic()
            before.kill()
            await asyncio.to_thread(watched.until_failed_over, before)
            failed_over = time.monotonic() - killed_at
            await asyncio.to_thread(before.start)
            await asyncio.to_thread(watched.until_replicated)
            replicated = time.monotonic() - killed_at
            posted = len(scene.posts())
            await until(lambda: len(scene.posts()) >= posted + 200, "nothing was sent again", step=0.1)
            resumed = time.monotonic() - killed_at
            load.stop()
            await running
            await scene.come_to_rest()
            assert all(process.is_alive for process in workers)
            assert [process.stop() for process in workers] == [0, 0]
        stages = await scene.stages()
        report = await scene.verdict()
    measured(
        f"{durability}: new primary after {failed_over:.1f} s, all replicas after {replicated:.1f} s, 200 more posts "
        f"after {resumed:.1f} s; longest enqueue {load.longest:.1f} s, {load.refused} calls repeated by hand; "
        f"{len(scene.sent)} accepted, {report.counts}"
    )
    return report, stages, [post["id"] for post in scene.posts()]


async def test_a_failover_with_every_replica_waited_for_loses_nothing(watched: Watched, tmp_path: Path) -> None:
    """`wait:2` with two replicas: every message with a receipt has one end, and none went out twice."""
    report, stages, _ = await _fail_over(watched, tmp_path, "wait:2")
    assert report.ok, f"verify found promises broken; journals in {tmp_path}/journals"
    assert (report.counts.lost, report.counts.duplicates) == (0, 0)
    assert "none" not in stages.values()


async def test_a_failover_without_waiting_is_survived(watched: Watched, tmp_path: Path) -> None:
    """`none`: what the replicas had not yet is lost with the primary; the service goes on. What was lost is printed."""
    report, stages, posted = await _fail_over(watched, tmp_path, "none")
    lost = [name for name, stage in stages.items() if stage == "none"]
    unsent = set(lost) - set(posted)
    measured(
        f"none: of {len(stages)} accepted messages {len(lost)} were forgotten, {len(unsent)} of them unsent; "
        f"{report.counts.duplicates} went out twice"
    )
