"""What a claim brings, in which order, and when its reply was lost."""

import asyncio
from datetime import datetime, timedelta

import pytest

from sendwindow.vocabulary import OnUnknown, Priority, Stage
from tests.support.cast import ANNA
from tests.support.claims import suspected
from tests.support.stores_world import (
    ACCOUNT,
    ORDER,
    REFUSED,
    SENDER,
    Place,
    accepted,
    opened,
)
from worker.ports.admissions import Permit
from worker.stores.person_digests import PersonDigests

pytestmark = pytest.mark.asyncio


async def test_a_claim_brings_job_row_and_facts(store: Place) -> None:
    """One claim returns everything that a decision needs.

    The person's digest equals the one that Python computes.
    """
    async with opened(store) as world:
        await world.enqueue(template="order_update", on_unknown=OnUnknown.HOLD)
        claimed = await world.claim_one()
        assert claimed.message_id == "m1"
        assert claimed.payload is not None
        assert b"hello" in claimed.payload
        assert (claimed.attempts, claimed.tries, claimed.crashes) == (0, 0, 0)
        assert claimed.facts.person_digest == world.store.people.digest(ANNA)
        assert claimed.expires_at - claimed.enqueued_at == timedelta(hours=24)
        assert claimed.facts == await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)


async def test_a_long_person_key_gives_the_same_digest_in_lua(store: Place) -> None:
    """A person key longer than SHA-1's block gives the same digest in Lua and Python.

    HMAC hashes such a key first, and Lua sees only the two blocks.
    """
    async with opened(store) as world:
        world.store.ledger._digests = PersonDigests(b"k" * 200)
        await world.enqueue()
        claimed = await world.claim_one()
        assert claimed.facts.person_digest == PersonDigests(b"k" * 200).digest(ANNA)


async def test_a_message_is_claimed_once(store: Place) -> None:
    """Two workers that claim at the same time get different messages."""
    async with opened(store, worker_id="w1") as one, opened(store, worker_id="w2") as two:
        for number in range(40):
            await one.enqueue(f"m{number}")
        batches = await asyncio.gather(*(world.claim(7) for world in (one, two) * 4))
        ids = [claimed.message_id for batch in batches for claimed in batch]
        assert sorted(ids) == sorted(f"m{number}" for number in range(40))


