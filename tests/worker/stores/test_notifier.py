"""Waking: new work wakes a waiting worker at once, and no wake is lost."""

import asyncio
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from tests.support.stores_world import Place, opened
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio

HANG = 60.0


async def test_work_wakes_a_waiting_worker(store: Place) -> None:
    """A blocked worker wakes when work becomes ready."""
    async with opened(store) as world:
        waiting = asyncio.create_task(world.store.ledger.wait_for_work(HANG))
        await _blocked(world.redis)
        await world.enqueue()
        assert await waiting


async def _blocked(redis: Redis) -> None:
    await until(
        lambda: redis.info("clients"),
        "a blocked client",
        holds=lambda clients: clients["blocked_clients"],
    )


async def test_work_that_came_before_the_wait_wakes_too(store: Place) -> None:
    """A wake from before the wait is kept until a worker takes it."""
    async with opened(store) as world:
        await world.enqueue()
        assert await world.store.ledger.wait_for_work(HANG)


async def test_a_wait_ends_by_itself(store: Place) -> None:
    """A wait without work returns False after the time asked for."""
    async with opened(store) as world:
        assert not await world.store.ledger.wait_for_work(0.01)


async def test_a_wake_that_its_worker_misses_goes_to_another(store: Place) -> None:
    """A worker that stopped waiting during its pop hands the wake on to another worker."""
    async with opened(store, worker_id="w1") as one, opened(store, worker_id="w2") as two:
        assert not await one.store.ledger.wait_for_work(0.01)
        await _blocked(one.redis)
        await one.enqueue()
        assert await two.store.ledger.wait_for_work(HANG)


async def test_a_closing_worker_hands_its_wake_on(store: Place) -> None:
    """A closing worker wakes another one for a wake that it may have popped.

    One wake too many costs an empty claim.
    """
    async with opened(store, worker_id="w2") as two:
        async with opened(store, worker_id="w1") as one:
            assert not await one.store.ledger.wait_for_work(0.01)
            await _blocked(one.redis)
        assert await two.store.ledger.wait_for_work(HANG)


async def test_more_work_than_asked_for_wakes_the_next(store: Place) -> None:
    """A claimer that leaves due work wakes the next worker.

    One that leaves none clears stale wakes.
    """
    async with opened(store) as world:
        for number in range(3):
            await world.enqueue(f"m{number}")
        assert await world.store.ledger.wait_for_work(HANG)
        await world.claim(2)
        assert await world.store.ledger.wait_for_work(HANG)
        await world.claim(2)
        assert not await world.store.ledger.wait_for_work(0.01)


async def test_an_earlier_due_time_wakes_who_waits_for_a_later(store: Place) -> None:
    """Waiting workers learn of an earlier due time."""
    async with opened(store) as world:
        now = await world.store.now()
        await world.enqueue("late", not_before=now + timedelta(hours=2))
        await world.claim()
        await world.enqueue("early", campaign="c", not_before=now + timedelta(hours=1))
        assert await world.store.ledger.wait_for_work(HANG)
        batch = await world.store.ledger.claim(1)
        assert batch.next_due_at is not None
        assert abs(batch.next_due_at - now - timedelta(hours=1)) < timedelta(seconds=1)


async def test_the_wake_list_is_capped(store: Place) -> None:
    """Wake tokens do not pile up while no worker waits."""
    async with opened(store) as world:
        for number in range(100):
            await world.enqueue(f"m{number}", campaign=f"c{number}")
        assert await world.redis.llen(world.keys.wake) == 64  # type: ignore[misc]  # redis-py types both flavours at once


async def test_a_lost_connection_is_opened_again(store: Place, redis_client: Redis) -> None:
    """An outage of the store does not end a wait with an error, and the listener connects again."""
    async with opened(store) as world:
        waiting = asyncio.create_task(world.store.ledger.wait_for_work(HANG))
        await _blocked(world.redis)
        await redis_client.client_kill_filter(_type="normal", skipme=True)
        await world.enqueue()
        assert await waiting


async def test_closing_twice_or_unused_is_harmless(store: Place) -> None:
    """Closing twice, or without any wait, is harmless."""
    async with opened(store) as world:
        await world.store._waker.close()
