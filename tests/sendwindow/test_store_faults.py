"""The table of the store's errors: meaning, whether waiting helps, and the store without its
password.
"""

import asyncio
import errno
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import exceptions
from redis.asyncio import Redis

from sendwindow.errors import NotDurable, StoreUnavailable
from sendwindow.retry_deadline import RetryDeadline
from sendwindow.store_faults import FAULTS, fault_of, is_passing, place_of
from tests.conftest import StoreUnderTest
from tests.sendwindow.rig import Open, Start, a_message
from tests.support.waiting import HANG_SECONDS, until_now

ADDRESS = "+14155550100"


def caused(cause: Exception) -> Exception:
    """Return an error as redis-py raises it, with its cause behind its own ConnectionError."""
    error = exceptions.ConnectionError(f"Error connecting with secret {ADDRESS}")
    error.__cause__ = cause
    return error


CASES = [
    (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "LOADING", True),
    (exceptions.ResponseError("BUSY Redis is busy running a script."), "BUSY", True),
    (exceptions.ReadOnlyError("You can't write against a read only replica."), "READONLY", True),
    (exceptions.ResponseError("MASTERDOWN Link with MASTER is down"), "MASTERDOWN", True),
    (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), "NOREPLICAS", True),
    (exceptions.ConnectionError("max number of clients reached"), "MAXCLIENTS", True),
    (
        exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        "MISCONF",
        False,
    ),
    (
        exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        "OOM",
        False,
    ),
    (exceptions.AuthenticationError("Authentication required."), "NOAUTH", False),
    (exceptions.ResponseError("NOAUTH Authentication required."), "NOAUTH", False),
    (
        exceptions.AuthenticationError("invalid username-password pair or user is disabled."),
        "WRONGPASS",
        False,
    ),
    (caused(exceptions.AuthenticationError("invalid username-password pair")), "WRONGPASS", False),
    (
        exceptions.NoPermissionError("this user has no permissions to access one of the keys"),
        "NOPERM",
        False,
    ),
    (exceptions.ResponseError("MOVED 3999 127.0.0.1:6381"), "MOVED", False),
    (exceptions.MovedError("3999 127.0.0.1:6381"), "MOVED", False),  # type: ignore[no-untyped-call]  # redis-py 5
    (
        exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"),
        "CROSSSLOT",
        False,
    ),
    (exceptions.ResponseError("DENIED Redis is running in protected mode"), "DENIED", False),
    (
        exceptions.ResponseError("SCHEMA the layout is number 99, known is 1 script: 0"),
        "SCHEMA",
        False,
    ),
    (exceptions.ResponseError("DB index is out of range"), "DBINDEX", False),
    (
        exceptions.ResponseError(
            f"unknown command 'EVALSHA', with args beginning with: '{ADDRESS}'"
        ),
        "COMMAND",
        False,
    ),
    (caused(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), "refused", True),
    (caused(FileNotFoundError(errno.ENOENT, "no such file")), "no socket", True),
    (caused(PermissionError(errno.EACCES, "denied")), "no permission", False),
    (caused(socket.gaierror(-2, "Name or service not known")), "name", True),
    (caused(ssl.SSLCertVerificationError(1, "self-signed certificate")), "certificate", False),
    (caused(ssl.SSLError(1, "WRONG_VERSION_NUMBER")), "TLS", False),
    (exceptions.TimeoutError("Timeout reading from socket"), "timeout", True),
    (TimeoutError(), "timeout", True),
    (exceptions.ConnectionError("Connection closed by server."), "lost", True),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "ECONNRESET", True),
    (NotDurable("1 of 2 replicas"), "replicas", True),
    (
        exceptions.ResponseError(f"WRONGTYPE Operation against a key of {ADDRESS}"),
        "WRONGTYPE",
        False,
    ),
    (RuntimeError(f"ours, about {ADDRESS}"), "RuntimeError", False),
    (exceptions.DataError(f"Invalid input of type {ADDRESS}"), "DataError", False),
]


@pytest.mark.parametrize(("error", "word", "passes"), CASES, ids=[word for _, word, _ in CASES])
def test_each_error_has_one_meaning_and_a_remedy(error: Exception, word: str, passes: bool) -> None:
    """Each error has the server's word, whether waiting helps, and a remedy, but not its own
    text.
    """
    fault = fault_of(error)
    assert (fault.word, fault.is_passing, is_passing(error)) == (word, passes, passes)
    sentence = fault.sentence("the store at redis:6379 (store.url)")
    assert sentence.startswith("the store at redis:6379 (store.url) ")
    assert f"({word})" in sentence
    assert fault.remedy in sentence
    assert ADDRESS not in sentence


def test_every_row_of_the_table_is_met_by_a_case() -> None:
    """Every row of the table has a case."""
    reached = {fault_of(error).word for error, _, _ in CASES} | {"ASK", "CLUSTERDOWN", "TRYAGAIN"}
    assert set(FAULTS) - reached == set()