async def test_each_call_takes_the_next_fence(store: Place) -> None:
    """A later claim has a higher fence, so that a late write can be recognized."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.enqueue("m2")
        first, second = await world.claim_one(), await world.claim_one()
        assert second.fence > first.fence


async def test_a_lane_is_served_in_the_order_of_its_messages(store: Place) -> None:
    """Inside a lane due time counts, and then the order of arrival."""
    async with opened(store) as world:
        ids = [f"m{number}" for number in range(20)]
        for message_id in ids:
            await world.enqueue(message_id)
        assert [claimed.message_id for claimed in await world.claim(20)] == ids


async def test_urgent_goes_first_and_bulk_is_not_starved(store: Place) -> None:
    """Weights 16 : 4 : 1 share a busy partition, and every priority gets its part."""
    async with opened(store) as world:
        for priority in Priority:
            for number in range(60):
                await world.enqueue(f"{priority}-{number}", priority=priority)
        taken = [claimed.message_id.partition("-")[0] for claimed in await world.claim(84)]
        assert taken.count("urgent") == 60
        assert taken.count("bulk") >= 4
        assert taken.count("normal") > taken.count("bulk")


async def test_no_sender_holds_up_another(store: Place) -> None:
    """A lane with much work shares with a lane that has little."""
    async with opened(store) as world:
        for number in range(50):
            await world.enqueue(f"much-{number}")
        await world.enqueue("little", sender="other")
        assert "little" in [claimed.message_id for claimed in await world.claim(16)]


async def test_a_returning_lane_has_saved_nothing_up(store: Place) -> None:
    """A lane that was idle enters at the current minimum, so that it cannot shut out others."""
    async with opened(store) as world:
        for number in range(60):
            await world.enqueue(f"busy-{number}")
        await world.claim(40)
        for number in range(60):
            await world.enqueue(f"idle-{number}", sender="other")
        taken = [claimed.message_id.partition("-")[0] for claimed in await world.claim(20)]
        assert taken.count("busy") >= 4


async def test_what_is_not_due_is_not_claimed(store: Place) -> None:
    """A message with not_before waits on a timer, and the claim returns when the next one is
    due.
    """
    async with opened(store) as world:
        due_at = await world.store.now() + timedelta(hours=1)
        await world.enqueue(not_before=due_at)
        batch = await world.store.ledger.claim(10)
        assert batch.claimed == ()
        assert batch.next_due_at is not None
        assert abs(batch.next_due_at - due_at) < timedelta(milliseconds=2)
        await world.later(hours=1, seconds=1)
        assert [claimed.message_id for claimed in await world.claim()] == ["m1"]


async def test_a_paused_sender_costs_nothing(store: Place) -> None:
    """A paused sender is parked: others go on, and the claimer waits until the pause is over."""
    async with opened(store) as world:
        await world.store.switches.pause("sender", SENDER, timedelta(minutes=5), "63018")
        await world.enqueue("m1")
        await world.enqueue("m2", sender="other")
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]
        batch = await world.store.ledger.claim(10)
        assert batch.claimed == ()
        assert batch.next_due_at is not None
        assert batch.next_due_at - batch.now > timedelta(minutes=4)
        await world.later(minutes=4)
        assert await world.claim() == ()
        await world.later(minutes=1, seconds=1)
        assert [claimed.message_id for claimed in await world.claim()] == ["m1"]


async def test_a_message_of_a_paused_sender_still_expires(store: Place) -> None:
    """A message of a paused sender expires on time, so that its end is reported."""
    async with opened(store) as world:
        await world.store.switches.pause("sender", SENDER, timedelta(days=3650), "63007")
        await world.enqueue("long")
        await world.enqueue("short", expires_at=await world.store.now() + timedelta(minutes=10))
        assert await world.claim() == ()
        await world.later(minutes=11)
        assert [claimed.message_id for claimed in await world.claim()] == ["short"]
        assert await world.claim() == ()


async def test_expiry_is_served_however_far_back_in_a_paused_lane(store: Place) -> None:
    """Claims list what is queued by its expiry in steps, and go on at once until all is listed."""
    async with opened(store) as world:
        await world.store.switches.pause("sender", SENDER, timedelta(days=3650), "63007")
        for number in range(300):
            await world.enqueue(f"long{number}")
        await world.enqueue("short", expires_at=await world.store.now() + timedelta(minutes=10))
        steps = 0
        while (batch := await world.store.ledger.claim(10)).next_due_at == batch.now:
            assert batch.claimed == ()
            steps += 1
        assert steps == 300 // 64
        await world.later(minutes=11)
        assert [one.message_id for one in await world.claim()] == ["short"]
        assert await world.claim() == ()


async def test_a_resumed_account_is_served_at_once(store: Place) -> None:
    """Ending a pause by hand makes its lanes claimable at once."""
    async with opened(store) as world:
        await world.store.switches.pause("account", ACCOUNT, timedelta(hours=5), "20003")
        await world.enqueue()
        assert await world.claim() == ()
        assert await world.store.switches.resume("account", ACCOUNT)
        assert [claimed.message_id for claimed in await world.claim()] == ["m1"]
        assert not await world.store.switches.resume("account", ACCOUNT)


async def test_a_lost_claim_reply_is_asked_for_again(store: Place) -> None:
    """A claim that raised keeps its request id, so the next call gets the same messages and
    fence.
    """
    async with opened(store) as world:
        await world.enqueue("m1")
        world.store.ledger._claim_request = "same"
        first = await world.claim()
        await world.enqueue("m2")
        world.store.ledger._claim_request = "same"
        assert await world.claim() == first
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]


async def test_a_repeated_claim_leaves_out_what_it_no_longer_holds(store: Place) -> None:
    """A repeated claim returns only messages whose leases it still holds."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.enqueue("m2")
        world.store.ledger._claim_request = "same"
        first, second = await world.claim()
        await world.settle(first, REFUSED)
        world.store.ledger._claim_request = "same"
        assert [claimed.message_id for claimed in await world.claim()] == [second.message_id]


