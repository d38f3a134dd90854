"""Plain arq producers: their jobs are adopted once, whatever their form, and none is dropped
silently.
"""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from sendwindow.codec import arq_deserializer, arq_serializer, decode_job
from sendwindow.keys import ARQ_ABORT, ARQ_JOB
from sendwindow.producer import Producer
from sendwindow.protocol import ENQUEUE, row_arguments
from tests.support.cast import ANNA
from tests.support.stores_world import DEAD, PERSON_KEY, REFUSED, SENDER, Place, World, opened
from worker.ports.arq_ingress import Adopted, Unreadable
from worker.stores.person_digests import PersonDigests

pytestmark = pytest.mark.asyncio

MESSAGE: dict[str, Any] = {
    "to": ANNA,
    "sender": SENDER,
    "purpose": "utility",
    "freeform": {"body": "hello"},
}


@asynccontextmanager
async def _arq(world: World, url: str) -> AsyncIterator[ArqRedis]:
    arq = ArqRedis(
        ConnectionPool.from_url(url),
        job_serializer=arq_serializer,
        job_deserializer=arq_deserializer,
        default_queue_name=world.keys.ingress,
    )
    try:
        yield arq
    finally:
        await arq.aclose(close_connection_pool=True)


async def test_a_plain_arq_job_is_taken_over(store: Place) -> None:
    """An adopted job keeps its bytes without an end, its id is the job id without the tag, and
    arq's entry is gone.
    """
    async with opened(store) as world, _arq(world, store.url) as arq:
        job = await arq.enqueue_job("send_message", MESSAGE, _job_id=world.keys.job_id("m1"))
        assert job is not None
        written = await world.redis.get(world.keys.job("m1"))
        assert (await world.store.ledger.adopt(10)).taken == 1
        assert await world.redis.get(world.keys.job("m1")) == written
        assert await world.redis.pttl(world.keys.job("m1")) == -1
        assert await world.redis.zcard(world.keys.ingress) == 0
        assert (await world.store.ledger.adopt(10)).taken == 0
        claimed = await world.claim_one()
        assert (claimed.message_id, claimed.payload) == ("m1", written)
        assert claimed.facts.person_digest == world.store.people.digest(ANNA)
        info = await Job(world.keys.job_id("m1"), arq, _deserializer=arq_deserializer).info()
        assert info is not None
        assert info.function == "send_message"


async def test_keyword_arguments_are_taken_too(store: Place) -> None:
    """A job with keyword arguments, `enqueue_job("send_message", to=…)`, is the same message to
    that person.
    """
    async with opened(store) as world, _arq(world, store.url) as arq:
        await arq.enqueue_job("send_message", **MESSAGE, _job_id=world.keys.job_id("m1"))
        assert (await world.store.ledger.adopt(10)).taken == 1
        claimed = await world.claim_one()
        assert claimed.facts.person_digest == world.store.people.digest(ANNA)


async def test_the_messages_own_id_counts(store: Place) -> None:
    """The message's own id outranks arq's job id, and the same message twice is one message."""
    async with opened(store) as world, _arq(world, store.url) as arq:
        jobs = [
            await arq.enqueue_job("send_message", {**MESSAGE, "message_id": "order-1"})
            for _ in range(2)
        ]
        assert (await world.store.ledger.adopt(10)).taken == 2
        assert [claimed.message_id for claimed in await world.claim()] == ["order-1"]
        assert await world.redis.exists(*[f"{ARQ_JOB}{job.job_id}" for job in jobs if job]) == 0


async def test_a_deferred_job_waits(store: Place) -> None:
    """`_defer_by` becomes not_before, and a producer's clock that runs ahead defers nothing."""
    async with opened(store) as world, _arq(world, store.url) as arq:
        await arq.enqueue_job(
            "send_message", MESSAGE, _job_id=world.keys.job_id("m1"), _defer_by=timedelta(hours=1)
        )
        ahead: dict[str, Any] = {
            "t": None,
            "f": "send_message",
            "a": [MESSAGE],
            "k": {},
            "et": 99_999_999_999_999,
        }
        await _queue(world, "m2", json.dumps(ahead).encode(), 99_999_999_999_999)
        assert (await world.store.ledger.adopt(10)).taken == 2
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]
        assert "nb" in await world.row("m1")
        await world.later(hours=1, minutes=1)
        assert [claimed.message_id for claimed in await world.claim()] == ["m1"]


