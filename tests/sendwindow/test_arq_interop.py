"""Plain arq with our producer: we read what arq writes, and arq's tools read what we write."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus

from sendwindow.codec import arq_deserializer, arq_serializer, decode_job
from sendwindow.errors import UnreadableJob
from sendwindow.keys import Keys
from sendwindow.producer import Producer
from tests.sendwindow.rig import a_message
from tests.support.cancel_steps import end_cancelled

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest

pytestmark = pytest.mark.asyncio

FIELDS: dict[str, Any] = {
    "to": "+14155550100",
    "sender": "shop",
    "purpose": "reply",
    "freeform": {"body": "Grüße"},
}


@pytest_asyncio.fixture
async def arq(store: "StoreUnderTest") -> AsyncIterator[ArqRedis]:
    """Yield a backend's own arq pool, set up as documented."""
    pool: ArqRedis = ArqRedis.from_url(store.url)
    pool.job_serializer, pool.job_deserializer = arq_serializer, arq_deserializer
    pool.default_queue_name = Keys(store.partition).ingress
    yield pool
    await pool.aclose()


async def stored(arq: ArqRedis, job: Job | None) -> bytes:
    assert job is not None
    payload: bytes = await arq.get(f"arq:job:{job.job_id}")
    return payload


async def test_what_arq_enqueues_is_read(arq: ArqRedis) -> None:
    """A job of arq is read as one dictionary, as keyword arguments, and as a message object."""
    message = a_message(message_id="m1")
    one = await arq.enqueue_job("send_message", FIELDS)
    two = await arq.enqueue_job("send_message", **FIELDS)
    three = await arq.enqueue_job("send_message", message)
    expected = a_message(**FIELDS, message_id="m1")
    assert decode_job(await stored(arq, one), "m1") == expected
    assert decode_job(await stored(arq, two), "m1") == expected
    assert decode_job(await stored(arq, three)) == message


async def test_a_pickled_job_is_never_opened(arq: ArqRedis) -> None:
    """A job of arq's default serializer, a pickle, is never opened."""
    arq.job_serializer = None
    job = await arq.enqueue_job("send_message", FIELDS)
    with pytest.raises(UnreadableJob, match="pickled"):
        decode_job(await stored(arq, job))


async def test_arq_shows_our_jobs(arq: ArqRedis, store: "StoreUnderTest") -> None:
    """`arq.jobs.Job(...).info()` works until the message ends."""
    keys = Keys(store.partition)
    async with Producer(store.url, store.partition) as producer:
        receipt = await producer.send(a_message(message_id="m1"))
        job = Job(keys.job_id("m1"), arq, _queue_name=keys.ingress, _deserializer=arq_deserializer)
        info = await job.info()
        await producer.cancel("m1")
        await end_cancelled(arq, keys)
        assert await job.info() is None
        assert await job.status() is JobStatus.not_found
    assert info is not None
    assert (info.function, info.kwargs) == ("send_message", {})
    assert info.args[0]["message_id"] == "m1"
    assert abs(info.enqueue_time - receipt.enqueued_at).total_seconds() < 60
    assert info.enqueue_time <= datetime.now(UTC)
