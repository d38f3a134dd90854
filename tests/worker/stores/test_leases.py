"""Leases are renewed, released and reaped."""

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.support.claims import crash
from tests.support.stores_world import (
    LEASE,
    Place,
    opened,
)

pytestmark = pytest.mark.asyncio


async def test_renewed_leases_outlive_the_first_term(store: Place) -> None:
    """A lease that is renewed is not reaped, and a renewal with a wrong fence does nothing."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.later(seconds=10)
        assert await world.store.ledger.renew([("m1", claimed.fence)]) == []
        await world.later(seconds=10)
        assert await world.store.ledger.reap(10) == []
        assert await world.store.ledger.renew([("m1", claimed.fence + 1), ("gone", 1)]) == [
            "m1",
            "gone",
        ]


async def test_a_claim_without_intent_goes_back_free_of_charge(store: Place) -> None:
    """A message whose worker died before the intent is claimed again with its tries unchanged."""
    async with opened(store) as world:
        await world.enqueue()
        lost = await world.claim_one()
        await crash(world)
        (reaped,) = await world.store.ledger.reap(10)
        assert (reaped.message_id, reaped.stage, reaped.attempt) == ("m1", Stage.QUEUED, 0)
        again = await world.claim_one()
        assert (again.attempts, again.tries, again.crashes) == (0, 0, 1)
        assert again.fence > lost.fence


async def test_an_intent_without_outcome_is_unknown(store: Place) -> None:
    """A message whose worker died after the intent is unknown and never sent again blindly."""
    async with opened(store) as world:
        await world.post()
        await crash(world)
        (reaped,) = await world.store.ledger.reap(10)
        assert (reaped.stage, reaped.attempt) == (Stage.UNKNOWN, 1)
        assert await world.claim() == ()
        row = await world.row()
        assert (row["s"], row["r"]) == ("unknown", Reason.OUTCOME_CRASH)


async def test_a_leftover_lease_is_cleaned_up(store: Place) -> None:
    """Reaping a lease of a message that ended or is gone moves nothing."""
    async with opened(store) as world:
        await world.accept()
        await world.redis.zadd(world.keys.leases, {"m1": 0, "gone": 0})
        assert await world.store.ledger.reap(10) == []
        assert await world.redis.zcard(world.keys.leases) == 0


async def test_a_cancelled_claim_of_a_dead_worker_ends_cancelled(store: Place) -> None:
    """A message that was cancelled while a worker held it ends as cancelled when that worker
    dies.
    """
    async with opened(store) as world:
        await world.enqueue()
        await world.claim_one()
        assert await world.cancel() == "cancelled"
        await crash(world)
        (reaped,) = await world.store.ledger.reap(10)
        assert reaped.stage is Stage.CANCELLED
        assert await world.claim() == ()


async def test_reaping_an_attempt_with_proof_accepts_it(store: Place) -> None:
    """Reaping an attempt that a callback has proven accepts it."""
    async with opened(store) as world:
        await world.post()
        await world.callback("sent", "SM7")
        await crash(world)
        (reaped,) = await world.store.ledger.reap(10)
        assert reaped.stage is Stage.ACCEPTED
        row = await world.row()
        assert (row["sid"], row["st"]) == ("SM7", "sent")


async def test_nothing_held_asks_the_store_nothing(store: Place) -> None:
    """Empty batches need no call to the store."""
    async with opened(store) as world:
        ledger = world.store.ledger
        assert await ledger.renew([]) == []
        assert await ledger.release([]) == []
        assert await ledger.admit([]) == []
        assert await ledger.settle([]) == []


async def test_a_lease_lasts_as_long_as_it_says(store: Place) -> None:
    """No lease is reaped before it runs out."""
    async with opened(store) as world:
        await world.enqueue()
        await world.claim_one()
        await world.later(seconds=LEASE.total_seconds() - 1)
        assert await world.store.ledger.reap(10) == []
        await world.later(seconds=2)
        assert len(await world.store.ledger.reap(10)) == 1


async def test_a_repeated_claim_answers_only_untouched_claims(store: Place) -> None:
    """A repeated claim leaves out messages that were admitted since, or that another worker has."""
    async with opened(store, worker_id="w1") as one, opened(store, worker_id="w2") as two:
        await one.enqueue("m1")
        await one.enqueue("m2")
        one.store.ledger._claim_request = "same"
        first, _ = await one.claim()
        await one.admit(first)
        await crash(one)
        await one.store.ledger.renew([("m1", first.fence)])
        await one.store.ledger.reap(10)
        assert [claimed.message_id for claimed in await two.claim()] == ["m2"]
        one.store.ledger._claim_request = "same"
        assert await one.claim() == ()