async def test_a_job_that_is_gone_or_garbage_is_still_claimed(store: Place) -> None:
    """A message whose job is gone or unreadable is claimed, so that the worker ends it with a
    reason.
    """
    async with opened(store) as world:
        for number in range(5):
            await world.enqueue(f"m{number}")
        await world.redis.delete(world.keys.job("m0"))
        await world.redis.set(world.keys.job("m1"), b"\x80\x04 not json")
        await world.redis.set(world.keys.job("m2"), b'{"a":[{"to":7,"template":"x"}]}')
        await world.redis.set(world.keys.job("m3"), b'{"a":"text"}')
        claimed = {one.message_id: one for one in await world.claim()}
        assert claimed["m0"].payload is None
        assert claimed["m1"].payload == b"\x80\x04 not json"
        assert [claimed[f"m{number}"].facts.person_digest for number in range(4)] == [""] * 4
        assert claimed["m4"].facts.person_digest


async def test_an_entry_without_a_row_is_dropped_from_its_lane(store: Place) -> None:
    """A lane entry without a row is dropped, so that it does not block the lane."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.enqueue("m2")
        await world.redis.delete(world.keys.row("m1"))
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]


async def test_released_claims_cost_nothing(store: Place) -> None:
    """A released message keeps its place and gets no try and no crash."""
    async with opened(store) as world:
        await world.enqueue("m1")
        claimed = await world.claim_one()
        await world.enqueue("m2")
        for _ in range(2):
            assert await world.store.ledger.release([("m1", claimed.fence), ("m2", 99)]) == [
                Stage.QUEUED,
                None,
            ]
        first, second = await world.claim(2)
        assert (first.message_id, second.message_id) == ("m1", "m2")
        assert (first.attempts, first.crashes) == (0, 0)


async def test_a_posting_message_cannot_be_released(store: Place) -> None:
    """A message with an intent cannot be released, because only a settlement may move it."""
    async with opened(store) as world:
        claimed = await world.post()
        assert await world.store.ledger.release([("m1", claimed.fence)]) == [None]
        assert (await world.row())["s"] == "posting"


async def test_the_queue_may_be_a_million_lanes_wide(store: Place) -> None:
    """A claim touches only the timers that are due, so it does not look at later work."""
    async with opened(store) as world:
        far: datetime = await world.store.now() + timedelta(days=1)
        for number in range(20):
            await world.enqueue(f"far-{number}", not_before=far, campaign=f"c{number}")
        await world.enqueue("now")
        assert [claimed.message_id for claimed in await world.claim()] == ["now"]
        assert await world.redis.zcard(world.keys.ready) == 0
        assert await world.redis.zcard(world.keys.timers) == 20


async def test_a_permit_follows_a_claim(store: Place) -> None:
    """After claim, admission and settlement the row shows each step."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert isinstance(await world.admit(claimed), Permit)
        settled = await world.settle(claimed, accepted())
        assert (settled.applied, settled.stage) == (True, Stage.ACCEPTED)
        row = await world.row()
        assert (row["s"], row["sid"], row["a"], row["n"], row["r"]) == (
            "accepted",
            "SM1",
            "1",
            "1",
            "window_open",
        )
        assert await world.events() == ["enqueued", "intent", "accepted"]
        assert await world.redis.zcard(world.keys.leases) == 0


async def test_the_limit_holds_over_all_lanes(store: Place) -> None:
    """A claim over all lanes returns no more messages than asked for."""
    async with opened(store) as world:
        for number in range(8):
            await world.enqueue(f"m{number}", sender=SENDER if number % 2 else "other")
        assert len(await world.claim(5)) == 5
        assert len(await world.claim(5)) == 3


async def test_no_message_is_claimed_together_with_a_crashed_one(store: Place) -> None:
    """A message that crashed is claimed alone, even if it is first and due before the others."""
    async with opened(store) as world:
        await suspected(world, "m1")
        await world.later(seconds=30)
        await world.enqueue("m2")
        assert [claimed.message_id for claimed in await world.claim(10)] == ["m2"]
        assert [claimed.message_id for claimed in await world.claim(10)] == ["m1"]
