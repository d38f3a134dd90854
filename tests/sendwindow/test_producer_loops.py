"""The asyncio producer in code that runs a loop for each call, or forks."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from sendwindow.errors import OtherLoop
from sendwindow.producer import Producer
from tests.sendwindow.rig import a_message

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest


def test_an_asynchronous_producer_says_that_it_belongs_to_another_loop(
    store: "StoreUnderTest",
) -> None:
    """Code that runs a loop for each call, as async_to_sync does, gets an error that says what
    to use.
    """
    producer = Producer(store.url, store.partition)

    async def send() -> str:
        return (await producer.send(a_message())).message_id

    async def count() -> int:
        async with Redis.from_url(store.url) as client:
            return int(await client.dbsize())

    with asyncio.Runner() as first:
        first.run(send())
        before = asyncio.run(count())
        for ask in (
            send,
            lambda: producer.send_many([a_message()]),
            lambda: producer.status("m1"),
            lambda: producer.cancel("m1"),
            producer.close,
        ):
            with asyncio.Runner() as second, pytest.raises(OtherLoop, match="SyncProducer"):
                second.run(ask())
        assert asyncio.run(count()) == before
        first.run(send())
        first.run(producer.close())


def test_an_asynchronous_producer_says_that_the_process_forked(
    store: "StoreUnderTest", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked child gets an error, because it would read replies to its parent's calls."""

    async def use() -> None:
        async with Producer(store.url, store.partition) as producer:
            await producer.send(a_message())
            with monkeypatch.context() as child:
                child.setattr("sendwindow.producer.os.getpid", lambda: -1)
                with pytest.raises(OtherLoop):
                    await producer.status("m1")

    asyncio.run(use())