async def _queue(
    world: World, job_id: str, job: bytes, score: float = 1, *, tagged: bool = True
) -> bytes:
    whole = (world.keys.job_id(job_id) if tagged else job_id).encode()
    await world.redis.set(ARQ_JOB.encode() + whole, job, px=60_000)
    await world.redis.zadd(world.keys.ingress, {whole: score})
    return whole


def _job(**changes: object) -> bytes:
    return json.dumps(
        {"t": None, "f": "send_message", "a": [MESSAGE], "k": {}, "et": 1, **changes}
    ).encode()


@pytest.mark.parametrize(
    "job, says",
    [
        (b"\x80\x04\x95", "pickled"),
        (b"not json", "not_json"),
        (_job(f="other"), "other_function"),
        (_job(a=[{"to": "nobody"}]), "invalid"),
        (_job(a=[{**MESSAGE, "to": "nonsense"}]), "invalid"),
    ],
)
async def test_an_unreadable_job_is_a_dead_letter(store: Place, job: bytes, says: str) -> None:
    """An unreadable job is never unpickled or retried, and is kept whole with a sentence that
    says what to do.
    """
    async with opened(store) as world:
        await _queue(world, "m1", job)
        assert await world.store.ledger.adopt(10) == Adopted(1, (Unreadable("m1", says),))
        assert await world.store.ledger.adopt(10) == Adopted(0)
        (record,) = [record async for record in world.store.records.listed("dead")]
        assert (record.message_id, record.row["r"], record.payload) == ("m1", "unreadable", job)
        assert says in record.timeline[-1]["text"]
        assert ANNA not in str(record.timeline)
        assert await world.claim() == ()
        assert not await world.redis.exists(world.keys.job("m1"))
        now = await world.store.now()
        assert await world.store.records.replay(["m1"], now + timedelta(hours=1)) == ["no_job"]
        assert await world.store.records.drop(["m1"]) == ["dropped"]
        assert not await world.redis.exists(world.keys.unreadable("m1"))


async def test_an_id_that_cannot_be_a_message_id_is_replaced(store: Place) -> None:
    """A job id that cannot be a message id is replaced, so that no address becomes a key."""
    async with opened(store) as world:
        for job_id in ("+14155550123", "with blanks", "\u00fcmlaut"):
            await _queue(world, job_id, _job(), tagged=False)
        await _queue(world, "broken", b"no json", tagged=False)
        assert (await world.store.ledger.adopt(10)).taken == 4
        claimed = await world.claim()
        assert len(claimed) == 3
        assert all(one.message_id.startswith("arq-") for one in claimed)


async def test_an_id_that_belongs_to_another_message_is_a_dead_letter(store: Place) -> None:
    """A job whose id belongs to another message is a dead letter, and the first message goes on."""
    async with opened(store) as world:
        await world.enqueue("m1")
        job = _job(a=[{**MESSAGE, "message_id": "m1", "freeform": {"body": "something else"}}])
        await _queue(world, "other-job", job, tagged=False)
        (told,) = (await world.store.ledger.adopt(10)).unreadable
        assert [claimed.message_id for claimed in await world.claim()] == ["m1"]
        (record,) = [record async for record in world.store.records.listed("dead")]
        assert record.message_id.startswith("job-")
        assert told == Unreadable(record.message_id, "id_conflict")
        assert record.payload == job
        assert "another message" in record.timeline[-1]["text"]


async def test_an_id_used_again_after_its_end_is_a_duplicate(store: Place) -> None:
    """A job with the id of a refused message is a duplicate: the message stays ended."""
    async with opened(store) as world:
        await _queue(world, "m1", _job())
        await world.store.ledger.adopt(10)
        await world.settle(await world.claim_one(), REFUSED, attempt=0, posted=False)
        await _queue(world, "m1", _job())
        assert (await world.store.ledger.adopt(10)).taken == 1
        assert await world.claim() == ()
        assert (await world.row())["s"] == "refused"
        # An operator may retry it only while its row is kept.
        lasts = await world.redis.pttl(world.keys.job("m1"))
        # Asked for later, the row can only expire sooner.
        assert 60_000 < await world.redis.pttl(world.keys.row("m1")) <= lasts
        assert await world.cancel() == "ended"
        await _queue(world, "m1", _job())
        assert (await world.store.ledger.adopt(10)).taken == 1
        assert not await world.redis.exists(world.keys.job("m1"))


