"""Claims: which worker gets which message, in what order, with which facts, and what a crash
changes.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from sendwindow.vocabulary import OnUnknown, Priority, Reason, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    LEASE,
    ORDER,
    REFUSED,
    SENDER,
    UNKNOWN,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.admissions import Permit
from worker.ports.claims import CRASHES_IN_COMPANY, ClaimedMessage, Suspects
from worker.ports.settlements import SettleAccepted, SettleAgain
from worker.ports.unknowns import Resolution, UnknownAttempt
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
        assert (claimed.attempts, claimed.tries, claimed.crashes, claimed.on_unknown) == (
            0,
            0,
            0,
            OnUnknown.HOLD,
        )
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
    """The lane of a paused sender is on a timer and is checked once a minute; others go on."""
    async with opened(store) as world:
        await world.store.switches.pause("sender", SENDER, timedelta(minutes=5), "63018")
        await world.enqueue("m1")
        await world.enqueue("m2", sender="other")
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]
        batch = await world.store.ledger.claim(10)
        assert batch.claimed == ()
        assert batch.next_due_at is not None
        assert batch.next_due_at - batch.now > timedelta(seconds=50)
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
    """The search for expired messages in a paused lane goes on where it ended, so it reaches all
    of them.
    """
    async with opened(store) as world:
        await world.store.switches.pause("sender", SENDER, timedelta(days=3650), "63007")
        for number in range(300):
            await world.enqueue(f"long{number}")
        await world.enqueue("short", expires_at=await world.store.now() + timedelta(minutes=10))
        await world.later(minutes=11)
        claimed = await world.claim()
        assert claimed == ()
        await world.later(seconds=1)
        assert [one.message_id for one in await world.claim()] == ["short"]


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


async def _crash(world: World) -> None:
    await world.later(seconds=LEASE.total_seconds() + 1)


async def test_a_claim_without_intent_goes_back_free_of_charge(store: Place) -> None:
    """A message whose worker died before the intent is claimed again with its tries unchanged."""
    async with opened(store) as world:
        await world.enqueue()
        lost = await world.claim_one()
        await _crash(world)
        (reaped,) = await world.store.ledger.reap(10)
        assert (reaped.message_id, reaped.stage, reaped.attempt) == ("m1", Stage.QUEUED, 0)
        again = await world.claim_one()
        assert (again.attempts, again.tries, again.crashes) == (0, 0, 1)
        assert again.fence > lost.fence


async def test_an_intent_without_outcome_is_unknown(store: Place) -> None:
    """A message whose worker died after the intent is unknown and never sent again blindly."""
    async with opened(store) as world:
        await world.post()
        await _crash(world)
        (reaped,) = await world.store.ledger.reap(10)
        assert (reaped.stage, reaped.attempt) == (Stage.UNKNOWN, 1)
        assert await world.claim() == ()
        row = await world.row()
        assert (row["s"], row["r"]) == ("unknown", Reason.OUTCOME_CRASH)


async def _suspected(world: World, *message_ids: str) -> None:
    """Let a worker die while it holds all of these messages, and then another worker."""
    for message_id in message_ids:
        await world.enqueue(message_id)
    for _ in range(CRASHES_IN_COMPANY):
        assert len(await world.claim(10)) == len(message_ids)
        await _crash(world)
        await world.store.ledger.reap(10)


def _ids(claimed: Sequence[ClaimedMessage]) -> list[str]:
    return [one.message_id for one in claimed]


async def test_who_holds_something_gets_no_suspect(store: Place) -> None:
    """A worker with messages in flight gets no suspect: each suspect goes alone to a drained
    worker.
    """
    async with opened(store) as world:
        await _suspected(world, "m1", "m2")
        await world.enqueue("m3")
        assert _ids(await world.claim(10, Suspects.NEVER)) == ["m3"]
        assert await world.claim(10, Suspects.NEVER) == ()
        assert _ids(await world.claim(10)) == ["m1"]
        assert _ids(await world.claim(10)) == ["m2"]
        assert await world.claim(10) == ()


async def test_suspects_do_not_keep_others_behind_them(store: Place) -> None:
    """A message without a crash is claimed at once, however many suspects stand before it in its
    lane.
    """
    async with opened(store) as world:
        await _suspected(world, *(f"s{number}" for number in range(10)))
        await world.enqueue("m1")
        assert _ids(await world.claim(1, Suspects.NEVER)) == ["m1"]
        assert _ids(await world.claim(1, Suspects.NEVER)) == []
        assert await world.redis.zcard(world.keys.ready) == 0


async def test_a_suspect_may_go_last(store: Place) -> None:
    """With Suspects.LAST, a claim returns a suspect only if nothing else is due."""
    async with opened(store) as world:
        await _suspected(world, "m1")
        await world.enqueue("m2")
        assert _ids(await world.claim(10, Suspects.LAST)) == ["m2"]
        assert _ids(await world.claim(10, Suspects.LAST)) == ["m1"]


async def test_one_worker_at_a_time_is_called_to_empty_its_hands(store: Place) -> None:
    """While a suspect is due, one worker is asked to drain.

    After a lease another one may be asked.
    """
    async with opened(store, worker_id="w1") as one, opened(store, worker_id="w2") as two:
        await _suspected(one, "m1")
        first, second = one.store.ledger, two.store.ledger
        assert (await first.claim(10)).is_called
        assert not (await second.claim(10)).is_called
        assert (await first.claim(10)).is_called
        await one.later(seconds=LEASE.total_seconds() + 1)
        assert (await second.claim(10)).is_called
        assert not (await first.claim(10)).is_called
        batch = await first.claim(10, Suspects.FIRST)
        assert (_ids(batch.claimed), batch.is_called) == (["m1"], False)
        assert not (await second.claim(10)).is_called


async def test_a_suspect_given_back_is_still_one(store: Place) -> None:
    """A suspect that is released stays one, and its crashes count until it is settled."""
    async with opened(store) as world:
        await _suspected(world, "m1")
        for _ in range(5):
            claimed = await world.claim_one()
            assert claimed.crashes >= CRASHES_IN_COMPANY
            await world.store.ledger.release([("m1", claimed.fence)])
        assert await world.claim(10, Suspects.NEVER) == ()
        claimed = await world.claim_one()
        await world.settle(claimed, AT_ONCE, attempt=0, posted=False)
        assert _ids(await world.claim(10, Suspects.NEVER)) == ["m1"]


async def test_a_suspect_is_cancelled_like_any_other(store: Place) -> None:
    """A cancelled suspect is not claimed, wherever it waits."""
    async with opened(store) as world:
        await _suspected(world, "m1", "m2")
        assert await world.cancel("m2") == "cancelled"
        assert await world.claim(10, Suspects.NEVER) == ()
        assert await world.cancel("m1") == "cancelled"
        assert await world.claim(10) == ()
        assert await world.redis.zcard(world.keys.suspects) == 0


async def test_a_suspect_of_a_paused_sender_waits_in_its_lane_and_expires(store: Place) -> None:
    """A suspect of a paused sender waits in its lane and, once expired, is claimed alone to be
    ended.
    """
    async with opened(store) as world:
        await _suspected(world, "m1")
        assert await world.claim(10, Suspects.NEVER) == ()
        await world.store.switches.pause("sender", SENDER, timedelta(days=30), "63007")
        assert await world.claim(10) == ()
        await world.later(minutes=2)
        assert await world.claim(10) == ()
        await world.store.switches.resume("sender", SENDER)
        claimed = await world.claim_one()
        await world.store.ledger.release([("m1", claimed.fence)])
        await world.store.switches.pause("sender", SENDER, timedelta(days=30), "63007")
        assert await world.claim(10) == ()
        await world.later(hours=25)
        await world.enqueue("m2", expires_at=await world.store.now() + timedelta(minutes=1))
        await world.later(minutes=2)
        assert sorted([_ids(await world.claim(10)), _ids(await world.claim(10))]) == [
            ["m1"],
            ["m2"],
        ]


async def test_an_idle_worker_is_woken_for_a_suspect(store: Place) -> None:
    """A busy worker that finds a suspect wakes another worker."""
    async with opened(store) as world:
        await _suspected(world, "m1")
        await world.redis.delete(world.keys.wake)
        assert await world.claim(10, Suspects.NEVER) == ()
        assert await world.redis.llen(world.keys.wake) == 1  # type: ignore[misc]  # redis-py types both flavours
        batch = await world.store.ledger.claim(10, Suspects.NEVER)
        assert batch.next_due_at is None


async def _searched(world: World) -> list[UnknownAttempt]:
    """Return the unknown attempts once they are due."""
    await world.later(minutes=1)
    return await world.store.unknowns.due(10, 1000)


async def test_a_message_that_kills_whoever_posts_it_is_not_sent_for_ever(store: Place) -> None:
    """A message that crashes its worker at each POST is marked after two crashes in company and
    three alone. Its own rule stays as it was.
    """
    async with opened(store) as world:
        await world.enqueue(on_unknown=OnUnknown.RESEND)
        for attempt in range(1, 6):
            await world.admit(await world.claim_one())
            await _crash(world)
            (reaped,) = await world.store.ledger.reap(10)
            assert reaped.stage is Stage.UNKNOWN
            assert (await world.row())["u"] == "resend"
            [unknown] = await _searched(world)
            assert (unknown.attempt, unknown.is_poison) == (attempt, attempt == 5)
            again = SettleAgain(Stage.RETRYING, Reason.RESENT_BY_RULE)
            await world.store.unknowns.resolve([Resolution("m1", attempt, again)])


async def test_after_two_crashes_a_message_is_claimed_alone(store: Place) -> None:
    """After two crashes a message is claimed alone; after one crash it goes with others."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.claim_one()
        await _crash(world)
        await world.store.ledger.reap(10)
        await world.enqueue("m2")
        assert sorted(_ids(await world.claim(10))) == ["m1", "m2"]
        await _crash(world)
        await world.store.ledger.reap(10)
        await world.enqueue("m3")
        sizes = []
        while claimed := await world.claim(10):
            sizes.append(_ids(claimed))
        assert ["m1"] in sizes
        assert sorted(one for batch in sizes for one in batch) == ["m1", "m2", "m3"]


