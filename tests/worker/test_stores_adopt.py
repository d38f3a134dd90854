"""Plain arq producers: their jobs are taken over once, whatever their form, and nothing of them is dropped silently."""

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
from sendwindow.exchange import ENQUEUE, row_arguments
from sendwindow.keys import ARQ_ABORT, ARQ_JOB
from sendwindow.producer import Producer
from tests.worker.stores_world import ANNA, DEAD, PERSON_KEY, REFUSED, SENDER, Place, World, opened
from worker.stores.digests import Digests
from worker.values.adoptions import Adopted, Unreadable

pytestmark = pytest.mark.asyncio

MESSAGE: dict[str, Any] = {"to": ANNA, "sender": SENDER, "purpose": "utility", "freeform": {"body": "hello"}}


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
    """Id from the job id without the tag, job kept byte for byte and without an end, arq's entry gone."""
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
    """`enqueue_job("send_message", to=…)` is the same message, and its person is recognised."""
    async with opened(store) as world, _arq(world, store.url) as arq:
        await arq.enqueue_job("send_message", **MESSAGE, _job_id=world.keys.job_id("m1"))
        assert (await world.store.ledger.adopt(10)).taken == 1
        claimed = await world.claim_one()
        assert claimed.facts.person_digest == world.store.people.digest(ANNA)


async def test_the_messages_own_id_counts(store: Place) -> None:
    """The idempotency key of the message outranks arq's job id; the same message twice is one message."""
    async with opened(store) as world, _arq(world, store.url) as arq:
        jobs = [await arq.enqueue_job("send_message", {**MESSAGE, "message_id": "order-1"}) for _ in range(2)]
        assert (await world.store.ledger.adopt(10)).taken == 2
        assert [claimed.message_id for claimed in await world.claim()] == ["order-1"]
        assert await world.redis.exists(*[f"{ARQ_JOB}{job.job_id}" for job in jobs if job]) == 0


async def test_a_deferred_job_waits(store: Place) -> None:
    """`_defer_by` becomes not_before; a producer's clock that runs ahead defers nothing."""
    async with opened(store) as world, _arq(world, store.url) as arq:
        await arq.enqueue_job("send_message", MESSAGE, _job_id=world.keys.job_id("m1"), _defer_by=timedelta(hours=1))
        ahead: dict[str, Any] = {"t": None, "f": "send_message", "a": [MESSAGE], "k": {}, "et": 99_999_999_999_999}
        await _queue(world, "m2", json.dumps(ahead).encode(), 99_999_999_999_999)
        assert (await world.store.ledger.adopt(10)).taken == 2
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]
        assert "nb" in await world.row("m1")
        await world.later(hours=1, minutes=1)
        assert [claimed.message_id for claimed in await world.claim()] == ["m1"]


async def _queue(world: World, job_id: str, job: bytes, score: float = 1, *, tagged: bool = True) -> bytes:
    whole = (world.keys.job_id(job_id) if tagged else job_id).encode()
    await world.redis.set(ARQ_JOB.encode() + whole, job, px=60_000)
    await world.redis.zadd(world.keys.ingress, {whole: score})
    return whole


def _job(**changes: object) -> bytes:
    return json.dumps({"t": None, "f": "send_message", "a": [MESSAGE], "k": {}, "et": 1, **changes}).encode()


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
    """Never unpickled, never retried, kept whole, with a sentence that says what to do."""
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
    """Arq takes any job id; one shaped like an address never becomes a key of ours."""
    async with opened(store) as world:
        for job_id in ("+14155550123", "with blanks", "\u00fcmlaut"):
            await _queue(world, job_id, _job(), tagged=False)
        await _queue(world, "broken", b"no json", tagged=False)
        assert (await world.store.ledger.adopt(10)).taken == 4
        claimed = await world.claim()
        assert len(claimed) == 3
        assert all(one.message_id.startswith("arq-") for one in claimed)


