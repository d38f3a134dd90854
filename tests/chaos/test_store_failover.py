"""Sentinel failover under load with real processes: the primary is killed, a replica is promoted.

The old primary comes back as a replica.
"""

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
from tests.chaos.scene import Scene, measured
from tests.chaos.sentinel import Watched, watched_servers
from tests.chaos.staging import staged
from verify.report import Report
from worker.stores.ledger import Tuning

pytestmark = [pytest.mark.asyncio, pytest.mark.long]

RATE = 100
"""Messages a second while the primary dies."""

LINK_DOWN = 0.5
"""Seconds for which the replicas get no data before the primary is killed."""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Yield a primary, two replicas and three sentinels."""
    with watched_servers(tmp_path / "servers") as running:
        yield running


@dataclass
class Load:
    """A producer that sends steadily, and repeats each message until it has a receipt."""

    scene: Scene
    producer: Producer
    refused: int = 0
    longest: float = 0.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Send until stopped. A call that failed is repeated with the same message."""
        number = len(self.scene.sent)
        sending: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            task = asyncio.create_task(self._one(number))
            sending.add(task)
            number += 1
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*sending)

    def stop(self) -> None:
        """Begin no other message, and finish those that were begun."""
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


async def _fail_over(
    watched: Watched, folder: Path, durability: str
) -> tuple[Report, dict[str, str], list[str]]:
    """Cut the replicas off under load, kill the primary, bring it back as a replica, wait for all
    ends.

    Returns the verdict, the stage of each accepted message (`none`: the store does not know it),
    and the ids that were posted.
    """
    async with staged(
        folder, watched.url, durability=durability, people=50, tuning=Tuning()
    ) as scene:
        scene.sandbox.settings.latency_ms = 50
        async with (
            _workers(scene, 2) as workers,
            Producer(watched.url, durability=durability, timeout=2) as producer,
        ):
            load = Load(scene, producer)
            running = asyncio.create_task(load.run())
            await scene.until_posted(200)
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
            await scene.until_posted(posted + 200)
            resumed = time.monotonic() - killed_at
            load.stop()
            await running
            await scene.come_to_rest()
            assert all(process.is_alive for process in workers)
            assert [process.stop() for process in workers] == [0, 0]
        stages = await scene.stages()
        report = await scene.verdict()
    measured(
        f"{durability}: new primary after {failed_over:.1f} s, "
        f"all replicas after {replicated:.1f} s, 200 more posts after {resumed:.1f} s; "
        f"longest enqueue {load.longest:.1f} s, {load.refused} calls repeated by hand; "
        f"{len(scene.sent)} accepted, {report.counts}"
    )
    return report, stages, [post["id"] for post in scene.posts()]


async def test_a_failover_with_every_replica_waited_for_loses_nothing(
    watched: Watched, tmp_path: Path
) -> None:
    """With `wait:2` and two replicas every message with a receipt has one end, and none went out
    twice.
    """
    report, stages, _ = await _fail_over(watched, tmp_path, "wait:2")
    assert report.ok, f"verify found promises broken; journals in {tmp_path}/journals"
    assert (report.counts.lost, report.counts.duplicates) == (0, 0)
    assert "none" not in stages.values()


async def test_a_failover_without_waiting_is_survived(watched: Watched, tmp_path: Path) -> None:
    """With `none` the service goes on after a failover; the messages that the replicas lacked
    are lost. Their number is printed.
    """
    report, stages, posted = await _fail_over(watched, tmp_path, "none")
    lost = [name for name, stage in stages.items() if stage == "none"]
    unsent = set(lost) - set(posted)
    measured(
        f"none: of {len(stages)} accepted messages {len(lost)} were forgotten, "
        f"{len(unsent)} of them unsent; {report.counts.duplicates} went out twice"
    )