async def test_three_crashes_alone_are_poison(store: Place) -> None:
    """A message that crashed three workers alone is poison and keeps its job.

    The first two crashes may have been another message's fault.
    """
    async with opened(store) as world:
        await world.enqueue()
        stages = []
        for _ in range(5):
            assert len(await world.claim(10)) == 1
            await _crash(world)
            stages += [reaped.stage for reaped in await world.store.ledger.reap(10)]
        assert stages == [*[Stage.QUEUED] * 4, Stage.DEAD]
        assert [record.row["r"] async for record in world.store.records.listed("dead")] == [
            Reason.POISON
        ]
        assert await world.redis.exists(world.keys.job("m1"))
        assert await world.redis.pttl(world.keys.row("m1")) == -1


async def test_crashes_are_counted_in_a_row(store: Place) -> None:
    """A settled attempt resets the count of crashes."""
    async with opened(store) as world:
        await world.enqueue()
        await world.claim_one()
        await _crash(world)
        await world.store.ledger.reap(10)
        claimed = await world.claim_one()
        await world.admit(claimed)
        await world.settle(claimed, UNKNOWN)
        assert "k" not in await world.row()


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
        await _crash(world)
        (reaped,) = await world.store.ledger.reap(10)
        assert reaped.stage is Stage.CANCELLED
        assert await world.claim() == ()


