"""If the store is away, silent or closed to the producer, each call ends with a clear error in
time.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import exceptions
from redis.asyncio import Redis

from sendwindow.errors import NotDurable, QueueFull, StoreUnavailable
from sendwindow.keys import Keys
from sendwindow.retry_deadline import RetryDeadline
from tests.sendwindow.rig import Face, Open, Start, a_message
from tests.support.waiting import HANG_SECONDS

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest


async def every_call(producer: Face) -> list[BaseException | object]:
    calls: list[Any] = [
        producer.send(a_message()),
        producer.send_many([a_message()]),
        producer.status("m1"),
        producer.cancel("m1"),
    ]
    async with asyncio.timeout(HANG_SECONDS):
        answers: list[BaseException | object] = await asyncio.gather(*calls, return_exceptions=True)
    return answers


@pytest.mark.asyncio
async def test_a_store_that_is_away_is_a_clear_error(open_any: Open, tmp_path: Path) -> None:
    """Without a listener every call says so and what to check."""
    async with open_any(f"unix://{tmp_path}/store.sock", timeout=0.2) as producer:
        for error in await every_call(producer):
            assert isinstance(error, StoreUnavailable)
            assert "no answer within 0.2 s" in str(error)
            assert "check that it runs" in str(error)


@pytest.mark.asyncio
async def test_a_store_that_never_answers_is_a_clear_error(open_any: Open, tmp_path: Path) -> None:
    """With a silent server the timeout ends every call."""

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_unix_server(be_silent, tmp_path / "deaf.sock")
    async with open_any(f"unix://{tmp_path}/deaf.sock", timeout=0.2) as producer:
        for error in await every_call(producer):
            assert isinstance(error, StoreUnavailable)
    server.close()


@pytest.mark.asyncio
async def test_a_store_that_comes_back_is_used_again(
    open_any: Open, start_server: Start, tmp_path: Path
) -> None:
    """A call made before the store is up is answered once it is."""
    async with open_any(f"unix://{tmp_path}/store.sock", timeout=30) as producer:
        waiting = asyncio.ensure_future(producer.send(a_message()))
        with start_server(tmp_path, "--unixsocket", str(tmp_path / "store.sock")):
            async with asyncio.timeout(HANG_SECONDS):
                assert not (await waiting).duplicate


@pytest.mark.asyncio
async def test_wrong_credentials_are_reported_at_once(
    open_any: Open, store: "StoreUnderTest"
) -> None:
    """Wrong credentials are an error at once, since no retry helps; it repeats none."""
    path = store.url.removeprefix("unix://").partition("?")[0]
    async with open_any(f"unix://ann:s%40cret@{path}", store.partition) as producer:
        for error in await every_call(producer):
            assert isinstance(error, StoreUnavailable)
            assert "correct user and password" in str(error)
            assert "cret" not in str(error)


@pytest.mark.asyncio
async def test_credentials_in_the_url_are_decoded(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """A password may hold any character, %-encoded."""
    user, password = f"u{store.partition}", "p@ss/word:1"
    await redis_client.acl_setuser(
        user, enabled=True, passwords=[f"+{password}"], keys=["*"], commands=["+@all"]
    )
    path = store.url.removeprefix("unix://").partition("?")[0]
    try:
        async with open_any(f"unix://{user}:p%40ss%2Fword%3A1@{path}", store.partition) as producer:
            assert not (await producer.send(a_message())).duplicate
    finally:
        await redis_client.acl_deluser(user)


@pytest.mark.asyncio
async def test_a_user_without_permission_is_reported_at_once(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """An ACL that forbids scripts is an error at once, because the operator must correct it."""
    user = f"u{store.partition}"
    await redis_client.acl_setuser(
        user, enabled=True, passwords=["+x"], keys=["*"], commands=["+ping"]
    )
    path = store.url.removeprefix("unix://").partition("?")[0]
    try:
        async with open_any(f"unix://{user}:x@{path}", store.partition) as producer:
            for error in await every_call(producer):
                assert isinstance(error, StoreUnavailable)
                assert "denies this user the command " in str(error)
                assert "(NOPERM)" in str(error)
    finally:
        await redis_client.acl_deluser(user)


@pytest.mark.asyncio
async def test_a_key_of_another_kind_is_an_error_of_the_store(
    open_any: Open, store: "StoreUnderTest", redis_client: Redis
) -> None:
    """The error shows the store's error word and none of our arguments."""
    await redis_client.set(Keys(store.partition).meta, "not a hash")
    async with open_any(store.url, store.partition) as producer:
        with pytest.raises(
            StoreUnavailable,
            match=r"answered with an error \([A-Za-z]+\); check that it is Redis 7",
        ) as caught:
            await producer.send(a_message())
    assert "+14155550100" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.ConnectionError("refused"), None),
        (exceptions.TimeoutError("slow"), None),
        (exceptions.BusyLoadingError("loading"), None),
        (exceptions.ReadOnlyError("replica"), None),
        (ConnectionRefusedError(), None),
        (NotDurable("replicas"), None),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), None),
        (exceptions.ResponseError("MASTERDOWN Link with MASTER is down"), None),
        (
            exceptions.ResponseError(
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL"
            ),
            None,
        ),
        (
            exceptions.ResponseError(
                "MISCONF Errors writing to the AOF file: No space left on device"
            ),
            StoreUnavailable,
        ),
        (exceptions.OutOfMemoryError("full"), QueueFull),
        (exceptions.AuthenticationError("WRONGPASS"), StoreUnavailable),
        (exceptions.NoPermissionError("NOPERM"), StoreUnavailable),
        (
            exceptions.ResponseError(
                "ERR unknown command 'EVALSHA', with args beginning with: '+14155550100'"
            ),
            StoreUnavailable,
        ),
        (exceptions.DataError("invalid input"), StoreUnavailable),
    ],
)
def test_which_errors_are_worth_another_try(error: Exception, kind: type[Exception] | None) -> None:
    """Outages are retried; a full store, wrong credentials and unexpected errors are not."""
    if kind is None:
        assert 0 <= RetryDeadline(60).after(error) <= 0.5
    else:
        with pytest.raises(kind) as caught:
            RetryDeadline(60).after(error)
        assert "+14155550100" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [exceptions.ConnectionError("refused"), NotDurable("1 of 2 replicas")]
)
def test_retries_end(error: Exception) -> None:
    """Without time left an error is final, and one about missing replicas says so."""
    with pytest.raises(StoreUnavailable) as caught:
        RetryDeadline(0).after(error)
    assert isinstance(caught.value, NotDurable) == isinstance(error, NotDurable)
