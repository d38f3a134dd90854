"""How many messages a producer may queue for one sender and for one campaign."""

from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from sendwindow.errors import IdConflict, QueueFull, QueueScope
from sendwindow.keys import Keys
from tests.sendwindow.rig import Open, a_message

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest

pytestmark = pytest.mark.asyncio


async def limit(redis: Redis, keys: Keys, *, queued: int = 0, in_campaign: int = 0) -> None:
    """Write the limits of the sender as a worker publishes them."""
    values = {"mq": str(queued), "mc": str(in_campaign)}
    await redis.hset(keys.sender("shop"), mapping=values)  # type: ignore[misc]  # redis-py types both flavours at once


async def test_a_full_sender_takes_no_new_message(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """A message beyond the limit of its sender is refused, and one that is known is answered."""
    await limit(redis_client, Keys(store.partition), queued=2)
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        await producer.send(a_message(message_id="m2", campaign="spring", priority="bulk"))
        with pytest.raises(QueueFull, match=r"the sender shop .* send it again later") as full:
            await producer.send(a_message(message_id="m3"))
        assert full.value.scope is QueueScope.SENDER
        assert (await producer.send(a_message(message_id="m2"))).duplicate
        assert not (await producer.send(a_message(sender="other"))).duplicate
        assert await producer.status("m3") is None


async def test_a_full_campaign_takes_no_new_message_of_any_priority(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """The limit of a campaign counts its messages of all priorities, and holds up no other."""
    await limit(redis_client, Keys(store.partition), in_campaign=2)
    async with open_here() as producer:
        await producer.send(a_message(campaign="spring", priority="bulk"))
        await producer.send(a_message(campaign="spring", priority="urgent"))
        with pytest.raises(QueueFull, match="the campaign spring of the sender shop") as full:
            await producer.send(a_message(campaign="spring"))
        assert full.value.scope is QueueScope.CAMPAIGN
        for _ in range(3):
            await producer.send(a_message())
            await producer.send(a_message(campaign="summer", sender="other"))


async def test_a_batch_says_of_each_message_whether_its_queue_was_full(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """`send_many` lists the messages that did not fit, and queues the others."""
    await limit(redis_client, Keys(store.partition), queued=3, in_campaign=1)
    async with open_here() as producer:
        await producer.send(a_message(message_id="m0", campaign="spring"))
        summary = await producer.send_many(
            [
                a_message(message_id="m1", campaign="spring"),
                a_message(message_id="m2"),
                a_message(message_id="m0", freeform={"body": "other"}),
                a_message(message_id="m3"),
                a_message(message_id="m4"),
                a_message(message_id="m5", sender="other"),
            ],
            batch=5,
        )
    assert [receipt.message_id for receipt in summary.receipts] == ["m2", "m3", "m5"]
    scopes = [
        (one.position, one.message_id, getattr(one.error, "scope", None))
        for one in summary.rejected
    ]
    assert scopes == [
        (0, "m1", QueueScope.CAMPAIGN),
        (2, "m0", None),
        (4, "m4", QueueScope.SENDER),
    ]
    assert isinstance(summary.rejected[1].error, IdConflict)


async def test_a_limit_of_zero_or_none_is_no_limit(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """A sender without a limit, or with 0, takes any number of messages."""
    async with open_here() as producer:
        await producer.send(a_message(campaign="spring"))
        await limit(redis_client, Keys(store.partition))
        summary = await producer.send_many([a_message(campaign="spring") for _ in range(3)])
    assert len(summary.receipts) == 3
