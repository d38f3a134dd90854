"""Messages that a pair or an account without a place turns away: when they are claimed again."""

from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.rate_limits import PAIR
from sendwindow.vocabulary import Priority, Stage
from tests.support.limited_claims import MINUTE, claim, fleet, limit
from tests.support.ring_steps import lane, queue
from tests.support.stores_world import REFUSED, SENDER, Place, World, accepted, opened
from worker.ports.admissions import Charge, Later, Permit, PostLimit
from worker.ports.claims import ClaimedMessage
from worker.ports.settlements import SettleAgain

pytestmark = pytest.mark.asyncio


async def test_a_long_queue_to_one_person_is_claimed_twice_at_most(store: Place) -> None:
    """What the pair limit turns away is booked for an instant of its own."""
    async with AsyncExitStack() as stack:
        team = await fleet(stack, store, 3, {SENDER: Charge(pair=PAIR)})
        ids = [f"m{number}" for number in range(70)]
        await queue(team.worlds[0], lane(), ids)
        await team.work(70, most_rounds=200)
        assert team.accepted == ids
        assert len(team.claimed) == 70 + 25


async def _turned_away(world: World, one: ClaimedMessage, charge: Charge) -> timedelta:
    """Return how long a message has to wait that admission turns away, and put it back."""
    answer = await world.admit(one, charge=charge)
    assert isinstance(answer, Later)
    again = SettleAgain(Stage.WAITING, answer.reason, due_at=answer.until)
    await world.settle(one, again, attempt=0, posted=False)
    return answer.until - await world.store.now()


async def test_what_is_booked_goes_before_what_comes_later(store: Place) -> None:
    """A message that comes while another is booked does not take its place, and comes behind."""
    charge = Charge(pair=MINUTE)
    async with opened(store) as world:
        await world.post("m1")
        await world.enqueue("m2")
        await world.admit(await world.claim_one(), charge=charge)
        await world.enqueue("m3")
        await _turned_away(world, await world.claim_one(), charge)
        await world.later(minutes=1, seconds=1)
        await world.enqueue("new", not_before=None, campaign="a")
        claimed = {one.message_id: one for one in await world.claim(2)}
        assert await _turned_away(world, claimed["new"], charge) > timedelta(seconds=50)
        assert isinstance(await world.admit(claimed["m3"], charge=charge), Permit)


async def test_an_urgent_message_goes_before_what_is_booked(store: Place) -> None:
    """A login code takes the next instant, however many messages to the person are booked."""
    charge = Charge(pair=MINUTE)
    async with opened(store) as world:
        await queue(world, lane(), [f"m{number}" for number in range(6)])
        claimed = await world.claim(6)
        for one in claimed[:1]:
            assert isinstance(await world.admit(one, charge=charge), Permit)
        for one in claimed[1:]:
            await _turned_away(world, one, charge)
        await world.enqueue("code", priority=Priority.URGENT)
        code = await world.claim_one()
        urgent = replace(charge, is_urgent=True)
        assert await _turned_away(world, code, urgent) < timedelta(seconds=61)
        await world.later(minutes=1, seconds=1)
        again = {one.message_id: one for one in await world.claim(2)}
        assert isinstance(await world.admit(again["code"], charge=urgent), Permit)


async def test_bookings_that_nobody_takes_hold_up_no_one_for_long(store: Place) -> None:
    """After an instant was left unused for an interval, a message without a booking may go."""
    charge = Charge(pair=MINUTE)
    async with opened(store) as world:
        await queue(world, lane(), [f"m{number}" for number in range(20)])
        claimed = await world.claim(20)
        await world.admit(claimed[0], charge=charge)
        for one in claimed[1:]:
            await _turned_away(world, one, charge)
        for one in claimed[1:]:
            await world.cancel(one.message_id)
        await world.later(minutes=2, seconds=1)
        await world.enqueue("new")
        assert isinstance(await world.admit(await world.claim_one(), charge=charge), Permit)


@pytest.mark.parametrize("workers", [1, 3])
async def test_an_account_without_a_place_is_not_claimed(store: Place, workers: int) -> None:
    """A claim takes as many messages as the account may have POSTs open, and comes back when one
    has ended.
    """
    charge = Charge(posts=PostLimit(4, timedelta(minutes=5)))
    async with AsyncExitStack() as stack:
        team = await fleet(stack, store, workers, {SENDER: charge})
        team.posting = 3
        await limit(team.worlds[0], posts=4)
        ids = [f"m{number}" for number in range(40)]
        await queue(team.worlds[0], lane(), ids)
        await team.work(40, most_rounds=400)
        assert sorted(team.accepted) == sorted(ids)
        assert len(team.claimed) <= 40 + 10


async def test_a_place_that_is_given_up_wakes_a_claimer(store: Place) -> None:
    """The account is parked for a moment at most, and back at once when a POST ends."""
    charge = Charge(posts=PostLimit(1, timedelta(minutes=5)))
    async with opened(store) as world:
        await limit(world, posts=1)
        await queue(world, lane(), ["m1", "m2"])
        [one] = (await claim(world)).claimed
        await world.admit(one, charge=charge)
        batch = await claim(world)
        assert batch.claimed == ()
        assert batch.next_due_at is not None
        assert batch.next_due_at - batch.now <= timedelta(milliseconds=251)
        await world.redis.delete(world.keys.wake)
        await world.settle(one, accepted())
        assert await world.redis.exists(world.keys.wake)
        assert [each.message_id for each in (await claim(world)).claimed] == ["m2"]


async def test_a_refused_message_leaves_its_place(store: Place) -> None:
    """A message that was claimed for a place and is not posted holds up no other."""
    async with opened(store) as world:
        await limit(world, posts=1)
        await queue(world, lane(), ["m1", "m2"])
        [one] = (await claim(world)).claimed
        await world.settle(one, REFUSED, attempt=0, posted=False)
        assert [each.message_id for each in (await claim(world)).claimed] == ["m2"]


async def test_what_finds_no_place_keeps_its_own_in_the_lane(store: Place) -> None:
    """A message that was claimed when the last place was taken goes first when one is free."""
    charge = Charge(posts=PostLimit(1, timedelta(minutes=5)))
    async with opened(store) as world:
        await queue(world, lane(), ["m1", "m2", "m3"])
        first, second = await world.claim(2)
        await limit(world, posts=1)
        await world.admit(first, charge=charge)
        await _turned_away(world, second, charge)
        assert (await claim(world)).claimed == ()
        await world.settle(first, accepted())
        assert [each.message_id for each in (await claim(world)).claimed] == ["m2"]