@pytest.mark.parametrize("is_written_over", [False, True])
@pytest.mark.parametrize("says", ["the same", "something else", "nothing readable"])
async def test_a_job_kept_for_a_retry_is_never_another_messages(
    store: Place, says: str, is_written_over: bool
) -> None:
    """A retry sends what was refused, never another message under the same id or arq key.

    A producer used the id again, under arq's key of that id or under another one. If the job was
    overwritten, the retry sends nothing.
    """
    same = {**MESSAGE, "message_id": "m1"}
    other = {**same, "freeform": {"body": "something else"}}
    jobs = {
        "the same": _job(a=[same]),
        "something else": _job(a=[other]),
        "nothing readable": _job(f="x", a=[same]),
    }
    async with opened(store) as world:
        await _queue(world, "m1", jobs["the same"])
        await world.store.ledger.adopt(10)
        await world.settle(await world.claim_one(), REFUSED, attempt=0, posted=False)
        await _queue(
            world, "m1" if is_written_over else "random", jobs[says], tagged=is_written_over
        )
        assert (await world.store.ledger.adopt(10)).taken == 1
        is_gone = is_written_over and says != "the same"
        assert await world.store.records.may_retry(["m1"]) == ["no_job" if is_gone else "may_go"]
        if not is_gone:
            assert await world.redis.get(world.keys.job("m1")) == jobs["the same"]
            assert await world.redis.pttl(world.keys.job("m1")) > 0


async def test_an_entry_without_a_job_is_removed_and_counted(store: Place) -> None:
    """An arq entry without a job is removed and counted, unless an interrupted adoption left it."""
    async with opened(store) as world:
        whole = await _queue(world, "m1", _job())
        await world.redis.delete(ARQ_JOB.encode() + whole)
        assert (await world.store.ledger.adopt(10)).taken == 1
        assert await world.count("adopted_without_job") == 1
        await world.settle(await world.post("m2"), DEAD)
        await world.redis.zadd(world.keys.ingress, {world.keys.job_id("m2"): 1})
        await world.redis.delete(world.keys.job("m2"))
        await world.store.ledger.adopt(10)
        assert await world.count("adopted_without_job") == 1
        assert await world.redis.zcard(world.keys.ingress) == 0


async def test_an_interrupted_adoption_is_finished_by_the_next(store: Place) -> None:
    """An adoption that was interrupted before it removed arq's entry is finished without a
    second message.
    """
    async with opened(store) as world:
        await _queue(world, "m1", _job())
        await world.store.ledger.adopt(10)
        await world.redis.zadd(world.keys.ingress, {world.keys.job_id("m1"): 1})
        before = await world.row()
        assert (await world.store.ledger.adopt(10)).taken == 1
        assert await world.row() == before
        assert await world.count("enqueued") == 1
        assert await world.redis.exists(world.keys.job("m1"))


async def test_an_abort_is_a_cancel(store: Place) -> None:
    """`Job.abort` before the POST cancels; an abort of another partition's job is left alone."""
    async with opened(store) as world:
        await _queue(world, "m1", _job())
        await _queue(world, "plain", _job(), tagged=False)
        tagged, foreign = world.keys.job_id("m1"), "{elsewhere}m1"
        await world.redis.zadd(
            ARQ_ABORT, {tagged: 1, "plain": 1, foreign: 1, world.keys.job_id("gone"): 1}
        )
        try:
            await world.store.ledger.adopt(10)
            assert [(await world.row(message_id))["s"] for message_id in ("m1", "plain")] == [
                "cancelled",
                "cancelled",
            ]
            assert await world.redis.zrange(ARQ_ABORT, 0, -1) == [foreign.encode()]
            assert await world.store.ledger.end_cancelled(10) == 0
            assert await world.count("end:cancelled:cancelled") == 2
            jobs = [world.keys.job(message_id) for message_id in ("m1", "plain")]
            assert await world.redis.exists(*jobs) == 0
        finally:
            await world.redis.delete(ARQ_ABORT)


async def test_a_full_store_leaves_jobs_where_they_are(store: Place, redis_client: Redis) -> None:
    """A full store adopts no jobs, and adopts them when there is room again."""
    async with opened(store) as world:
        await _queue(world, "m1", _job())
        assert (await world.store.ledger.adopt(0)).taken == 0
        await redis_client.config_set("maxmemory", 1)
        try:
            assert (await world.store.ledger.adopt(10)).taken == 0
            with pytest.raises(OutOfMemoryError):
                await world.enqueue("m2")
        finally:
            await redis_client.config_set("maxmemory", 0)
        assert (await world.store.ledger.adopt(10)).taken == 1


