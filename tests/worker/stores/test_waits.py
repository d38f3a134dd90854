"""A waiting message is due at its time, or when the person writes."""

from dataclasses import replace

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.support.stores_world import (
    REFUSED,
    SENDER,
    WAITS,
    Place,
    opened,
)

pytestmark = pytest.mark.asyncio


async def test_a_waiting_message_is_released_by_the_person(store: Place) -> None:
    """A message that waits for an inbound is due when the person writes to this sender, or at
    its time.
    """
    async with opened(store) as world:
        for message_id in ("m1", "m2"):
            await world.enqueue(message_id)
        for claimed in await world.claim():
            settled = await world.settle(claimed, WAITS, attempt=0, posted=False)
            assert settled.stage is Stage.WAITING
        assert await world.claim() == ()
        assert (await world.writes("SM8", sender="other")).released == 0
        assert (await world.writes("SM9")).released == 2
        assert len(await world.claim()) == 2
        assert (await world.writes("SM10")).released == 0


async def test_a_wait_that_the_person_overtook_is_decided_again(store: Place) -> None:
    """A wait is due at once if the person wrote between the claim and the settlement.

    Nothing would release it later.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.writes()
        await world.settle(claimed, WAITS, attempt=0, posted=False)
        assert [one.message_id for one in await world.claim()] == ["m1"]


async def test_a_waiting_message_comes_due_by_itself(store: Place) -> None:
    """Without an inbound the wait ends at its time, and the wait list forgets the message."""
    async with opened(store) as world:
        await world.enqueue()
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        await world.later(hours=1, seconds=1)
        claimed = await world.claim_one()
        waiting = world.keys.waiting(claimed.facts.person_digest, SENDER)
        assert not await world.redis.exists(waiting)
        assert "w" not in await world.row()
        assert (await world.writes()).released == 0
        await world.settle(claimed, REFUSED, attempt=0, posted=False)


async def test_a_wait_that_no_inbound_overtook_is_a_wait(store: Place) -> None:
    """An inbound from before the claim releases nothing, because the decision saw it."""
    async with opened(store) as world:
        await world.writes()
        await world.enqueue()
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        assert await world.claim() == ()


async def test_a_wait_repeated_for_the_same_reason_is_noted_once(store: Place) -> None:
    """A wait repeated for the same reason is one line.

    Otherwise a message checked every minute for a day would fill the store.
    """
    async with opened(store) as world:
        await world.enqueue()
        for _ in range(5):
            await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
            await world.later(hours=1)
        assert (await world.events()).count("waiting") == 1
        await world.settle(
            await world.claim_one(),
            replace(WAITS, reason=Reason.NOT_BEFORE),
            attempt=0,
            posted=False,
        )
        assert (await world.events()).count("waiting") == 2


async def test_a_wait_that_is_decided_again_is_noted_again(store: Place) -> None:
    """A wait decided again after an inbound is another line, even for the same reason."""
    async with opened(store) as world:
        await world.enqueue()
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        await world.writes()
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        assert await world.events() == ["enqueued", "waiting", "released", "waiting"]