def test_a_chain_of_errors_without_an_end_is_read_to_a_bound() -> None:
    """Errors that name each other as cause are read to a bound."""
    first, second = exceptions.RedisError("one"), exceptions.RedisError("two")
    first.__cause__, second.__cause__ = second, first
    assert fault_of(first).word == "RedisError"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://:secret@redis.example:6380/0", "the store at redis.example:6380"),
        ("rediss://ann:secret@redis.example/0", "the store at redis.example:6379"),
        ("redis://[::1]:7000", "the store at [::1]:7000"),
        ("redis://", "the store at localhost:6379"),
        ("unix://ann:secret@/run/store.sock?db=0", "the store at /run/store.sock"),
        (
            "sentinel://ann:secret@one:26379,two/main?db=0",
            "the store behind Sentinel one:26379,two/main",
        ),
        ("redis://host:port", "the store"),
        ("http://elsewhere", "the store"),
        (None, "the store"),
    ],
)
def test_a_store_is_named_without_its_password(url: str | None, place: str) -> None:
    """A store is named by host and port, or socket, and the setting of its URL."""
    assert place_of(url) == place
    assert place_of(url, "REDIS_URL") == f"{place} (REDIS_URL)"


async def denied(user: Redis, *command: str) -> exceptions.RedisError:
    """Return the reply of a real server to a command that the user may not run."""
    with pytest.raises(exceptions.RedisError) as caught:
        await user.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py 5 has no types here
    return caught.value


@pytest.mark.asyncio
async def test_a_denied_command_is_named(store: StoreUnderTest, redis_client: Redis) -> None:
    """The error for a denied command names the right that the operator must add."""
    name = f"u{store.partition}"
    await redis_client.acl_setuser(
        name, enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-info"]
    )
    path = store.url.removeprefix("unix://").partition("?")[0]
    user: Redis = Redis.from_url(f"unix://{name}:x@{path}")
    try:
        for command, shown in ((("INFO", "memory"), "INFO"), (("CONFIG", "GET", "save"), None)):
            if shown:
                assert (
                    f"the command {shown} (NOPERM)"
                    in fault_of(await denied(user, *command)).sentence()
                )
            else:
                assert await user.execute_command(*command)  # type: ignore[no-untyped-call]  # as above
    finally:
        await user.aclose()
        await redis_client.acl_deluser(name)


async def busy(client: Redis) -> None:
    """Return once another client's script keeps the store busy."""
    while True:
        try:
            await client.ping()
        except exceptions.ResponseError as error:
            assert fault_of(error).word == "BUSY"  # noqa: PT017 -- the loop ends with this error and no other
            return


@pytest.mark.asyncio
async def test_a_busy_store_is_waited_out(
    open_any: Open, store: StoreUnderTest, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another client's script keeps the store busy the call is repeated until it is free."""
    refused = asyncio.Event()
    after = RetryDeadline.after

    def noted(self: RetryDeadline, error: Exception) -> float:
        if fault_of(error).word == "BUSY":
            loop.call_soon_threadsafe(refused.set)
        return after(self, error)

    def occupy() -> None:
        with (
            redis.Redis.from_url(store.url, socket_timeout=HANG_SECONDS) as client,
            pytest.raises(exceptions.ResponseError),
        ):
            client.eval("while true do end", 0)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(RetryDeadline, "after", noted)
    threshold: Any = await redis_client.config_get("busy-reply-threshold")
    await redis_client.config_set("busy-reply-threshold", 10)
    script = asyncio.create_task(asyncio.to_thread(occupy))
    try:
        async with (
            open_any(store.url, store.partition, timeout=HANG_SECONDS) as producer,
            asyncio.timeout(HANG_SECONDS),
        ):
            await busy(redis_client)
            sending = asyncio.ensure_future(producer.send(a_message()))
            await refused.wait()
            await redis_client.script_kill()
            await script
            assert not (await sending).duplicate
    finally:
        await redis_client.config_set("busy-reply-threshold", threshold["busy-reply-threshold"])


@pytest.mark.asyncio
async def test_a_disk_that_takes_no_writes_is_named(
    open_any: Open, start_server: Start, tmp_path: Path
) -> None:
    """MISCONF means a full or broken disk, not an old Redis, and the error names the store."""
    path = tmp_path / "s.sock"
    with start_server(tmp_path, "--unixsocket", str(path), "--dbfilename", "dump.rdb"):
        (tmp_path / "dump.rdb" / "in the way").mkdir(parents=True)
        with redis.Redis(unix_socket_path=str(path)) as client:
            client.config_set("save", "3600 1")
            client.bgsave()
            until_now(
                lambda: client.info("persistence")["rdb_last_bgsave_status"],
                "the background save to fail",
                holds=lambda word: word != "ok",
            )
        async with open_any(f"unix://{path}") as producer:
            with pytest.raises(StoreUnavailable) as caught:
                await producer.send(a_message())
    assert str(caught.value).startswith(
        f"the store at {path} cannot write to its disk, so it takes no writes (MISCONF)"
    )