_MONTHS = timedelta(days=36)


async def test_a_job_deferred_too_far_is_a_dead_letter(store: Place) -> None:
    """A job deferred too far is a dead letter that is kept whole, and the jobs behind it go on.

    A producer would refuse it.
    """
    async with opened(store) as world, _arq(world, store.url) as arq:
        farthest, now = datetime.max.replace(tzinfo=UTC), await world.store.now()
        jobs: dict[str, dict[str, Any]] = {
            "far": {"_defer_until": farthest},
            "months": {"_defer_by": _MONTHS},
            "fine": {"_defer_by": timedelta(34)},
        }
        for message_id, wish in jobs.items():
            await arq.enqueue_job(
                "send_message", MESSAGE, _job_id=world.keys.job_id(message_id), **wish
            )
        written = await world.redis.get(world.keys.job("far"))
        ahead = now + _MONTHS
        far: dict[str, dict[str, datetime]] = {
            "late": {"not_before": ahead},
            "lasting": {"expires_at": ahead},
        }
        for message_id, times in far.items():
            fields = {**MESSAGE, **{name: at.isoformat() for name, at in times.items()}}
            await _queue(world, message_id, _job(a=[fields]))
        await world.enqueue("good")
        assert (await world.store.ledger.adopt(10)).taken == 5
        assert [claimed.message_id for claimed in await world.claim()] == ["good"]
        dead = {record.message_id: record async for record in world.store.records.listed("dead")}
        assert set(dead) == {"far", "months", "late", "lasting"}
        assert dead["far"].payload == written
        assert dead["far"].row["r"] == "unreadable"
        assert (
            "not_before: is more than 35 days ahead; give an earlier time"
            in dead["far"].timeline[-1]["text"]
        )
        assert "expires_at: is more than 7 days ahead" in dead["lasting"].timeline[-1]["text"]
        assert (await world.row("fine"))["s"] == "queued"


@pytest.mark.parametrize("far", [253_402_300_800_000, 10**16, 10**300])
async def test_an_absurd_instant_that_is_stored_already_loses_nothing(
    store: Place, far: int
) -> None:
    """An absurd instant that is already stored loses nothing: claims and producers still read
    their rows.
    """
    async with opened(store) as world:
        arguments = row_arguments(decode_job(_job(), "far"), _job())
        arguments[4] = far
        await world.calls.run(ENQUEUE, [0, *arguments])
        await world.enqueue("good")
        batch = await world.store.ledger.claim(10)
        assert [claimed.message_id for claimed in batch.claimed] == ["good"]
        due = (await world.store.ledger.claim(10)).next_due_at
        assert due is not None
        assert due.year == 9999
        async with Producer(store.url, store.partition) as producer:
            status = await producer.status("far")
        assert status is not None
        assert status.expires_at.year == 9999


@pytest.mark.parametrize("score", [float("inf"), float("-inf")])
async def test_a_score_that_is_no_point_in_time_is_a_dead_letter(
    store: Place, score: float
) -> None:
    """An entry whose score is no instant is a dead letter and does not stop the adoption of
    others.
    """
    async with opened(store) as world:
        await _queue(world, "good", _job())
        await _queue(world, "bad", _job(), score)
        assert (await world.store.ledger.adopt(10)).taken == 2
        assert [claimed.message_id for claimed in await world.claim()] == ["good"]
        (record,) = [record async for record in world.store.records.listed("dead")]
        assert (record.message_id, record.payload) == ("bad", _job())
        assert "score" in record.timeline[-1]["text"]


async def test_an_abort_of_a_job_in_the_backlog_is_kept_until_it_is_taken_over(
    store: Place,
) -> None:
    """An aborted job is never claimed, whatever the order of abort and adoption."""
    async with opened(store) as world:
        for number in range(3):
            await _queue(world, f"m{number}", _job(), number + 1)
        own = await _queue(world, "arqs-own", _job(a=[{**MESSAGE, "message_id": "order-1"}]), 4)
        aborted = [world.keys.job_id("m2").encode(), own]
        await world.redis.zadd(ARQ_ABORT, dict.fromkeys(aborted, 1))
        try:
            assert (await world.store.ledger.adopt(2)).taken == 2
            assert set(await world.redis.zrange(ARQ_ABORT, 0, -1)) == set(aborted)
            assert (await world.store.ledger.adopt(2)).taken == 2
            stages = [(await world.row(message_id))["s"] for message_id in ("m2", "order-1")]
            assert stages == ["cancelled", "cancelled"]
            assert [claimed.message_id for claimed in await world.claim()] == ["m0", "m1"]
            assert await world.redis.zcard(ARQ_ABORT) == 0
        finally:
            await world.redis.delete(ARQ_ABORT)