async def test_reaping_an_attempt_with_proof_accepts_it(store: Place) -> None:
    """Reaping an attempt that a callback has proven accepts it."""
    async with opened(store) as world:
        await world.post()
        await world.callback("sent", "SM7")
        await _crash(world)
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


async def test_nobody_follows_a_crashed_message_into_its_claim(store: Place) -> None:
    """A message that crashed is claimed alone, even if it is first and due before the others."""
    async with opened(store) as world:
        await _suspected(world, "m1")
        await world.later(seconds=30)
        await world.enqueue("m2")
        assert [claimed.message_id for claimed in await world.claim(10)] == ["m2"]
        assert [claimed.message_id for claimed in await world.claim(10)] == ["m1"]


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
        await _crash(one)
        await one.store.ledger.renew([("m1", first.fence)])
        await one.store.ledger.reap(10)
        assert [claimed.message_id for claimed in await two.claim()] == ["m2"]
        one.store.ledger._claim_request = "same"
        assert await one.claim() == ()


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


async def test_whoever_asks_shows_that_the_store_is_there(store: Place) -> None:
    """Any worker's reap shows that the store is up.

    Two workers reap in turn and one dies; the other's next reap comes in time and is no outage.
    """
    async with opened(store) as world:
        await world.enqueue()
        await world.claim_one()
        await _crash(world)
        # One reaps and soon after it the other; one dies; two thirds of a lease later the other
        # reaps.
        await _asked_ago(world, 0.2)
        await world.store.ledger.reap(0)
        asked = int(await world.redis.hget(world.keys.meta, "reap_at") or 0)  # type: ignore[misc]  # as above
        seconds, _ = await world.redis.time()
        assert asked >= (seconds - 1) * 1000
        await _asked_ago(world, 0.5)
        assert len(await world.store.ledger.reap(10)) == 1


async def test_the_time_given_to_holders_is_the_same_for_everybody(store: Place) -> None:
    """After an outage holders get the longest lease in use, while workers differ in
    `lease_seconds`.
    """
    async with opened(store) as world, opened(store, worker_id="w2", lease=LEASE / 15) as hasty:
        await world.enqueue()
        await world.claim_one()
        await _crash(world)
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
        await _crash(world)
        assert len(await world.store.ledger.reap(10)) == 1


async def test_a_lost_claim_is_told_after_a_long_outage(store: Place) -> None:
    """A claim whose reply was lost is remembered longer than an outage of the store lasts."""
    async with opened(store, worker_id="w1") as world:
        await world.enqueue()
        await world.claim_one()
        assert await world.redis.pttl(world.keys.last_claim("w1")) > 30 * 60 * 1000


async def test_what_is_given_back_after_a_cancel_ends(store: Place) -> None:
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
        await _crash(world)
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
        await _crash(world)
        await _was_away(world)
        assert await world.store.ledger.reap(10) == []
        seconds, _ = await world.redis.time()
        await world.redis.hset(world.keys.meta, "reap_from", seconds * 1000 - 1000)  # type: ignore[misc]  # redis-py types both flavours
        assert len(await world.store.ledger.reap(10)) == 1
        assert not await world.redis.hexists(world.keys.meta, "reap_graces")  # type: ignore[misc]  # as above
