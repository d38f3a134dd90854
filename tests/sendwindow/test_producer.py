"""Both producers with a real store: receipts, repetitions, batches, status, cancel."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from sendwindow import sync
from sendwindow.codec import decode_job
from sendwindow.errors import BadStoreUrl, IdConflict, InvalidMessage, QueueFull, StoreUnavailable
from sendwindow.keys import SCHEMA, Keys
from sendwindow.producer import Producer
from sendwindow.results import CancelAnswer, Receipt
from sendwindow.scripts import execute
from sendwindow.vocabulary import Stage
from tests.sendwindow.rig import Open, a_message
from tests.support.cancel_steps import end_cancelled

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest

pytestmark = pytest.mark.asyncio


async def row(client: Redis, store: "StoreUnderTest", message_id: str) -> dict[bytes, bytes]:
    answer: dict[bytes, bytes] = await client.hgetall(Keys(store.partition).row(message_id))  # type: ignore[misc]
    return answer


async def test_a_message_is_queued_with_job_row_and_lane(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """One call writes the job under arq's key, the row, and the place in the lane."""
    message = a_message(
        message_id="m1",
        campaign="spring",
        priority="bulk",
        group="g",
        not_before="2026-01-01T00:00:00Z",
    )
    async with open_here() as producer:
        receipt = await producer.send(message)
    keys = Keys(store.partition)
    job = await redis_client.get(keys.job("m1"))
    fields = await row(redis_client, store, "m1")
    assert (receipt.message_id, receipt.duplicate) == ("m1", False)
    assert receipt.enqueued_at == datetime.fromtimestamp(int(fields[b"q"]) / 1000, UTC)
    assert decode_job(job) == message
    assert (fields[b"s"], fields[b"l"], fields[b"u"], fields[b"g"]) == (
        b"queued",
        b"shop|bulk|spring",
        b"resend_if_absent",
        b"g",
    )
    assert await redis_client.zscore(keys.lane("shop|bulk|spring"), "m1") is not None
    assert await redis_client.ttl(keys.job("m1")) == -1


async def test_a_repeated_id_returns_the_first_receipt(open_here: Open) -> None:
    """The same id with the same content returns the first receipt, marked duplicate."""
    async with open_here() as producer:
        message = a_message(message_id="m1")
        first = await producer.send(message)
        again = await producer.send(
            a_message(message_id="m1", priority="urgent", metadata={"a": "b"})
        )
    assert again == Receipt("m1", duplicate=True, enqueued_at=first.enqueued_at)


async def test_an_id_with_other_content_is_an_error(open_here: Open) -> None:
    """The same id with other content is an error, and the first message stays."""
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        with pytest.raises(IdConflict, match="m1 already belongs") as caught:
            await producer.send(a_message(message_id="m1", freeform={"body": "Other"}))
    assert caught.value.message_id == "m1"


async def test_two_at_once_with_one_id_are_one_message(open_here: Open) -> None:
    """Of two calls at once with one id exactly one is first."""
    async with open_here() as producer:
        receipts = await asyncio.gather(
            *(producer.send(a_message(message_id="m1")) for _ in range(8))
        )
    assert sorted(receipt.duplicate for receipt in receipts) == [False, *[True] * 7]


async def test_a_dictionary_is_taken_too(open_here: Open) -> None:
    """A dictionary is checked like a message, and without an id it gets one."""
    fields = {
        "to": "+14155550100",
        "sender": "shop",
        "purpose": "reply",
        "freeform": {"body": "Hello"},
    }
    async with open_here() as producer:
        receipt = await producer.send(fields)
        assert await producer.status(receipt.message_id) is not None
        with pytest.raises(InvalidMessage, match="to: is not a channel address"):
            await producer.send({**fields, "to": "x"})