async def test_an_aborted_job_cannot_be_claimed_before_its_cancel(store: Place) -> None:
    """If the adoption is interrupted before the cancel, the job waits, and the next adoption
    ends it.
    """
    async with opened(store) as world:
        await _queue(world, "m1", _job())
        await world.redis.zadd(ARQ_ABORT, {world.keys.job_id("m1"): 1})
        await world.redis.set(
            world.keys.timeline("m1"), "of another type, so that the cancel fails"
        )
        try:
            with pytest.raises(ResponseError):
                await world.store.ledger.adopt(10)
            assert await world.claim() == ()
            await world.redis.delete(world.keys.timeline("m1"))
            await world.store.ledger.adopt(10)
            assert (await world.row())["s"] == "cancelled"
            assert await world.redis.zcard(ARQ_ABORT) == 0
            assert await world.store.ledger.end_cancelled(10) == 0
            assert await world.count("end:cancelled:cancelled") == 1
        finally:
            await world.redis.delete(ARQ_ABORT)


async def test_an_abort_of_another_applications_job_cancels_nothing_of_ours(store: Place) -> None:
    """An id in arq's list of aborts without our tag belongs to another application and cancels
    nothing here.
    """
    async with opened(store) as world:
        await world.enqueue("order-1")
        await _queue(world, "order-2", _job())
        await world.redis.zadd(ARQ_ABORT, {"order-1": 1, "order-2": 1, "{elsewhere}order-1": 1})
        try:
            for _ in range(2):
                await world.store.ledger.adopt(10)
            assert {one.message_id for one in await world.claim()} == {"order-1", "order-2"}
            assert await world.redis.zcard(ARQ_ABORT) == 3
        finally:
            await world.redis.delete(ARQ_ABORT)


async def test_aborts_of_other_partitions_do_not_hide_ours(store: Place) -> None:
    """Each run looks at some aborts and the next run goes on after them, so that every abort is
    reached.
    """
    async with opened(store) as world:
        await world.enqueue("m1")
        foreign = {f"foreign-{number}": 1 for number in range(1000)}
        await world.redis.zadd(ARQ_ABORT, {**foreign, world.keys.job_id("m1"): 2})
        try:
            for _ in range(10):
                await world.store.ledger.adopt(10)
            assert (await world.row())["s"] == "cancelled"
            assert await world.redis.zcard(ARQ_ABORT) == len(foreign)
        finally:
            await world.redis.delete(ARQ_ABORT)


async def test_jobs_are_taken_over_by_one_script_for_up_to_64(store: Place) -> None:
    """One script adopts up to 64 jobs, so that an urgent job behind thousands waits for few
    calls.
    """
    async with opened(store) as world:
        for number in range(150):
            await _queue(world, f"m{number:03}", _job())
        before = (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await world.store.ledger.adopt(0)
        idle = (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
        assert (await world.store.ledger.adopt(150)).taken == 150
        scripts = (
            (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before - idle
        )
        assert scripts <= 3 + 1, "one for each 64, and one for the time"
        assert await world.redis.zcard(world.keys.ingress) == 0
        claimed = [one.message_id for _ in range(5) for one in await world.claim(32)]
        assert claimed == [f"m{number:03}" for number in range(150)]


async def test_an_unusable_job_id_is_named_by_a_keyed_digest(store: Place) -> None:
    """An unusable job id is named by a keyed digest.

    A job id may be a phone number, which a digest without a key would reveal.
    """
    async with opened(store) as world:
        await _queue(world, "+14155550123", _job())
        assert (await world.store.ledger.adopt(10)).taken == 1
        [name] = [one.message_id for one in await world.claim()]
        job_id = world.keys.job_id("+14155550123").encode()
        assert name.startswith("arq-")
        assert hashlib.sha256(job_id).hexdigest()[:24] not in name
        assert name == f"arq-{PersonDigests(PERSON_KEY).name(job_id)}"
        assert PersonDigests(b"k" * 16).name(job_id) not in name
