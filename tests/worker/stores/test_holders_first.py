"""After an outage of the store the holders of leases come before those who reap."""

from datetime import timedelta

import pytest

from sendwindow.vocabulary import Stage
from tests.support.claims import crash
from tests.support.stores_world import (
    LEASE,
    Place,
    World,
    opened,
)
from worker.ports.settlements import SettleAccepted

pytestmark = pytest.mark.asyncio


async def _was_away(world: World) -> None:
    """Make the store look as if no worker had reaped for most of a lease and all leases had run
    out.
    """
    seconds, _ = await world.redis.time()
    before = (seconds - LEASE.total_seconds()) * 1000
    await world.redis.hset(world.keys.meta, mapping={"reap_at": before, "reap_from": before})  # type: ignore[misc]  # redis-py types both flavours


async def _asked_ago(world: World, share: float) -> None:
    """Make the last reap look this share of a lease old."""
    seconds, micros = await world.redis.time()
    at = seconds * 1000 + micros // 1000 - int(share * LEASE.total_seconds() * 1000)
    await world.redis.hset(world.keys.meta, "reap_at", at)  # type: ignore[misc]  # redis-py types both flavours


async def test_each_reaping_shows_that_the_store_is_there(store: Place) -> None:
    """Any worker's reap shows that the store is up.

    Two workers reap in turn and one dies; the other's next reap comes in time and is no outage.
    """
    async with opened(store) as world:
        await world.enqueue()
        await world.claim_one()
        await crash(world)
        # One reaps and soon after it the other; one dies; two thirds of a lease later the other
        # reaps.
        await _asked_ago(world, 0.2)
        await world.store.ledger.reap(0)
        asked = int(await world.redis.hget(world.keys.meta, "reap_at") or 0)  # type: ignore[misc]  # as above
        seconds, _ = await world.redis.time()
        assert asked >= (seconds - 1) * 1000
        await _asked_ago(world, 0.5)
        assert len(await world.store.ledger.reap(10)) == 1


async def test_the_time_given_to_holders_is_the_same_for_every_worker(store: Place) -> None:
    """After an outage holders get the longest lease in use, while workers differ in
    `lease_seconds`.
    """
    async with opened(store) as world, opened(store, worker_id="w2", lease=LEASE / 15) as hasty:
        await world.enqueue()
        await world.claim_one()
        await crash(world)
        await _was_away(world)
        assert await world.store.ledger.reap(10) == []
        assert await hasty.store.ledger.reap(10) == []


async def test_a_clock_set_back_makes_no_lease_last_for_hours(store: Place) -> None:
    """A lease written before the clock was set back is cut to an ordinary one."""
    async with opened(store) as world:
        await world.enqueue()
        await world.claim_one()
        await world.redis.zincrby(world.keys.leases, 3_600_000, "m1")
        assert await world.store.ledger.reap(10) == []
        await crash(world)
        assert len(await world.store.ledger.reap(10)) == 1


async def test_a_lost_claim_is_reported_after_a_long_outage(store: Place) -> None:
    """A claim whose reply was lost is remembered longer than an outage of the store lasts."""
    async with opened(store, worker_id="w1") as world:
        await world.enqueue()
        await world.claim_one()
        assert await world.redis.pttl(world.keys.last_claim("w1")) > 30 * 60 * 1000


async def test_what_is_released_after_a_cancel_ends(store: Place) -> None:
    """Releasing a cancelled message reports that it ended, also when the reply was lost."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.cancel()
        for _ in range(2):
            assert await world.store.ledger.release([("m1", claimed.fence)]) == [Stage.CANCELLED]


async def test_a_short_lease_does_not_cut_a_long_one(store: Place) -> None:
    """A worker with a short lease does not shorten another worker's lease.

    This happens while `lease_seconds` is being changed.
    """
    async with (
        opened(store, lease=timedelta(minutes=1)) as patient,
        opened(store, worker_id="w2", lease=timedelta(seconds=1)) as hasty,
    ):
        await patient.enqueue()
        claimed = await patient.claim_one()
        before = await patient.redis.zscore(patient.keys.leases, "m1")
        assert await hasty.store.ledger.reap(10) == []
        assert await patient.redis.zscore(patient.keys.leases, "m1") == before
        assert await patient.store.ledger.renew([("m1", claimed.fence)]) == []


async def test_a_settlement_behind_a_release_is_late_and_not_lost(store: Place) -> None:
    """A settlement after a release is late and is kept as evidence.

    The intent was lost with the store's last second, and the worker had given up.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert await world.store.ledger.release([("m1", claimed.fence)]) == [Stage.QUEUED]
        settled = await world.settle(claimed, SettleAccepted("SM1", "queued"))
        assert (settled.applied, settled.stage) == (False, Stage.ACCEPTED)
        assert (await world.row())["sid"] == "SM1"
        assert await world.claim() == ()


async def test_each_of_several_outages_lets_holders_come_first(store: Place) -> None:
    """Several outages in a row make no unknowns, and a fleet too slow to reap in time still
    moves on.
    """
    async with opened(store) as world:
        await world.enqueue()
        await world.claim_one()
        await crash(world)
        reaped = []
        for _ in range(6):
            await _was_away(world)
            reaped.append(len(await world.store.ledger.reap(10)))
        assert reaped == [0, 0, 0, 0, 0, 1]


async def test_holders_have_their_time_only_so_long(store: Place) -> None:
    """Once the extra lease after an outage has passed, messages whose lease was not renewed are
    reaped.
    """
    async with opened(store) as world:
        await world.enqueue()
        await world.claim_one()
        await crash(world)
        await _was_away(world)
        assert await world.store.ledger.reap(10) == []
        seconds, _ = await world.redis.time()
        await world.redis.hset(world.keys.meta, "reap_from", seconds * 1000 - 1000)  # type: ignore[misc]  # redis-py types both flavours
        assert len(await world.store.ledger.reap(10)) == 1
        assert not await world.redis.hexists(world.keys.meta, "reap_graces")  # type: ignore[misc]  # as above