async def test_an_id_that_belongs_to_another_message_is_a_dead_letter(store: Place) -> None:
    """A conflict is shown, not sent and not dropped; the first message goes its way."""
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
    """The message was refused; arq may write the job again, but it is the same message and stays ended."""
    async with opened(store) as world:
        await _queue(world, "m1", _job())
        await world.store.ledger.adopt(10)
        await world.settle(await world.claim_one(), REFUSED, attempt=0, posted=False)
        await _queue(world, "m1", _job())
        assert (await world.store.ledger.adopt(10)).taken == 1
        assert await world.claim() == ()
        assert (await world.row())["s"] == "refused"
        # A person may have it sent again, as long as its row is kept and no longer.
        lasts = await world.redis.pttl(world.keys.job("m1"))
        # Asked for later, the row's term can only be the shorter one.
        assert 60_000 < await world.redis.pttl(world.keys.row("m1")) <= lasts
        assert await world.cancel() == "ended"
        await _queue(world, "m1", _job())
        assert (await world.store.ledger.adopt(10)).taken == 1
        assert not await world.redis.exists(world.keys.job("m1"))


@pytest.mark.parametrize("is_written_over", [False, True])
@pytest.mark.parametrize("says", ["the same", "something else", "nothing readable"])
async def test_a_job_kept_for_a_retry_is_never_another_messages(store: Place, says: str, is_written_over: bool) -> None:
    """A producer uses the id of a refused message again, under arq's key of that id or under another one.

    What is sent again is what was refused. Where the job was written over with anything else, nothing is.
    """
    same = {**MESSAGE, "message_id": "m1"}
    other = {**same, "freeform": {"body": "something else"}}
    jobs = {"the same": _job(a=[same]), "something else": _job(a=[other]), "nothing readable": _job(f="x", a=[same])}
    async with opened(store) as world:
        await _queue(world, "m1", jobs["the same"])
        await world.store.ledger.adopt(10)
        await world.settle(await world.claim_one(), REFUSED, attempt=0, posted=False)
        await _queue(world, "m1" if is_written_over else "random", jobs[says], tagged=is_written_over)
        assert (await world.store.ledger.adopt(10)).taken == 1
        is_gone = is_written_over and says != "the same"
        assert await world.store.records.may_retry(["m1"]) == ["no_job" if is_gone else "may_go"]
        if not is_gone:
            assert await world.redis.get(world.keys.job("m1")) == jobs["the same"]
            assert await world.redis.pttl(world.keys.job("m1")) > 0


async def test_an_entry_without_a_job_is_removed_and_counted(store: Place) -> None:
    """Arq lets jobs expire; what was adopted before and interrupted looks the same and is not counted."""
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
    """Queued by its id, then arq's entry removed: an interruption between the two adds nothing."""
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
        await world.redis.zadd(ARQ_ABORT, {tagged: 1, "plain": 1, foreign: 1, world.keys.job_id("gone"): 1})
        try:
            await world.store.ledger.adopt(10)
            assert [(await world.row(message_id))["s"] for message_id in ("m1", "plain")] == ["cancelled", "cancelled"]
            assert await world.redis.zrange(ARQ_ABORT, 0, -1) == [foreign.encode()]
        finally:
            await world.redis.delete(ARQ_ABORT)


async def test_a_full_store_leaves_jobs_where_they_are(store: Place, redis_client: Redis) -> None:
    """Nothing is taken that cannot be kept; when there is room again, it is taken."""
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
    """What a producer would refuse is kept whole and said; the messages behind it go their way."""
    async with opened(store) as world, _arq(world, store.url) as arq:
        farthest, now = datetime.max.replace(tzinfo=UTC), await world.store.now()
        jobs: dict[str, dict[str, Any]] = {
            "far": {"_defer_until": farthest},
            "months": {"_defer_by": _MONTHS},
            "fine": {"_defer_by": timedelta(34)},
        }
        for message_id, wish in jobs.items():
            await arq.enqueue_job("send_message", MESSAGE, _job_id=world.keys.job_id(message_id), **wish)
        written = await world.redis.get(world.keys.job("far"))
        ahead = now + _MONTHS
        far: dict[str, dict[str, datetime]] = {"late": {"not_before": ahead}, "lasting": {"expires_at": ahead}}
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
        assert "not_before: is more than 35 days ahead; give an earlier time" in dead["far"].timeline[-1]["text"]
        assert "expires_at: is more than 7 days ahead" in dead["lasting"].timeline[-1]["text"]
        assert (await world.row("fine"))["s"] == "queued"


