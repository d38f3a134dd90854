"""A call that raised may have been done, so a repeated call returns the first result."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from sendwindow.errors import NotDurable
from sendwindow.vocabulary import Reason, Stage
from tests.support.stores_world import AT_ONCE, SENDER, Place, World, opened, update
from worker.ports.people import Inbound
from worker.ports.unknowns import Resolution
from worker.stores import script_runner

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("short_wait")]


@asynccontextmanager
async def _without_replica(world: World) -> AsyncIterator[None]:
    """Ask for a replica that is missing: the script runs, and the call raises."""
    world.calls._replicas = 1
    try:
        with pytest.raises(NotDurable):
            yield
    finally:
        world.calls._replicas = 0


async def _remembered(world: World) -> list[bytes]:
    return [name async for name in world.redis.scan_iter(match=f"*{world.keys.tag}:did:*")]


async def test_what_was_reaped_is_told_when_the_replica_is_back(store: Place) -> None:
    """The next reap returns the messages that a reap without a replica moved; the one after it
    none.
    """
    async with opened(store) as world:
        await world.post("m1")
        await world.enqueue("m2")
        await world.claim_one()
        await world.later(seconds=20)
        async with _without_replica(world):
            await world.store.ledger.reap(10)
        assert (await world.row("m1"))["s"] == "unknown"
        reaped = {
            (one.message_id, one.stage, one.attempt) for one in await world.store.ledger.reap(10)
        }
        assert reaped == {("m1", Stage.UNKNOWN, 1), ("m2", Stage.QUEUED, 0)}
        assert await world.store.ledger.reap(10) == []
        assert await world.count("unknown") == 1


async def test_an_answer_is_kept_for_as_long_as_it_is_asked_for(store: Place) -> None:
    """A call that keeps raising keeps its result, however long the replica is away."""
    async with opened(store) as world:
        await world.post()
        await world.later(seconds=20)
        async with _without_replica(world):
            await world.store.ledger.reap(10)
        (name,) = await _remembered(world)
        await world.redis.pexpire(name, 20_000)
        async with _without_replica(world):
            await world.store.ledger.reap(10)
        assert await world.redis.pttl(name) > 30_000
        assert len(await world.store.ledger.reap(10)) == 1


async def test_a_resolution_asked_for_again_was_acted_on(store: Place) -> None:
    """A repeated resolution reports to its own caller that it acted, and to no other."""
    async with opened(store) as world:
        await world.park()
        resolutions = [Resolution("m1", 1, AT_ONCE)]
        async with _without_replica(world):
            await world.store.unknowns.resolve(resolutions)
        assert await world.store.unknowns.resolve(resolutions) == [AT_ONCE.stage]
        assert await world.store.unknowns.resolve(resolutions) == [None]
        assert await world.count(f"resolved:{Reason.NOT_SENT}") == 1


async def test_a_callback_brought_again_is_told_what_it_did(store: Place) -> None:
    """A callback that Twilio repeats after no 2xx reports again what it did.

    A third one changes nothing.
    """
    async with opened(store) as world:
        await world.park()
        async with _without_replica(world):
            await world.store.statuses.apply([update("sent")])
        (again,) = await world.store.statuses.apply([update("sent")])
        assert (again.moved, again.resolved) == (True, True)
        (third,) = await world.store.statuses.apply([update("sent")])
        assert (third.moved, third.resolved) == (False, False)


async def test_an_inbound_brought_again_is_still_the_first(store: Place) -> None:
    """A repeated inbound message counts as new until one gateway has answered Twilio."""
    async with opened(store) as world:
        given = [Inbound("SM90", "shop", "main", "whatsapp:+14155550123", "stop")]
        async with _without_replica(world):
            await world.store.people.apply_inbound(given)
        (again,) = await world.store.people.apply_inbound(given)
        assert (again.first, again.opted) == (True, "stop")
        assert not (await world.store.people.apply_inbound(given))[0].first


async def test_other_calls_that_raised_do_not_pile_up(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the latest unanswered calls are remembered.

    The oldest is repeated, which changes nothing twice.
    """
    monkeypatch.setattr(script_runner, "_MAX_UNANSWERED_CALLS", 1)
    async with opened(store) as world:
        await world.park("m1")
        await world.park("m2")
        for name in ("m1", "m2"):
            async with _without_replica(world):
                await world.store.unknowns.resolve([Resolution(name, 1, AT_ONCE)])
        assert await world.store.unknowns.resolve([Resolution("m1", 1, AT_ONCE)]) == [None]
        assert await world.store.unknowns.resolve([Resolution("m2", 1, AT_ONCE)]) == [AT_ONCE.stage]


async def test_a_read_is_repeated_over_a_new_connection(store: Place, redis_client: Redis) -> None:
    """A lost connection fails no read. redis-py repeats nothing, so the store itself does."""
    async with opened(store) as world:
        await world.enqueue()
        records, held = world.store.records, world.store.held
        reads: tuple[Callable[[], Awaitable[object]], ...] = (
            records.counts,
            records.depths,
            records.suspected_for,
            lambda: records.record("m1"),
            lambda: held.waiting([SENDER]),
            lambda: held.examine(SENDER),
            world.store.processes.living,
            world.store.pressure,
        )
        for read in reads:
            await redis_client.client_kill_filter(_type="normal", skipme=True)
            await read()
