"""Claims of senders and accounts with a rate limit: how many messages they take, and when."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.rate_limits import Pace, pace
from sendwindow.vocabulary import Priority, Reason, Stage
from tests.depth import examples
from tests.support.rate_model import Sent, most_in_a_second
from tests.support.ring_steps import faults, lane, queue, read_rings
from tests.support.stores_world import (
    ACCOUNT,
    PAST,
    REFUSED,
    SENDER,
    Place,
    World,
    accepted,
    ask,
    opened,
)
from worker.ports.admissions import Charge, Later, Permit
from worker.ports.claims import ClaimBatch, ClaimedMessage, Suspects
from worker.ports.settlements import SettleAgain

pytestmark = pytest.mark.asyncio

MINUTE = Pace(60_000_000, 0)
"""One message a minute: no test runs so long that a second one may go out."""

FREE = pace(10_000)
OTHER = "other"


async def limit(
    world: World, sender: Pace | None = None, account: Pace | None = None, other: Pace | None = None
) -> None:
    """Register the limits of both senders and of their account."""
    paces: Mapping[str, Pace | None] = {SENDER: sender, OTHER: other}
    await world.store.register_senders(
        {SENDER: ACCOUNT, OTHER: ACCOUNT},
        paces={name: one for name, one in paces.items() if one is not None},
        account_paces={ACCOUNT: account},
    )


async def claim(world: World, most: int = 64) -> ClaimBatch:
    return await world.store.ledger.claim(most, Suspects.NEVER)


@dataclass(slots=True)
class Fleet:
    """Some workers that claim, and then admit and settle what they claimed."""

    worlds: list[World]
    charges: Mapping[str, Charge]
    claimed: list[str] = field(default_factory=list)
    turned_away: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    posts: list[datetime] = field(default_factory=list)
    calls: int = 0

    async def work(self, messages: int, *, most_rounds: int) -> None:
        """Work until that many messages were accepted. Time jumps to what falls due next."""
        for _ in range(most_rounds):
            batches = [await claim(world) for world in self.worlds]
            self.calls += len(batches)
            for world, batch in zip(self.worlds, batches, strict=True):
                for one in batch.claimed:
                    await self._process(world, one)
            if len(self.accepted) >= messages:
                return
            last = batches[-1]
            if last.next_due_at is not None and last.next_due_at > last.now:
                waits = last.next_due_at - last.now
                await self.worlds[0].later(seconds=waits.total_seconds())
        raise AssertionError(f"{len(self.accepted)} of {messages} were accepted")

    async def _process(self, world: World, one: ClaimedMessage) -> None:
        self.claimed.append(one.message_id)
        sender = OTHER if one.message_id.startswith(OTHER) else SENDER
        request = ask(one, sender=sender, charge=self.charges[sender])
        [answer] = await world.store.ledger.admit([request])
        if isinstance(answer, Permit):
            self.accepted.append(one.message_id)
            result = accepted(f"SM{len(self.accepted)}")
            await world.settle(one, result, sender=sender)
            return
        assert isinstance(answer, Later)
        self.turned_away.append(one.message_id)
        again = SettleAgain(Stage.WAITING, answer.reason, due_at=answer.until)
        await world.settle(one, again, sender=sender, attempt=0, posted=False)


async def fleet(
    stack: AsyncExitStack, store: Place, workers: int, charges: Mapping[str, Charge]
) -> Fleet:
    worlds = [
        await stack.enter_async_context(opened(store, worker_id=f"w{number}"))
        for number in range(workers)
    ]
    return Fleet(worlds, charges)


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


@dataclass(frozen=True, slots=True)
class Step:
    """What happens next: time passes, messages are queued, claimed, or one that is held ends."""

    kind: str
    number: int = 0


STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.just("wait"), st.integers(1, 400)),
        st.builds(Step, st.just("queue"), st.integers(1, 5)),
        st.builds(Step, st.just("claim"), st.integers(1, 12)),
        st.builds(Step, st.sampled_from(["post", "refuse", "release", "lapse"])),
    ),
    min_size=5,
    max_size=30,
)


@dataclass(slots=True)
class History:
    """A random history of one sender with a limit."""

    world: World
    pace: Pace
    queued: int = 0
    held: list[ClaimedMessage] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    async def take(self, step: Step) -> None:
        match step.kind:
            case "wait":
                await self.world.later(milliseconds=step.number)
            case "queue":
                ids = [f"m{self.queued + at}" for at in range(step.number)]
                self.queued += step.number
                priority = list(Priority)[step.number % 3]
                await queue(self.world, lane(priority=priority), ids)
            case "claim":
                self.held += (await claim(self.world, step.number)).claimed
            case ending if self.held:
                await self._end(self.held.pop(0), ending)

    async def _end(self, one: ClaimedMessage, ending: str) -> None:
        if ending == "release":
            await self.world.store.ledger.release([(one.message_id, one.fence)])
            return
        if ending == "refuse":
            await self.world.settle(one, REFUSED, attempt=0, posted=False)
            return
        answer = await self.world.admit(one, charge=Charge(sender=self.pace))
        if isinstance(answer, Later):
            again = SettleAgain(Stage.WAITING, answer.reason, due_at=answer.until)
            await self.world.settle(one, again, attempt=0, posted=False)
        elif ending == "lapse":
            await self.world.settle(one, REFUSED, posted=False)
        else:
            arrival = await self.world.redis.get(self.world.keys.sender_rate(SENDER))
            self.sent.append(Sent(int(arrival.split()[0]) - self.pace.interval_us))
            await self.world.settle(one, accepted(f"SM{len(self.sent)}"))

    async def finish(self) -> None:
        """Claim and post until nothing is left."""
        for _ in range(20 + 4 * self.queued):
            while self.held:
                await self._end(self.held.pop(0), "post")
            batch = await claim(self.world)
            self.held += batch.claimed
            waits = batch.next_due_at - batch.now if batch.next_due_at else timedelta.max
            # Only the list of expiries is left.
            if not batch.claimed and waits > timedelta(minutes=1):
                return
            await self.world.later(milliseconds=200)
        raise AssertionError("messages are left")


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, per_second=st.sampled_from([5, 20, 80]))
@pytest.mark.asyncio
async def test_whatever_happens_the_limit_holds_and_every_message_goes(
    store: Place, steps: list[Step], per_second: int
) -> None:
    """In any order of claims and ends, no sliding second exceeds the limit, the rings stay whole,
    and all that is queued is claimed in the end.
    """
    async with opened(store) as world:
        await world.redis.flushdb()
    async with opened(store) as world:
        await limit(world, pace(per_second))
        history = History(world, pace(per_second))
        for step in steps:
            await history.take(step)
        assert faults(await read_rings(world), {SENDER: ACCOUNT, OTHER: ACCOUNT}) == []
        await history.finish()
        assert await world.redis.zcard(world.keys.leases) == 0
        assert most_in_a_second(sorted(history.sent, key=lambda one: one.at)) <= per_second