@pytest.mark.parametrize("far", [253_402_300_800_000, 10**16, 10**300])
async def test_an_absurd_instant_that_is_stored_already_loses_nothing(store: Place, far: int) -> None:
    """A claim hands out what it took, and a producer reads the row, whatever instant another message carries."""
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
async def test_a_score_that_is_no_point_in_time_is_a_dead_letter(store: Place, score: float) -> None:
    """One entry never stops the adoption of the others."""
    async with opened(store) as world:
        await _queue(world, "good", _job())
        await _queue(world, "bad", _job(), score)
        assert (await world.store.ledger.adopt(10)).taken == 2
        assert [claimed.message_id for claimed in await world.claim()] == ["good"]
        (record,) = [record async for record in world.store.records.listed("dead")]
        assert (record.message_id, record.payload) == ("bad", _job())
        assert "score" in record.timeline[-1]["text"]


async def test_an_abort_of_a_job_in_the_backlog_is_kept_until_it_is_taken_over(store: Place) -> None:
    """Whatever the order of abort and adoption, an aborted job is never there to be claimed."""
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
    """Interrupted between the two, it waits; the next adoption ends it."""
    async with opened(store) as world:
        await _queue(world, "m1", _job())
        await world.redis.zadd(ARQ_ABORT, {world.keys.job_id("m1"): 1})
        await world.redis.set(world.keys.timeline("m1"), "of another type, so that the cancel fails")
        try:
            with pytest.raises(ResponseError):
                await world.store.ledger.adopt(10)
            assert await world.claim() == ()
            await world.redis.delete(world.keys.timeline("m1"))
            await world.store.ledger.adopt(10)
            assert (await world.row())["s"] == "cancelled"
            assert await world.redis.zcard(ARQ_ABORT) == 0
        finally:
            await world.redis.delete(ARQ_ABORT)


async def test_an_abort_of_another_applications_job_cancels_nothing_of_ours(store: Place) -> None:
    """Every application's aborts stand in one list: an id without our tag is theirs, also when ours is called so."""
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
    """Each turn looks at some and the next goes on behind them, so that every abort has its turn."""
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
    """Behind thousands of bulk jobs an urgent one waits for scripts, not for each job."""
    async with opened(store) as world:
        for number in range(150):
            await _queue(world, f"m{number:03}", _job())
        before = (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await world.store.ledger.adopt(0)
        idle = (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
        assert (await world.store.ledger.adopt(150)).taken == 150
        scripts = (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before - idle
        assert scripts <= 3 + 1, "one for each 64, and one for the time"
        assert await world.redis.zcard(world.keys.ingress) == 0
        claimed = [one.message_id for _ in range(5) for one in await world.claim(32)]
        assert claimed == [f"m{number:03}" for number in range(150)]


async def test_an_unusable_job_id_is_named_by_a_keyed_digest(store: Place) -> None:
    """A job id may be a phone number: without the store's key its digest could be found by trying every number."""
    async with opened(store) as world:
        await _queue(world, "+14155550123", _job())
        assert (await world.store.ledger.adopt(10)).taken == 1
        [name] = [one.message_id for one in await world.claim()]
        job_id = world.keys.job_id("+14155550123").encode()
        assert name.startswith("arq-")
        assert hashlib.sha256(job_id).hexdigest()[:24] not in name
        assert name == f"arq-{Digests(PERSON_KEY).name(job_id)}"
        assert Digests(b"k" * 16).name(job_id) not in name
