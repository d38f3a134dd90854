"""If the connection is cut at any moment, enqueue and cancel lose and double nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from sendwindow.errors import IdConflict, QueueFull, StoreUnavailable
from sendwindow.keys import Keys
from sendwindow.producer import Producer
from sendwindow.results import CancelAnswer
from tests.sendwindow.rig import Cut, Open, a_message, proxied
from tests.support.cancel_steps import end_cancelled

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest

pytestmark = pytest.mark.asyncio

CUTS = [[Cut.REQUEST], [Cut.HALF], [Cut.REPLY], [Cut.REPLY, Cut.REQUEST, Cut.REPLY]]


async def test_a_cut_at_any_moment_leaves_one_message_and_its_first_receipt(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis, tmp_path: Path
) -> None:
    """A call is repeated until it is answered, and its own work is not reported to it as a
    duplicate.
    """
    keys = Keys(store.partition)
    async with (
        proxied(store.url, tmp_path) as (url, proxy),
        open_any(url, store.partition) as producer,
    ):
        await producer.send(a_message())  # the script is known from here on
        for number, cuts in enumerate(CUTS):
            message = a_message(message_id=f"m{number}")
            proxy.cuts = list(cuts)
            receipt = await producer.send(message)
            assert not receipt.duplicate
            assert proxy.cuts == []
            again = await producer.send(message)
            assert again.duplicate
            assert again.enqueued_at == receipt.enqueued_at
    assert await redis_client.zcard(keys.lane("shop|normal|")) == 1 + len(CUTS)
    assert await redis_client.hget(keys.counts, "enqueued") == b"%d" % (1 + len(CUTS))  # type: ignore[misc]  # redis-py's type of a coroutine


async def test_a_cut_while_the_script_is_unknown(
    open_any: Open, store: "StoreUnderTest", tmp_path: Path
) -> None:
    """A cut also does no harm while the server must be sent the script's text."""
    async with (
        proxied(store.url, tmp_path) as (url, proxy),
        open_any(url, store.partition) as producer,
    ):
        connection = Redis.from_url(store.url)
        await connection.script_flush()
        await connection.aclose()
        proxy.cuts = [Cut.REPLY, Cut.REPLY, Cut.HALF]
        assert not (await producer.send(a_message())).duplicate


async def test_a_real_duplicate_stays_one_after_a_cut(
    open_any: Open, store: "StoreUnderTest", tmp_path: Path
) -> None:
    """A message that another backend enqueued before stays a duplicate, however often our call
    repeats.
    """
    message = a_message(message_id="m1")
    async with Producer(store.url, store.partition) as other:
        first = await other.send(a_message(message_id="m1", metadata={"by": "another backend"}))
    async with (
        proxied(store.url, tmp_path) as (url, proxy),
        open_any(url, store.partition) as producer,
    ):
        proxy.cuts = [Cut.REPLY]
        again = await producer.send(message)
        assert proxy.calls >= 2
        proxy.cuts = [Cut.REPLY]
        with pytest.raises(IdConflict):
            await producer.send(a_message(message_id="m1", sender="other"))
    assert again.duplicate
    assert again.enqueued_at == first.enqueued_at


async def test_a_message_that_ended_before_the_repetition_is_a_duplicate(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis, tmp_path: Path
) -> None:
    """A repeated call finds a message that has ended and reports a duplicate.

    Its job is gone, so its origin is unknown, but it is not queued twice.
    """
    async with (
        proxied(store.url, tmp_path) as (url, proxy),
        open_any(url, store.partition) as producer,
    ):
        await producer.send(a_message())
        async with Producer(store.url, store.partition) as other:

            async def end() -> None:
                await other.cancel("m1")
                await end_cancelled(redis_client, Keys(store.partition))

            proxy.cuts = [Cut.REPLY]
            proxy.before_cut = end
            receipt = await producer.send(a_message(message_id="m1"))
            status = await other.status("m1")
    assert receipt.duplicate
    assert status is not None
    assert status.is_end


