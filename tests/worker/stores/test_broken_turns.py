"""What stops one message, one sender or one list, and must not stop the others."""

from datetime import timedelta

import pytest

from tests.support.ring_steps import claimed_by, lane, queue
from tests.support.ring_tree import LaneName
from tests.support.stores_world import REFUSED, SENDER, Place, opened, settlement
from worker.ports.claims import Suspects
from worker.ports.effects import PauseSender

pytestmark = pytest.mark.asyncio


async def test_a_job_of_another_kind_stops_no_other_message(store: Place) -> None:
    """A message whose job is no text is put off, and everything else goes on."""
    async with opened(store) as world:
        await queue(world, lane(), ["bad", "good"])
        await queue(world, lane("other"), ["o1", "o2"])
        await world.redis.delete(world.keys.job("bad"))
        await world.redis.sadd(world.keys.job("bad"), "x")  # type: ignore[misc]  # redis-py types both flavours at once
        batch = await world.store.ledger.claim(10, Suspects.NEVER)
        assert sorted(one.message_id for one in batch.claimed) == ["good", "o1", "o2"]
        assert batch.in_unknown_stage == ("bad",)
        await world.redis.delete(world.keys.job("bad"))
        await world.later(minutes=2)
        assert await claimed_by(world, 10) == ["bad"]


async def test_a_mark_heals_rings_that_a_call_left_broken(store: Place) -> None:
    """Messages whose sender, account or class is in no ring go when something is queued there."""
    async with opened(store) as world:
        for at, level in enumerate(("classes", "normal", "normal|senders|main")):
            await queue(world, lane(), [f"{at}-{number}" for number in range(3)])
            assert len(await claimed_by(world, 1)) == 1
            await world.redis.delete(world.keys.ring("classes"), world.keys.ring(level))
            assert await claimed_by(world, 10) == []
            await queue(world, lane(), [f"{at}-more"])
            assert len(await claimed_by(world, 10)) == 3


async def test_a_sender_that_moves_leaves_the_pause_of_its_old_account_behind(store: Place) -> None:
    """What a sender has queued goes under its new account, although the old one is parked."""
    async with opened(store) as world:
        await queue(world, lane(), ["m1", "m2"])
        await world.store.switches.pause("account", "main", timedelta(days=7), "63038")
        assert await claimed_by(world, 10) == []
        await world.store.register_senders({SENDER: "second"}, {})
        assert await claimed_by(world, 10) == ["m1", "m2"]


async def test_a_pause_that_is_taken_back_parks_nothing_any_more(store: Place) -> None:
    """A failure that turns out to be wrong takes its pause back, and the sender's turns return."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        await world.callback("failed", effects=(PauseSender(86_400, "daily limit"),))
        await queue(world, lane(), ["m2"])
        assert await claimed_by(world, 10) == []
        await world.callback("delivered")
        assert await claimed_by(world, 10) == ["m2"]


async def test_resume_frees_what_is_parked_without_a_pause(store: Place) -> None:
    """`resume` frees a sender that is parked although no pause is stored, and changes no state."""
    async with opened(store) as world:
        await queue(world, lane(), ["m1"])
        await world.store.switches.pause("sender", SENDER, timedelta(days=7), "63007")
        assert await claimed_by(world, 10) == []
        await world.redis.hdel(world.keys.sender(SENDER), "until", "reason")  # type: ignore[misc]  # redis-py types both flavours at once
        assert not await world.store.switches.resume("sender", SENDER)
        assert await claimed_by(world, 10) == ["m1"]


async def test_a_later_message_of_a_parked_lane_expires_too(store: Place) -> None:
    """A message that falls due while its lane is parked is listed by its expiry then."""
    async with opened(store) as world:
        await world.store.switches.pause("sender", SENDER, timedelta(days=7), "63007")
        now = await world.store.now()
        end = now + timedelta(minutes=30)
        await queue(world, lane(), ["x"], not_before=now + timedelta(minutes=1), expires_at=end)
        await queue(world, lane(), ["y"], expires_at=end)
        assert await claimed_by(world, 10) == []
        await world.later(minutes=2)
        assert await claimed_by(world, 10) == []
        await world.later(minutes=30)
        assert sorted(await claimed_by(world, 10)) == ["x", "y"]


async def test_a_list_of_messages_that_ended_keeps_no_other_waiting(store: Place) -> None:
    """A claim looks at a bounded part of a list, and what is due goes first."""
    async with opened(store) as world:
        minute = int((await world.store.now()).timestamp() // 60) - 1
        stale = [f"gone-{number}" for number in range(3_000)]
        await world.redis.rpush(world.keys.expiring(str(minute)), *stale)  # type: ignore[misc]  # redis-py types both flavours at once
        await world.redis.zadd(world.keys.expiries, {str(minute): (minute + 1) * 60_000})
        await queue(world, lane(priority="urgent"), [f"u{number}" for number in range(5)])
        await world.redis.config_resetstat()
        assert len(await claimed_by(world, 5)) == 5
        looked = (await world.redis.info("commandstats")).get("cmdstat_lpop", {"calls": 0})
        assert looked["calls"] <= 64
        for _ in range(3_000 // 512 + 2):
            assert await claimed_by(world, 5) == []
        assert not await world.redis.exists(world.keys.expiries)


async def test_any_number_of_urgent_lanes_leaves_turns_for_others(store: Place) -> None:
    """A normal lane comes into the rings although 140 urgent lanes are marked at every claim."""
    async with opened(store) as world:
        urgent = [LaneName("main", "other", "urgent", f"c{number}") for number in range(140)]
        for number, each in enumerate(urgent):
            await queue(world, each, [f"u{number}-{index}" for index in range(3)])
        await queue(world, lane(), ["normal"])
        for round_ in range(3):
            batch = await world.store.ledger.claim(8, Suspects.NEVER)
            await world.store.ledger.settle([settlement(one, REFUSED) for one in batch.claimed])
            for number, each in enumerate(urgent):
                await queue(world, each, [f"v{round_}-{number}"])
        assert await world.redis.zscore(world.keys.ready, "shop|normal|") is None
