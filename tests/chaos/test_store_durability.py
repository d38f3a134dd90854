"""Durability `wait:N`: without N replicas no POST, no 2xx and no receipt; later one copy of
each.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sendwindow.errors import NotDurable
from sendwindow.producer import Producer
from tests.chaos.cutting import UNSENT, Cut, load_all, proxied
from tests.chaos.sentinel import NOWHERE, StoreServer, one_server
from tests.chaos.staging import staged
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio

Pair = tuple[StoreServer, StoreServer]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Yield a primary and its replica, which has caught up."""
    with ExitStack() as stack:
        primary, replica = (
            stack.enter_context(one_server(tmp_path / name)) for name in ("primary", "replica")
        )
        replica.follow(primary)
        yield primary, replica


async def test_without_its_replica_nothing_is_promised_and_nothing_sent(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too few replicas the producer gets an error, Twilio no 2xx, and no POST starts.

    Later everything happens once.
    """
    primary, replica = pair
    async with (
        staged(tmp_path, primary.url, durability="wait:1") as scene,
        scene.worker() as worker,
    ):
        await scene.send(5)
        await scene.until_ended()
        replica.ask("REPLICAOF", "127.0.0.1", NOWHERE)
        async with Producer(primary.url, timeout=30) as careless:
            # The messages are in the store, but a caller that asked for durability must not act on
            # them.
            await scene.send(5, producer=careless)
        # Read the answer to WAIT however late this machine gets to it. WAIT itself takes as long as
        # usual.
        monkeypatch.setattr("sendwindow.producer.WAIT_MS", 60_000)
        async with Producer(primary.url, durability="wait:1", timeout=1) as hurried:
            with pytest.raises(
                NotDurable, match="send the same object again, and check the replicas"
            ):
                await scene.send(1, producer=hurried)
        await until(lambda: worker.failing, "admit to fail", holds=lambda found: "admit" in found)
        assert not worker.ready
        assert await scene.say(9, "Hello") == 503
        assert len(scene.posts()) == 5
        await asyncio.to_thread(replica.follow, primary)
        await scene.send(1)
        await scene.until_ended()
        await scene.until_ready(worker)
        assert await scene.say(9, "Hello") == 200
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 11}
    assert report.counts.posts == 11


async def test_a_worker_started_without_its_replica_waits_for_it(
    pair: Pair, tmp_path: Path
) -> None:
    """A worker that starts with too few replicas reports what is missing and works once they are
    there.
    """
    primary, replica = pair
    async with staged(tmp_path, primary.url, durability="wait:1") as scene:
        replica.ask("REPLICAOF", "127.0.0.1", NOWHERE)
        worker = scene.process("alone")
        worker.start()
        try:
            log = tmp_path / "alone.log"
            await until(
                log.read_text,
                "the worker to say that it waits",
                holds=lambda text: "store_unreachable" in text,
            )
            assert "NotDurable" in log.read_text()
            await asyncio.to_thread(replica.follow, primary)
            await scene.send(5)
            await scene.until_ended()
            assert worker.is_alive
        finally:
            worker.stop()
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 5}


@pytest.mark.long
async def test_a_result_is_recorded_for_good_only_with_its_replica(
    pair: Pair, tmp_path: Path
) -> None:
    """Results of POSTs during an outage of the replica are kept until the replica has them too."""
    primary, replica = pair
    async with (
        staged(tmp_path, primary.url, durability="wait:1") as scene,
        scene.worker() as worker,
    ):
        scene.sandbox.settings.latency_ms = 300
        await scene.send(10)
        await scene.until_posted(10)
        replica.ask("REPLICAOF", "127.0.0.1", NOWHERE)
        await until(lambda: worker.failing, "settle to fail", holds=lambda found: "settle" in found)
        await asyncio.to_thread(replica.follow, primary)
        await scene.until_ready(worker)
        await scene.until_ended()
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 10}
    assert (report.counts.posts, report.counts.unknown) == (10, 0)


async def test_without_durability_replicas_are_not_waited_for(pair: Pair, tmp_path: Path) -> None:
    """With durability `none`, messages flow without any replica."""
    primary, replica = pair
    async with staged(tmp_path, primary.url) as scene, scene.worker():
        replica.ask("REPLICAOF", "127.0.0.1", NOWHERE)
        await scene.send(5)
        await scene.until_ended()
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 5}


async def test_a_claim_lost_in_a_failover_is_worth_nothing(pair: Pair, tmp_path: Path) -> None:
    """A claim that only the dead primary knew can neither send nor settle.

    The first worker's claim reaches the old primary alone. At the new one the second worker claims
    and posts; then the first is let in and asks for its permit.
    """
    primary, replica = pair
    async with (
        proxied(primary.address) as way,
        proxied(primary.address) as way_of_first,
        staged(tmp_path, way.url) as scene,
        scene.worker(way_of_first.url, name="first") as first,
    ):
        load_all(primary)
        scene.sandbox.settings.latency_ms = 500
        way_of_first.cuts, way_of_first.closes_after_cut = [Cut("admit", UNSENT)], True
        primary.ask("WAIT", 1, 1000)
        replica.turn_writable()
        message = scene.message(0)
        await scene.producer.send(message)
        await until(way_of_first.cut_happened.is_set, "the first worker to claim")
        primary.kill()
        way.lead_to(replica.address)
        await scene.producer.send(message)
        scene.accepted(message.message_id)
        async with scene.worker(replica.url, name="second"):
            await scene.until_posted(1)
            way_of_first.lead_to(replica.address)
            await scene.until_ready(first)
            await scene.until_ended()
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 1}
    assert report.counts.posts == 1
