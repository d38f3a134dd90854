"""The store's clock is set back: queued messages stay due, and waiting ones wait no longer than
planned.
"""

from datetime import timedelta

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.support.stores_world import WAITS, Place, World, opened
from worker.ports.settlements import SettleAgain, SettleUnknown

pytestmark = pytest.mark.asyncio

each_step = pytest.mark.parametrize("back", [timedelta(minutes=3), timedelta(hours=6)], ids=str)


async def step_back(world: World, back: timedelta) -> None:
    """Set the clock back from its present offset."""
    await world.later(seconds=-back.total_seconds())


@each_step
async def test_a_queued_message_stays_claimable(store: Place, back: timedelta) -> None:
    """A message queued before the step and not claimed since goes out at once."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.enqueue("m2")
        await step_back(world, back)
        await world.enqueue("m3")
        assert {one.message_id for one in await world.claim()} == {"m1", "m2", "m3"}


@each_step
async def test_a_retry_waits_no_longer_than_it_was_to(store: Place, back: timedelta) -> None:
    """A retry in ten seconds stays one in ten seconds, even if only a claim saw the earlier
    time.
    """
    async with opened(store) as world:
        again = SettleAgain(Stage.RETRYING, Reason.THROTTLED, delay_ms=10_000)
        await world.settle(await world.post("m1"), again)
        await world.claim()
        await step_back(world, back)
        assert await world.claim() == ()
        await world.later(seconds=12)
        assert [one.message_id for one in await world.claim()] == ["m1"]


@each_step
async def test_a_claim_tells_when_to_ask_next_by_the_clock_as_it_is(
    store: Place, back: timedelta
) -> None:
    """The next due time in a claim's reply is by the present clock, because the claimer sleeps
    until then.
    """
    async with opened(store) as world:
        again = SettleAgain(Stage.RETRYING, Reason.THROTTLED, delay_ms=10_000)
        await world.settle(await world.post("m1"), again)
        await world.claim()
        await step_back(world, back)
        batch = await world.store.ledger.claim(10)
        assert batch.next_due_at is not None
        assert timedelta(0) < batch.next_due_at - batch.now < timedelta(seconds=12)


@each_step
async def test_a_lease_runs_out_as_before(store: Place, back: timedelta) -> None:
    """A worker that crashed before the step holds its messages no longer than its lease."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.claim_one()
        await step_back(world, back)
        await world.claim()
        await world.store.ledger.reap(10)
        await world.later(seconds=60)
        assert [one.message_id for one in await world.store.ledger.reap(10)] == ["m1"]


@each_step
async def test_an_unknown_attempt_is_looked_for_as_before(store: Place, back: timedelta) -> None:
    """The search for an unknown attempt starts at its planned time."""
    async with opened(store) as world:
        unknown = SettleUnknown(Reason.OUTCOME_TIMEOUT, "no answer", 15_000)
        await world.settle(await world.post("m1"), unknown)
        await world.claim()
        await step_back(world, back)
        await world.claim()
        await world.later(seconds=20)
        assert len(await world.store.unknowns.due(10, 60_000)) == 1


@each_step
async def test_a_message_goes_not_before_its_time(store: Place, back: timedelta) -> None:
    """A deferred message is judged by the clock as it is now, however far the lane's order is ahead
    of it.
    """
    async with opened(store) as world:
        await world.enqueue("m1")
        assert len(await world.claim()) == 1
        await step_back(world, back)
        await world.claim()
        now = await world.store.now()
        await world.enqueue("m2", not_before=now + timedelta(minutes=2))
        assert await world.claim() == ()
        await world.later(seconds=121)
        assert [one.message_id for one in await world.claim()] == ["m2"]


@each_step
async def test_a_waiting_message_is_released_at_once(store: Place, back: timedelta) -> None:
    """A message that an inbound released is due, whatever the clock did before."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        await step_back(world, back)
        await world.claim()
        await world.writes()
        assert [one.message_id for one in await world.claim()] == ["m1"]
