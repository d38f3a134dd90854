"""Claims of senders and accounts with a rate limit: how many messages they take, and when."""

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from policies.rate_limits import Pace, pace
from sendwindow.vocabulary import Reason, Stage
from tests.support.limited_claims import MINUTE, OTHER, claim, fleet, limit
from tests.support.ring_steps import lane, queue
from tests.support.stores_world import ACCOUNT, PAST, REFUSED, SENDER, Place, opened
from worker.ports.admissions import Charge, Later, Permit
from worker.ports.settlements import SettleAgain

pytestmark = pytest.mark.asyncio

FREE = pace(10_000)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("per_second", [5, 20, 80])
async def test_nothing_is_claimed_to_be_put_back(
    store: Place, per_second: int, workers: int
) -> None:
    """Each message of a limited sender is claimed once, however many workers claim."""
    one = pace(per_second)
    async with AsyncExitStack() as stack:
        team = await fleet(stack, store, workers, {SENDER: Charge(sender=one)})
        await limit(team.worlds[0], one)
        await queue(team.worlds[0], lane(), [f"m{number}" for number in range(60)])
        await team.work(60, most_rounds=200)
        assert team.turned_away == []
        assert team.claimed == team.accepted == [f"m{number}" for number in range(60)]


async def test_an_account_with_a_limit_is_claimed_at_its_rate(store: Place) -> None:
    """The senders of a limited account share what may be claimed."""
    one = pace(10)
    charge = Charge(account=one)
    async with AsyncExitStack() as stack:
        team = await fleet(stack, store, 2, {SENDER: charge, OTHER: charge})
        await limit(team.worlds[0], account=one)
        for sender in (SENDER, OTHER):
            await queue(team.worlds[0], lane(sender), [f"{sender}-{at}" for at in range(20)])
        await team.work(40, most_rounds=100)
        assert team.turned_away == []
        assert len(team.claimed) == 40
        half = [each.partition("-")[0] for each in team.claimed[:20]]
        assert half.count(SENDER) == half.count(OTHER) == 10


async def test_a_neighbour_is_claimed_meanwhile(store: Place) -> None:
    """A sender without a limit gives its messages at once while the other waits."""
    async with opened(store) as world:
        await limit(world, MINUTE)
        await queue(world, lane(), [f"m{number}" for number in range(20)])
        await queue(world, lane(OTHER), [f"o{number}" for number in range(30)])
        taken = [one.message_id for one in (await claim(world)).claimed]
        assert sorted(taken) == sorted(["m0", *(f"o{number}" for number in range(30))])


async def test_the_claimer_learns_when_a_limited_sender_may_send_again(store: Place) -> None:
    """The claim after the last one that fits names the instant at which the next one fits."""
    async with opened(store) as world:
        await limit(world, MINUTE)
        await queue(world, lane(), ["m1", "m2"])
        first = await claim(world)
        assert [one.message_id for one in first.claimed] == ["m1"]
        assert first.next_due_at is not None
        assert timedelta(seconds=55) < first.next_due_at - first.now <= timedelta(seconds=61)
        assert (await claim(world)).claimed == ()
        await world.later(seconds=61)
        assert [one.message_id for one in (await claim(world)).claimed] == ["m2"]


async def test_half_a_burst_is_claimed_at_a_time(store: Place) -> None:
    """A high rate does not cost a claim for each message."""
    one = pace(400)
    async with AsyncExitStack() as stack:
        team = await fleet(stack, store, 1, {SENDER: Charge(sender=one)})
        await limit(team.worlds[0], one)
        await queue(team.worlds[0], lane(), [f"m{number}" for number in range(200)])
        await team.work(200, most_rounds=60)
        assert team.turned_away == []
        assert team.calls <= 40


async def test_what_is_refused_uses_up_nothing(store: Place) -> None:
    """Messages that are refused leave their share of the limit to others."""
    async with opened(store) as world:
        await limit(world, MINUTE, MINUTE)
        await queue(world, lane(), [f"m{number}" for number in range(20)])
        for number in range(20):
            [one] = (await claim(world)).claimed
            assert one.message_id == f"m{number}"
            await world.settle(one, REFUSED, attempt=0, posted=False)
        assert (await claim(world)).claimed == ()


async def test_what_is_released_uses_up_nothing(store: Place) -> None:
    """A worker that stops gives its claims back, and another takes them at once."""
    async with opened(store) as world:
        await limit(world, MINUTE, MINUTE)
        await queue(world, lane(), ["m1", "m2"])
        [one] = (await claim(world)).claimed
        await world.store.ledger.release([(one.message_id, one.fence)])
        assert [each.message_id for each in (await claim(world)).claimed] == ["m1"]


async def test_what_a_dead_worker_had_claimed_holds_up_others_for_its_time_only(
    store: Place,
) -> None:
    """A claim that came to nothing takes an interval from the limit, and no more."""
    async with opened(store) as world:
        await limit(world, MINUTE)
        await queue(world, lane(), ["m1", "m2"])
        assert len((await claim(world)).claimed) == 1
        await world.later(seconds=61)
        assert [one.message_id for one in (await claim(world)).claimed] == ["m2"]


async def test_a_message_that_expired_needs_no_room(store: Place) -> None:
    """Expired messages end while the limit has no room, and use up nothing."""
    async with opened(store) as world:
        await limit(world, MINUTE)
        await queue(world, lane(), ["m1", "m2"])
        await queue(world, lane(), ["late"], expires_at=PAST)
        taken = [one.message_id for one in (await claim(world)).claimed]
        taken += [one.message_id for one in (await claim(world)).claimed]
        assert sorted(taken) == ["late", "m1"]


