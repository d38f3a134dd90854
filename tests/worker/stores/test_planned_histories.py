"""Random histories of a sender with a limit, from claims to ends."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.rate_limits import Pace, pace
from sendwindow.vocabulary import Priority, Stage
from tests.depth import examples
from tests.support.limited_claims import OTHER, claim, limit
from tests.support.rate_model import Sent, most_in_a_second
from tests.support.ring_steps import faults, lane, queue, read_rings
from tests.support.stores_world import ACCOUNT, REFUSED, SENDER, Place, World, accepted, opened
from worker.ports.admissions import Charge, Later
from worker.ports.claims import ClaimedMessage
from worker.ports.settlements import SettleAgain


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