async def test_a_cut_batch_is_repeated_whole(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis, tmp_path: Path
) -> None:
    """A cut batch is repeated whole, and only messages from before it are duplicates."""
    messages = [a_message(message_id=f"m{number}") for number in range(20)]
    async with Producer(store.url, store.partition) as other:
        await other.send(a_message(message_id="m3", metadata={"by": "another backend"}))
    async with (
        proxied(store.url, tmp_path) as (url, proxy),
        open_any(url, store.partition) as producer,
    ):
        proxy.cuts = [Cut.REPLY, Cut.HALF, Cut.REPLY]
        summary = await producer.send_many(messages, batch=10)
    assert [receipt.message_id for receipt in summary.receipts if receipt.duplicate] == ["m3"]
    assert summary.done == 20
    assert await redis_client.zcard(Keys(store.partition).lane("shop|normal|")) == 20


@pytest.mark.parametrize("cut", Cut)
async def test_cancel_survives_a_cut(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis, tmp_path: Path, cut: Cut
) -> None:
    """A repeated cancel returns the reply that was lost, and asks the workers once."""
    async with (
        proxied(store.url, tmp_path) as (url, proxy),
        open_any(url, store.partition) as producer,
    ):
        await producer.send(a_message(message_id="m1"))
        await producer.cancel("m2")
        proxy.cuts = [cut]
        assert await producer.cancel("m1") is CancelAnswer.CANCELLED
        assert proxy.cuts == []
    asked = Keys(store.partition).cancel_asked
    assert await redis_client.lrange(asked, 0, -1) == [b"m1"]  # type: ignore[misc]  # redis-py types both flavours at once


async def test_the_same_object_can_be_sent_again_after_giving_up(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis, tmp_path: Path
) -> None:
    """Sending an object again after its call gave up is one message, because the object keeps
    its id.
    """
    message = a_message()
    async with proxied(store.url, tmp_path) as (url, proxy):
        proxy.cuts = [Cut.REPLY] * 1000
        async with open_any(url, store.partition, timeout=0.2) as producer:
            with pytest.raises(StoreUnavailable, match="send the same object again") as caught:
                await producer.send(message)
            with pytest.raises(StoreUnavailable) as many:
                await producer.send_many([message, {}])
        proxy.cuts = []
        async with open_any(url, store.partition) as producer:
            assert (await producer.send(message)).message_id == message.message_id
    assert caught.value.unproven == many.value.unproven == (message,)
    assert many.value.summary is not None
    assert many.value.summary.done == 0
    assert message.to not in str(caught.value)
    assert await redis_client.zcard(Keys(store.partition).lane("shop|normal|")) == 1


async def test_a_store_that_fills_up_after_a_lost_reply_denies_nothing(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis, tmp_path: Path
) -> None:
    """If the store fills up after a lost reply the error calls the message unproven.

    The first try may have queued it, and sending it again is one message.
    """
    messages = [a_message(message_id=f"m{number}") for number in range(2)]

    async def fill() -> None:
        await redis_client.config_set("maxmemory", "1")

    async with (
        proxied(store.url, tmp_path) as (url, proxy),
        open_any(url, store.partition) as producer,
    ):
        await producer.send(a_message(message_id="m9"))
        proxy.before_cut = fill
        try:
            proxy.cuts = [Cut.REPLY]
            with pytest.raises(StoreUnavailable, match="send the same object again") as single:
                await producer.send(messages[0])
            with pytest.raises(QueueFull) as at_once:
                await producer.send(a_message())
            await redis_client.config_set("maxmemory", "0")
            proxy.cuts = [Cut.REPLY]
            with pytest.raises(StoreUnavailable) as many:
                await producer.send_many(messages)
        finally:
            await redis_client.config_set("maxmemory", "0")
        assert [(await producer.send(message)).duplicate for message in messages] == [True, True]
    assert single.value.unproven == (messages[0],)
    assert at_once.value.unproven == ()
    assert many.value.unproven == tuple(messages)
    assert many.value.summary is not None
    assert many.value.summary.done == 0