async def test_a_pause_outlasts_the_limit(store: Place) -> None:
    """A sender that is paused while its limit has no room stays parked until the pause ends, and
    then waits for its limit.
    """
    async with opened(store) as world:
        await limit(world, MINUTE)
        await queue(world, lane(), ["m1", "m2", "m3"])
        assert len((await claim(world)).claimed) == 1
        await world.store.switches.pause("sender", SENDER, timedelta(hours=1), "63007")
        await world.later(minutes=2)
        assert (await claim(world)).claimed == ()
        assert await world.store.switches.resume("sender", SENDER)
        assert [one.message_id for one in (await claim(world)).claimed] == ["m2"]
        await world.store.switches.pause("sender", SENDER, timedelta(hours=1), "63007")
        assert await world.store.switches.resume("sender", SENDER)
        assert (await claim(world)).claimed == ()


async def test_a_limit_that_is_taken_away_holds_nothing_up(store: Place) -> None:
    """A worker that starts with other settings registers them."""
    async with opened(store) as world:
        await limit(world, MINUTE, MINUTE)
        await queue(world, lane(), ["m1", "m2", "m3"])
        assert len((await claim(world)).claimed) == 1
        await limit(world)
        await world.later(minutes=1)
        assert len((await claim(world)).claimed) == 2


async def test_a_worker_that_registers_again_changes_no_limit(store: Place) -> None:
    """The names that every worker registers again and again restore only what is missing."""
    async with opened(store) as world:
        await limit(world, MINUTE)
        names = {SENDER: ACCOUNT}
        await world.store.register_senders(names, paces={SENDER: FREE}, overwrite=False)
        await world.store.register_senders(names, overwrite=False)
        await queue(world, lane(), ["m1", "m2"])
        assert len((await claim(world)).claimed) == 1
        await world.redis.delete(world.keys.sender(SENDER))
        await world.store.register_senders(names, paces={SENDER: FREE}, overwrite=False)
        redis: Any = world.redis
        stored = await redis.hget(world.keys.sender(SENDER), "pc")
        assert stored == f"{FREE.interval_us} {FREE.tolerance_us}".encode()


async def test_what_admission_turns_away_keeps_its_place(store: Place) -> None:
    """A long text may use up more than was planned. The message behind it goes first when the limit
    has room, in the order in which it came.
    """
    async with opened(store) as world:
        one = Pace(60_000_000, 60_000_000)
        charge = Charge(units=3, sender=one)
        await limit(world, one)
        await queue(world, lane(), ["m1", "m2", "m3"])
        first, second = (await claim(world)).claimed
        assert isinstance(await world.admit(first, charge=charge), Permit)
        answer = await world.admit(second, charge=charge)
        assert isinstance(answer, Later)
        again = SettleAgain(Stage.WAITING, Reason.SENDER_RATE, due_at=answer.until)
        await world.settle(second, again, attempt=0, posted=False)
        assert (await claim(world)).claimed == ()
        await world.later(minutes=3)
        assert [each.message_id for each in (await claim(world)).claimed] == ["m2", "m3"]


async def test_a_limit_that_only_some_workers_know_makes_no_claim_go_round(store: Place) -> None:
    """A message comes back when the limit of the worker that admits it has room, if claims know of
    no such limit.
    """
    async with opened(store) as world:
        charge = Charge(sender=MINUTE)
        await queue(world, lane(), ["m1", "m2"])
        first, second = (await claim(world)).claimed
        assert isinstance(await world.admit(first, charge=charge), Permit)
        answer = await world.admit(second, charge=charge)
        assert isinstance(answer, Later)
        again = SettleAgain(Stage.WAITING, Reason.SENDER_RATE, due_at=answer.until)
        await world.settle(second, again, attempt=0, posted=False)
        batch = await claim(world)
        assert batch.claimed == ()
        assert batch.next_due_at is not None
        assert batch.next_due_at - batch.now > timedelta(seconds=50)


async def test_a_permit_that_lapses_gives_back_what_its_message_planned_once(store: Place) -> None:
    """What else was claimed stays planned, so the next claim takes nothing to be turned away."""
    five = Pace(60_000_000, 240_000_000)
    charge = Charge(sender=five)
    async with opened(store) as world:
        await limit(world, five)
        await queue(world, lane(), [f"m{number}" for number in range(9)])
        first, *held = (await claim(world, 4)).claimed
        assert isinstance(await world.admit(first, charge=charge), Permit)
        lapsed = SettleAgain(Stage.QUEUED, Reason.PERMIT_LAPSED, delay_ms=60_000)
        await world.settle(first, lapsed, posted=False)
        held += (await claim(world)).claimed
        assert len(held) == 5
        for one in held:
            assert isinstance(await world.admit(one, charge=charge), Permit)


async def _cost(store: Place, messages: int, one: Pace | None) -> dict[str, int]:
    """Return how often a claim of that many messages runs each command."""
    async with opened(store) as world:
        await limit(world, one, one)
        assert (await claim(world)).claimed == ()
        await queue(world, lane(), [f"m{number}" for number in range(messages)])
        await world.redis.config_resetstat()
        assert len((await claim(world, messages)).claimed) == messages
        stats = await world.redis.info("commandstats")
        await world.redis.flushdb()
    return {name: int(each["calls"]) for name, each in stats.items() if "config" not in name}


async def test_limits_that_do_not_bind_cost_a_claim_two_reads_and_two_writes(store: Place) -> None:
    """One for the sender and one for the account, however many messages are claimed."""
    for messages in (1, 8, 32):
        free, limited = [await _cost(store, messages, one) for one in (None, FREE)]
        more = {
            name.removeprefix("cmdstat_"): calls - free.get(name, 0)
            for name, calls in limited.items()
            if calls != free.get(name, 0)
        }
        assert more == {"get": 2, "set": 2}
