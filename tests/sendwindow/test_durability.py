"""Durability `wait:N`: no receipt before N replicas have the message, even one that an earlier
call wrote.
"""

import signal
from collections.abc import Iterator

import pytest
import redis

from sendwindow.errors import NotDurable, StoreUnavailable
from sendwindow.producer import Producer
from sendwindow.script_names import SOURCES
from sendwindow.scripts import load_script
from tests.sendwindow.rig import Open, Server, Start, a_message

pytestmark = pytest.mark.asyncio

Pair = tuple[Server, Server]


@pytest.fixture(scope="module")
def pair(start_server: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Yield a primary and a replica that has caught up."""
    with (
        start_server(
            tmp_path_factory.mktemp("primary"), "--repl-diskless-sync-delay", "0"
        ) as primary,
        start_server(
            tmp_path_factory.mktemp("replica"),
            "--replicaof",
            f"127.0.0.1 {primary.port}",
            ready=b"Finished with success",
        ) as replica,
    ):
        yield primary, replica


@pytest.fixture
def patient_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extend the time to read the reply to WAIT for slow machines.

    WAIT itself takes as long as usual.
    """
    for module in ("producer", "sync"):
        monkeypatch.setattr(f"sendwindow.{module}.WAIT_MS", 60_000)


async def test_a_receipt_comes_after_the_replica_has_it(open_any: Open, pair: Pair) -> None:
    """With a replica in step a message is accepted, and so are repetition, batch and cancel."""
    async with open_any(pair[0].url, durability="wait:1") as producer:
        message = a_message()
        assert not (await producer.send(message)).duplicate
        assert (await producer.send(message)).duplicate
        assert (await producer.send_many([a_message(), a_message()])).done == 2
        assert await producer.cancel(message.message_id) == "cancelled"


async def test_a_stopped_replica_is_an_error_and_then_none(
    open_any: Open, pair: Pair, patient_socket: None
) -> None:
    """While the replica is stopped every call is an error, also for a message that is already
    there.
    """
    message = a_message()
    pair[1].process.send_signal(signal.SIGSTOP)
    try:
        # Another connection wrote it and no replica acknowledged it, which WAIT alone would not
        # notice.
        async with Producer(pair[0].url) as hurried:
            await hurried.send(message)
        async with open_any(pair[0].url, durability="wait:1", timeout=0.5) as producer:
            with pytest.raises(NotDurable, match="0 of 1 replicas acknowledged") as caught:
                await producer.send(message)
    finally:
        pair[1].process.send_signal(signal.SIGCONT)
    assert caught.value.unproven == (message,)
    async with open_any(pair[0].url, durability="wait:1", timeout=30) as producer:
        assert (await producer.send(message)).duplicate


async def test_too_few_replicas_are_named(open_any: Open, pair: Pair, patient_socket: None) -> None:
    """The error says how many replicas acknowledged."""
    async with open_any(pair[0].url, durability="wait:2", timeout=0.5) as producer:
        with pytest.raises(NotDurable, match="1 of 2 replicas acknowledged"):
            await producer.send(a_message())


async def test_a_replica_takes_nothing(open_any: Open, pair: Pair) -> None:
    """A URL of a replica is an outage, since it may become primary, and the error says what was
    seen.
    """
    for durability in ("none", "wait:1"):
        async with open_any(pair[1].url, durability=durability, timeout=0.3) as producer:
            with pytest.raises(StoreUnavailable, match="no answer within"):
                await producer.send(a_message())


async def test_an_error_in_a_pipeline_shows_no_argument(pair: Pair) -> None:
    """An error in a redis-py pipeline shows only the server's words, not the command's
    arguments.
    """
    script = load_script("enqueue", SOURCES)
    connection = redis.Redis(host="127.0.0.1", port=pair[1].port)
    with pytest.raises(redis.ReadOnlyError) as caught:
        script.run_sync(
            connection, "sw:{p0}:meta", ["80", "m1", "+14155550100", *["1"] * 7], replicas=1
        )
    connection.close()
    assert "+14155550100" not in str(caught.value)
    assert "+14155550100" not in str(caught.value.__context__)