@pytest.mark.parametrize(
    ("fields", "lifetime"),
    [
        ({"purpose": "authentication"}, timedelta(minutes=10)),
        ({"purpose": "reply", "when_closed": "wait"}, timedelta(hours=24)),
        ({"purpose": "marketing"}, timedelta(hours=72)),
    ],
)
async def test_a_message_expires_by_its_purpose(
    open_here: Open, fields: dict[str, Any], lifetime: timedelta
) -> None:
    """A message expires by its purpose, from its enqueue on the store's clock."""
    async with open_here() as producer:
        receipt = await producer.send(a_message(**fields))
        status = await producer.status(receipt.message_id)
    assert status is not None
    assert status.expires_at == receipt.enqueued_at + lifetime


async def test_the_lifetime_starts_at_not_before(open_here: Open) -> None:
    """The lifetime starts at not_before."""
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    async with open_here() as producer:
        receipt = await producer.send(a_message(not_before=tomorrow))
        status = await producer.status(receipt.message_id)
    assert status is not None
    assert status.expires_at == tomorrow + timedelta(hours=24)


async def test_an_expiry_of_ones_own_is_kept(open_here: Open) -> None:
    """An explicit expiry is kept.

    One that has passed ends the message as expired, so that a repetition is never an error.
    """
    yesterday = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    async with open_here() as producer:
        receipt = await producer.send(a_message(expires_at=yesterday))
        status = await producer.status(receipt.message_id)
    assert status is not None
    assert status.expires_at == yesterday


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"not_before": timedelta(days=35, minutes=5)}, "not_before"),
        ({"expires_at": timedelta(days=7, minutes=5)}, "expires_at"),
        ({"not_before": timedelta(days=-1), "expires_at": timedelta(days=6)}, None),
        ({"not_before": timedelta(days=34), "expires_at": timedelta(days=40)}, None),
    ],
)
async def test_times_lie_within_reach(
    open_here: Open, fields: dict[str, timedelta], field: str | None
) -> None:
    """`not_before` is at most 35 days ahead, and `expires_at` at most 7 days after the start."""
    now = datetime.now(UTC)
    message = a_message(**{name: now + ahead for name, ahead in fields.items()})
    async with open_here() as producer:
        if field is None:
            assert not (await producer.send(message)).duplicate
        else:
            with pytest.raises(InvalidMessage, match=f"{field}: is more than"):
                await producer.send(message)


