"""What a producer says of campaigns, and to their names."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from sendwindow.keys import Keys
from sendwindow.vocabulary import Priority, Stage
from tests.sendwindow.rig import Open, a_message

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest

pytestmark = pytest.mark.asyncio

SPRING = ("shop", "spring")


async def test_a_producer_gives_orders_about_a_campaign(open_here: Open) -> None:
    """Each order returns where the campaign stands after it."""
    async with open_here() as producer:
        new = await producer.campaign_status(*SPRING)
        assert (new.is_paused, new.cancelled_at, new.is_ending) == (False, None, False)
        await producer.send(a_message(message_id="m1", campaign="spring", priority="bulk"))
        paused = await producer.pause_campaign(*SPRING)
        assert (paused.changed, paused.is_paused, paused.paused_until) == (True, True, None)
        assert paused.queued == {Priority.URGENT: 0, Priority.NORMAL: 0, Priority.BULK: 1}
        timed = await producer.pause_campaign(*SPRING, timedelta(hours=1))
        assert timed.paused_until is not None
        resumed = await producer.resume_campaign(*SPRING)
        assert (resumed.changed, resumed.is_paused) == (True, False)
        cancelled = await producer.cancel_campaign(*SPRING)
        assert (cancelled.is_ending, cancelled.queued) == (True, None)
        status = await producer.status("m1")
        assert status is not None
        assert (status.stage, status.ended_at, status.is_end) == (Stage.CANCELLED, None, True)
        await producer.send(a_message(message_id="m2", campaign="spring"))
        status = await producer.status("m2")
        assert status is not None
        assert status.stage is Stage.QUEUED


async def test_status_asks_about_the_campaign_of_an_open_message_only(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """A message that has ended, or has no campaign, is not affected by a cancel."""
    keys = Keys(store.partition)
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1", campaign="spring"))
        await producer.send(a_message(message_id="m2"))
        await redis_client.hset(keys.row("m1"), "s", "accepted")  # type: ignore[misc]  # redis-py types both flavours at once
        await producer.cancel_campaign(*SPRING)
        for message_id, stage in (("m1", Stage.ACCEPTED), ("m2", Stage.QUEUED)):
            status = await producer.status(message_id)
            assert status is not None
            assert status.stage is stage


@pytest.mark.parametrize(
    ("sender", "campaign", "lasting", "said"),
    [
        ("shop|", "spring", None, "sender has a character"),
        ("shop", "", None, "campaign has a character"),
        ("shop", "spring", timedelta(), "lasts a millisecond at least"),
    ],
)
async def test_an_order_that_cannot_be_meant_is_refused(
    open_here: Open, sender: str, campaign: str, lasting: timedelta | None, said: str
) -> None:
    """A name that no message can have, and a pause without a length, are mistakes."""
    async with open_here() as producer:
        with pytest.raises(ValueError, match=said):
            await producer.pause_campaign(sender, campaign, lasting)
