"""A newer message with the same `supersedes` takes the place of an older one in the queue."""

from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from sendwindow.codec import decode_job
from sendwindow.keys import Keys
from sendwindow.vocabulary import Stage
from tests.sendwindow.rig import Face, Open, a_message

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest

pytestmark = pytest.mark.asyncio


def parcel(message_id: str, **fields: Any) -> Any:
    return a_message(message_id=message_id, supersedes="parcel-1", **fields)


async def seen(producer: Face, message_id: str) -> tuple[str, str | None]:
    status = await producer.status(message_id)
    assert status is not None
    return status.stage.value, status.reason


async def test_a_newer_message_takes_the_place_of_a_queued_one(open_here: Open) -> None:
    """The older one reads as cancelled at once, with the reason `superseded`."""
    async with open_here() as producer:
        await producer.send(parcel("m1", freeform={"body": "in transit"}))
        await producer.send(parcel("m2", freeform={"body": "at the door"}))
        assert await seen(producer, "m1") == ("cancelled", "superseded")
        assert await seen(producer, "m2") == ("queued", None)
        await producer.send_many([parcel("m3"), parcel("m4")])
        assert [await seen(producer, f"m{number}") for number in (2, 3)] == [
            ("cancelled", "superseded")
        ] * 2
        assert await seen(producer, "m4") == ("queued", None)


@pytest.mark.parametrize(
    "other",
    [{"sender": "other"}, {"to": "whatsapp:+14155550101"}, {"supersedes": "parcel-2"}, {}],
)
async def test_only_the_same_sender_person_and_key_meet(
    open_here: Open, other: dict[str, str]
) -> None:
    """A message of another sender, to another address, or with another key or none, is left."""
    async with open_here() as producer:
        await producer.send(parcel("m1"))
        fields = {"supersedes": "parcel-1"} | other if other else {}
        await producer.send(a_message(message_id="m2", **fields))
        assert await seen(producer, "m1") == ("queued", None)


@pytest.mark.parametrize("stage", ["claimed", "posting", "unknown", "accepted", "refused"])
async def test_a_message_that_is_not_queued_is_left_alone(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis, stage: str
) -> None:
    """A message that a worker holds, or that has ended, keeps its stage."""
    row = Keys(store.partition).row("m1")
    async with open_here() as producer:
        await producer.send(parcel("m1"))
        await redis_client.hset(row, "s", stage)  # type: ignore[misc]  # redis-py types both flavours at once
        await producer.send(parcel("m2"))
        assert await seen(producer, "m1") == (stage, None)
        assert await redis_client.hget(row, "x") is None  # type: ignore[misc]  # as above


async def test_a_repeated_message_takes_no_place_again(open_here: Open) -> None:
    """A message that is sent again after a newer one stays superseded, and leaves that alone."""
    async with open_here() as producer:
        await producer.send(parcel("m1"))
        await producer.send(parcel("m2"))
        assert (await producer.send(parcel("m1"))).duplicate
        assert await seen(producer, "m1") == ("cancelled", "superseded")
        assert await seen(producer, "m2") == ("queued", None)


async def test_the_store_keeps_no_address_in_a_key_and_no_new_field_in_a_job(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """The key that points to the newest message is a salted digest that expires with the message,
    and a worker of an earlier release can read the job.
    """
    keys = Keys(store.partition)
    async with open_here() as producer:
        await producer.send(parcel("m1"))
        await producer.send(parcel("m2"))
    [pointer] = await redis_client.keys(keys.newest("*"))
    assert await redis_client.get(pointer) == b"m2"
    assert 0 < await redis_client.pttl(pointer) <= 24 * 3600 * 1000
    assert b"4155550100" not in pointer
    job = await redis_client.get(keys.job("m2"))
    assert job is not None
    assert b"supersedes" not in job
    assert decode_job(job).supersedes is None


async def test_a_lost_reply_supersedes_once(open_here: Open) -> None:
    """A repeated call does not cancel the message that it queued itself."""
    async with open_here() as producer:
        await producer.send(parcel("m1"))
        again = parcel("m2")
        await producer.send(again)
        assert (await producer.send(again)).duplicate
        assert await seen(producer, "m2") == ("queued", None)
        assert (await seen(producer, "m1"))[0] == Stage.CANCELLED