async def test_an_invalid_message_leaves_nothing_behind(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """An invalid message is an error before the first byte goes to the store."""
    async with open_here() as producer:
        with pytest.raises(InvalidMessage):
            await producer.send({"to": "+14155550100"})
    assert await redis_client.keys(f"*{{{store.partition}}}*") == []


async def test_many_messages_go_in_batches_with_progress(open_here: Open) -> None:
    """Many messages go in batches, and progress counts the messages answered after each."""
    seen: list[int] = []
    async with open_here() as producer:
        messages = [a_message(message_id=f"m{number}") for number in range(25)]
        summary = await producer.send_many(iter(messages), batch=10, on_progress=seen.append)
        again = await producer.send_many(messages)
    assert seen == [10, 20, 25]
    assert [receipt.message_id for receipt in summary.receipts] == [
        message.message_id for message in messages
    ]
    assert (summary.done, summary.duplicates, summary.rejected) == (25, 0, [])
    assert (again.done, again.duplicates) == (25, 25)


async def test_many_messages_with_bad_ones_among_them(open_here: Open) -> None:
    """Bad messages are listed with position and reason and stop no others.

    A repetition inside a batch is a duplicate.
    """
    messages = [
        a_message(message_id="m0"),
        {"to": "x"},
        a_message(message_id="m0", freeform={"body": "Other"}),
        a_message(message_id="m0"),
        a_message(message_id="m4", expires_at=datetime.now(UTC) + timedelta(days=8)),
    ]
    async with open_here() as producer:
        summary = await producer.send_many(messages)
    assert [(receipt.message_id, receipt.duplicate) for receipt in summary.receipts] == [
        ("m0", False),
        ("m0", True),
    ]
    assert sorted((bad.position, bad.message_id, type(bad.error)) for bad in summary.rejected) == [
        (1, None, InvalidMessage),
        (2, "m0", IdConflict),
        (4, "m4", InvalidMessage),
    ]
    assert summary.done == 5


async def test_only_bad_ones_ask_the_store_nothing(open_any: Open) -> None:
    """A batch of bad messages needs no store."""
    async with open_any("unix:///nowhere/store.sock") as producer:
        assert (await producer.send_many([{}, {}])).done == 2
        assert (await producer.send_many([])).done == 0


async def test_large_messages_make_smaller_batches(open_here: Open) -> None:
    """Large messages make smaller batches, so that a script call stays short."""
    seen: list[int] = []
    large = {"name": "t", "variables": {str(number): "x" * 1024 for number in range(56)}}
    async with open_here() as producer:
        await producer.send_many(
            [a_message(template=large) for _ in range(30)], on_progress=seen.append
        )
    assert seen == [19, 30]


@pytest.mark.parametrize("batch", [0, 1001])
async def test_a_batch_has_a_size_within_reason(open_here: Open, batch: int) -> None:
    """A batch holds 1 to 1,000 messages."""
    async with open_here() as producer:
        with pytest.raises(ValueError, match="batch is 1 to 1000"):
            await producer.send_many([], batch=batch)


async def test_an_asynchronous_source_is_read_as_it_comes(store: "StoreUnderTest") -> None:
    """The asyncio producer takes asynchronous iterables too."""

    async def source() -> AsyncIterator[Any]:
        for number in range(3):
            yield a_message(message_id=f"m{number}")

    async with Producer(store.url, store.partition) as producer:
        assert (await producer.send_many(source(), batch=2)).done == 3


async def test_a_nearly_full_store_takes_no_new_messages(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """At 80 % memory a new message is refused, and one that is already there is answered."""
    meta = Keys(store.partition).meta
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        await redis_client.hset(meta, "pressure", "80")  # type: ignore[misc]  # redis-py's type of a coroutine
        with pytest.raises(QueueFull, match="send it again later") as single:
            await producer.send(a_message(message_id="m2"))
        with pytest.raises(QueueFull) as many:
            await producer.send_many([a_message(message_id="m2"), a_message(message_id="m1"), {}])
        assert (await producer.send(a_message(message_id="m1"))).duplicate
        assert await producer.status("m2") is None
        await redis_client.hset(meta, "pressure", "79")  # type: ignore[misc]  # as above
        assert not (await producer.send(a_message(message_id="m2"))).duplicate
    assert (single.value.summary, single.value.unproven) == (None, ())
    assert many.value.summary is not None
    assert (many.value.summary.done, many.value.summary.duplicates) == (2, 1)


async def test_a_full_store_takes_no_new_messages_whole(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """A full store refuses the script before its first write, and cancel still works."""
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        before = await redis_client.keys(f"*{{{store.partition}}}*")
        await redis_client.config_set("maxmemory", "1")
        try:
            with pytest.raises(QueueFull):
                await producer.send(a_message(message_id="m2"))
            assert sorted(await redis_client.keys(f"*{{{store.partition}}}*")) == sorted(before)
            assert await producer.cancel("m1") is CancelAnswer.CANCELLED
        finally:
            await redis_client.config_set("maxmemory", "0")


async def test_status_tells_where_a_message_is(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """Status returns every stored fact that a backend may see, with the provider's status
    verbatim.
    """
    async with open_here() as producer:
        receipt = await producer.send(a_message(message_id="m1"))
        queued = await producer.status("m1")
        fields = {
            "s": "accepted",
            "r": "accepted",
            "c": "30008",
            "st": "undelivered",
            "sid": "SM1",
            "n": "2",
            "z": "1",
        }
        await redis_client.hset(Keys(store.partition).row("m1"), mapping=fields)  # type: ignore[misc]  # as above
        ended = await producer.status("m1")
        assert await producer.status("m2") is None
    assert queued is not None
    assert ended is not None
    assert (queued.stage, queued.is_end, queued.reason, queued.error_code) == (
        Stage.QUEUED,
        False,
        None,
        None,
    )
    assert (queued.status, queued.message_sid, queued.attempts, queued.ended_at) == (
        None,
        None,
        0,
        None,
    )
    assert queued.enqueued_at == receipt.enqueued_at
    assert (ended.stage, ended.is_end, ended.reason, ended.error_code) == (
        Stage.ACCEPTED,
        True,
        "accepted",
        30008,
    )
    assert (ended.status, ended.message_sid, ended.attempts) == ("undelivered", "SM1", 2)
    assert ended.ended_at == datetime(1970, 1, 1, 0, 0, 0, 1000, UTC)


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("queued", "cancelled"),
        ("waiting", "cancelled"),
        ("retrying", "cancelled"),
        ("claimed", "cancelled"),
        ("posting", "too_late"),
        ("unknown", "too_late"),
        ("unresolved", "too_late"),
        ("accepted", "ended"),
        ("refused", "ended"),
        ("failed", "ended"),
        ("expired", "ended"),
        ("cancelled", "cancelled"),
        ("dead", "cancelled"),
    ],
)
async def test_cancel_answers_by_stage(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis, stage: str, answer: str
) -> None:
    """A cancel before admission is `cancelled` and later `too_late`, and asking again returns
    the same.
    """
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        await redis_client.hset(Keys(store.partition).row("m1"), "s", stage)  # type: ignore[misc]  # as above
        assert await producer.cancel("m1") == answer
        assert await producer.cancel("m1") == answer
        assert await producer.cancel("m2") is CancelAnswer.UNKNOWN_ID


@pytest.mark.parametrize("stage", ["queued", "waiting", "retrying", "claimed"])
async def test_cancel_comes_too_late_while_an_earlier_attempt_is_in_doubt(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis, stage: str
) -> None:
    """A cancel returns `too_late` every time while an earlier attempt is unproven.

    That attempt may be at Twilio, so the caller never learns that it was not sent. The message is
    not sent again.
    """
    keys = Keys(store.partition)
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        await redis_client.hset(keys.row("m1"), mapping={"s": stage, "n": "2", "p": "d1"})  # type: ignore[misc]  # as above
        await redis_client.zadd(keys.permits("d1"), {"1:m1": 1})
        for _ in range(2):
            assert await producer.cancel("m1") is CancelAnswer.TOO_LATE
        fields = await redis_client.hmget(keys.row("m1"), ["s", "x"])  # type: ignore[misc]  # as above
        status = await producer.status("m1")
    assert fields == [stage.encode(), b"1"]
    assert status is not None
    assert status.stage == stage


@pytest.mark.parametrize("stage", ["queued", "waiting", "retrying"])
async def test_a_status_is_cancelled_before_a_worker_records_that_end(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis, stage: str
) -> None:
    """The status says `cancelled` from the cancel on, although no worker runs. The time of the end
    is known once a worker has recorded it.
    """
    keys = Keys(store.partition)
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        await redis_client.hset(keys.row("m1"), "s", stage)  # type: ignore[misc]  # as above
        assert await producer.cancel("m1") is CancelAnswer.CANCELLED
        asked = await producer.status("m1")
        await end_cancelled(redis_client, keys)
        ended = await producer.status("m1")
    assert asked is not None
    assert ended is not None
    assert (asked.stage, asked.reason) == (ended.stage, ended.reason) == ("cancelled", "cancelled")
    assert asked.is_end
    assert asked.ended_at is None
    assert ended.ended_at is not None


async def test_a_cancelled_id_stays_taken(open_here: Open) -> None:
    """The id of a cancelled message is not sent a second time."""
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        await producer.cancel("m1")
        assert (await producer.send(a_message(message_id="m1"))).duplicate
        status = await producer.status("m1")
    assert status is not None
    assert (status.stage, status.is_end, status.reason) == (Stage.CANCELLED, True, "cancelled")


async def test_the_scripts_come_back_after_a_flush(open_here: Open, redis_client: Redis) -> None:
    """After a restart or a flush of the server the call sends the script's text."""
    async with open_here() as producer:
        await producer.send(a_message())
        await redis_client.script_flush()
        await producer.send(a_message())
        await redis_client.script_flush()
        assert await producer.cancel("m2") is CancelAnswer.UNKNOWN_ID


@pytest.mark.parametrize(
    "options",
    [
        {"partition": "P0"},
        {"partition": ""},
        {"partition": None},
        {"durability": "wait:0"},
        {"durability": None},
    ],
)
async def test_wrong_settings_are_refused_at_once(
    store: "StoreUnderTest", options: dict[str, Any]
) -> None:
    """Wrong settings are an error before anything is sent, and are not repeated."""
    for kind in (Producer, sync.Producer):
        with pytest.raises(BadStoreUrl, match="correct `"):
            kind(store.url, **options)


@pytest.mark.parametrize("url", [None, b"redis://host", 6379])
async def test_a_url_that_is_no_text_is_refused_at_once(url: Any) -> None:
    """A URL that is no text, as from an unset variable, is an error at once."""
    for kind in (Producer, sync.Producer):
        with pytest.raises(BadStoreUrl, match="is its setting missing"):
            kind(url)


@pytest.mark.parametrize("message_id", [None, 7, b"m1"])
async def test_an_id_that_is_no_text_is_an_error(open_any: Open, message_id: Any) -> None:
    """An id that is no text raises before the store is asked.

    The store would not know it, which is also the answer for a message that ended long ago.
    """
    async with open_any("unix:///nowhere.sock") as producer:
        for ask in (producer.status, producer.cancel):
            with pytest.raises(TypeError, match="message_id is a text"):
                await ask(message_id)


@pytest.mark.parametrize("one", [a_message(), {"to": "whatsapp:+14155550100"}, "{}"])
async def test_one_message_is_not_many(open_any: Open, one: Any) -> None:
    """One message in place of many is an error, because its fields would be read as bad
    messages.
    """
    async with open_any("unix:///nowhere.sock") as producer:
        with pytest.raises(TypeError, match="give one alone to send"):
            await producer.send_many(one)


async def test_a_job_can_be_read_by_any_json_reader(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """Any JSON reader can read a job: arq's envelope of function, arguments, try, enqueue time."""
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
    job = json.loads(await redis_client.get(Keys(store.partition).job("m1")))
    assert job.keys() == {"t", "f", "a", "k", "et"}


@pytest.mark.parametrize(
    "schema", [str(SCHEMA + 98), "0", "-1", "", "abc", "1.5", "nan", "1e0", "\xff", "9" * 400]
)
async def test_a_store_of_another_layout_is_refused(
    open_here: Open, store: "StoreUnderTest", redis_client: Redis, schema: str
) -> None:
    """A store of another layout is neither read nor written, and the error says what to install."""
    meta = Keys(store.partition).meta
    async with open_here() as producer:
        await producer.send(a_message(message_id="m1"))
        await execute(redis_client, "HSET", meta, "schema", schema)
        before = await redis_client.dbsize()
        for ask in (
            lambda: producer.send(a_message(message_id="m2")),
            lambda: producer.send_many([a_message(message_id="m3")]),
            lambda: producer.status("m1"),
            lambda: producer.cancel("m1"),
        ):
            with pytest.raises(StoreUnavailable, match=r"a layout that .* install the release"):
                await ask()
        assert await redis_client.dbsize() == before
        await execute(redis_client, "HSET", meta, "schema", SCHEMA)
        assert not (await producer.send(a_message(message_id="m2"))).duplicate


async def test_the_layout_is_checked_without_a_round_trip(
    open_here: Open, redis_client: Redis
) -> None:
    """The check of the layout costs no round trip."""
    async with open_here() as producer:
        await producer.send(a_message())
        before = (await redis_client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        for _ in range(5):
            await producer.send(a_message())
        assert (await redis_client.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 5
