"""A suspect is claimed alone, and is poison after further crashes."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from sendwindow.vocabulary import OnUnknown, Reason, Stage
from tests.support.claims import crash, suspected
from tests.support.stores_world import (
    AT_ONCE,
    LEASE,
    SENDER,
    UNKNOWN,
    Place,
    World,
    opened,
)
from worker.ports.claims import CRASHES_IN_COMPANY, ClaimedMessage, Suspects
from worker.ports.settlements import SettleAgain
from worker.ports.unknowns import Resolution, UnknownAttempt

pytestmark = pytest.mark.asyncio


def _ids(claimed: Sequence[ClaimedMessage]) -> list[str]:
    return [one.message_id for one in claimed]


async def test_who_holds_something_gets_no_suspect(store: Place) -> None:
    """A worker with messages in flight gets no suspect: each suspect goes alone to a drained
    worker.
    """
    async with opened(store) as world:
        await suspected(world, "m1", "m2")
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
        await suspected(world, *(f"s{number}" for number in range(10)))
        await world.enqueue("m1")
        assert _ids(await world.claim(1, Suspects.NEVER)) == ["m1"]
        assert _ids(await world.claim(1, Suspects.NEVER)) == []
        assert await world.redis.zcard(world.keys.ready) == 0


async def test_a_suspect_may_go_last(store: Place) -> None:
    """With Suspects.LAST, a claim returns a suspect only if nothing else is due."""
    async with opened(store) as world:
        await suspected(world, "m1")
        await world.enqueue("m2")
        assert _ids(await world.claim(10, Suspects.LAST)) == ["m2"]
        assert _ids(await world.claim(10, Suspects.LAST)) == ["m1"]


async def test_one_worker_at_a_time_is_asked_to_drain(store: Place) -> None:
    """While a suspect is due, one worker is asked to drain.

    After a lease another one may be asked.
    """
    async with opened(store, worker_id="w1") as one, opened(store, worker_id="w2") as two:
        await suspected(one, "m1")
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
        await suspected(world, "m1")
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
        await suspected(world, "m1", "m2")
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
        await suspected(world, "m1")
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
        await suspected(world, "m1")
        await world.redis.delete(world.keys.wake)
        assert await world.claim(10, Suspects.NEVER) == ()
        assert await world.redis.llen(world.keys.wake) == 1  # type: ignore[misc]  # redis-py types both flavours
        batch = await world.store.ledger.claim(10, Suspects.NEVER)
        assert batch.next_due_at is not None
        assert batch.next_due_at - batch.now > timedelta(minutes=1)


async def _searched(world: World) -> list[UnknownAttempt]:
    """Return the unknown attempts once they are due."""
    await world.later(minutes=1)
    return await world.store.unknowns.due(10, 1000)


async def test_a_message_that_kills_each_worker_that_posts_it_is_not_sent_forever(
    store: Place,
) -> None:
    """A message that crashes its worker at each POST is marked after two crashes in company and
    three alone. Its own rule stays as it was.
    """
    async with opened(store) as world:
        await world.enqueue(on_unknown=OnUnknown.RESEND)
        for attempt in range(1, 6):
            await world.admit(await world.claim_one())
            await crash(world)
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
        await crash(world)
        await world.store.ledger.reap(10)
        await world.enqueue("m2")
        assert sorted(_ids(await world.claim(10))) == ["m1", "m2"]
        await crash(world)
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
            await crash(world)
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
        await crash(world)
        await world.store.ledger.reap(10)
        claimed = await world.claim_one()
        await world.admit(claimed)
        await world.settle(claimed, UNKNOWN)
        assert "k" not in await world.row()
