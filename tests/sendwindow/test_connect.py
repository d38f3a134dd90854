"""Connections: every form of URL, the settings of a connection, and errors for a wrong URL."""

import asyncio
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from sendwindow.connect import (
    RECONNECT_AFTER,
    connect,
    connect_sync,
    disconnect,
    disconnect_sync,
    replicas_asked,
)
from sendwindow.errors import BadStoreUrl
from tests.sendwindow.rig import Open, Server, Start, a_message
from tests.support.waiting import until

URLS = [
    "redis://host:6380/3",
    "rediss://host:6380/3?ssl_ca_certs=/ca.pem",
    "unix:///run/store.sock?db=3",
    "redis://ann:p%40ss@host/3",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("build", [connect, connect_sync])
def test_everything_is_said_about_a_connection(build: Any, url: str) -> None:
    """Timeouts, protocol, retries and retried errors are set here, whatever redis-py's defaults
    are.
    """
    store = build(url, timeout=1.5, max_connections=7)
    options = store.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"], options["protocol"]) == (
        1.5,
        1.5,
        2,
    )
    assert options["db"] == 3
    assert set(options["retry_on_error"]) == set(RECONNECT_AFTER)
    assert OSError in RECONNECT_AFTER
    assert options["retry"]._retries == 0
    assert options.get("socket_keepalive", False) != url.startswith("unix")
    assert store.connection_pool.max_connections == 7


def test_a_password_is_decoded() -> None:
    """%-encoded characters in user, password and options are decoded."""
    assert (
        connect_sync("redis://ann:p%40ss@host").connection_pool.connection_kwargs["password"]
        == "p@ss"
    )
    pool: Any = connect_sync(
        "sentinel://an%2Fn:p%40s+s@one/shop?sentinel_password=a%26b"
    ).connection_pool
    assert pool.connection_kwargs["username"] == "an/n"
    assert pool.connection_kwargs["password"] == "p@s+s"
    assert pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs["password"] == "a&b"


@pytest.mark.parametrize("build", [connect, connect_sync])
def test_a_sentinel_url_names_sentinels_and_service(build: Any) -> None:
    """A sentinel URL names several hosts, a default port, the service, and options for both
    servers.
    """
    url = "sentinel://one,two:7,[::1]:8/shop?db=2&username=ann&password=x&sentinel_username=bob&sentinel_password=y"
    pool = build(url).connection_pool
    sentinels = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in sentinels] == [
        ("one", 26379),
        ("two", 7),
        ("::1", 8),
    ]
    assert {(each["username"], each["password"]) for each in sentinels} == {("bob", "y")}
    assert pool.service_name == "shop"
    options = pool.connection_kwargs
    assert (options["db"], options["username"], options["password"]) == (2, "ann", "x")
    assert set(options["retry_on_error"]) == set(RECONNECT_AFTER)


@pytest.mark.parametrize("build", [connect, connect_sync])
def test_tls_goes_to_sentinels_and_store(build: Any) -> None:
    """`ssl=true` with certificates counts for sentinels and store."""
    pool = build("sentinel://one/shop?ssl=true&ssl_ca_certs=%2Fca.pem").connection_pool
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    assert "SSL" in pool.connection_class.__name__
    sentinel = pool.sentinel_manager.sentinels[0].connection_pool
    assert "SSL" in sentinel.connection_class.__name__
    assert (
        "SSL"
        not in build("sentinel://one/shop?ssl=false").connection_pool.connection_class.__name__
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://secret@host",
        "redis://host:secret/0",
        "redis://host/0?socket_timeout=secret",
        "sentinel://host",
        "sentinel:///shop",
        "sentinel://host/shop?db=secret",
        "sentinel://host/shop?secret=1",
        "sentinel://host:secret/shop",
        "sentinel://host:99999/shop",
        "sentinel://host:0/shop",
        "sentinel://,/shop",
        "sentinel://[::1/shop",
        "sentinel://secret[::1]:8/shop",
        "sentinel://one,[secret]/shop",
        "sentinel://ann:secret#1@host/shop",
    ],
)
@pytest.mark.parametrize("build", [connect, connect_sync])
def test_a_wrong_url_is_an_error_that_shows_the_right_forms(build: Any, url: str) -> None:
    """The error for a wrong URL shows the right forms and repeats nothing, since URLs hold
    passwords.
    """
    with pytest.raises(BadStoreUrl, match=r"sentinel://host1:26379") as caught:
        build(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("text", "count"), [("none", 0), ("wait:1", 1), ("wait:9", 9)])
def test_durability_is_a_number_of_replicas(text: str, count: int) -> None:
    """Durability is `none` or `wait:N`."""
    assert replicas_asked(text) == count


@pytest.mark.parametrize("text", ["", "wait", "wait:0", "wait:10", "always"])
def test_another_durability_is_refused(text: str) -> None:
    """The error for another durability names the valid ones."""
    with pytest.raises(BadStoreUrl, match="`wait:N`"):
        replicas_asked(text)


@pytest.fixture
def watched(start_server: Start, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Yield a store, and a sentinel that watches it under the name `shop`."""
    with start_server(tmp_path) as primary:
        file = tmp_path / "sentinel.conf"
        file.write_text(f"sentinel monitor shop 127.0.0.1 {primary.port} 1\n")
        with start_server(tmp_path, str(file), "--sentinel", ready=b"+monitor") as sentinel:
            yield primary, sentinel


@pytest.mark.asyncio
async def test_a_producer_finds_the_store_through_a_sentinel(
    open_any: Open, watched: tuple[Server, Server]
) -> None:
    """A producer asks a real sentinel and passes over one that is away."""
    url = f"sentinel://127.0.0.1:1,127.0.0.1:{watched[1].port}/shop?db=0"
    async with open_any(url) as producer:
        receipt = await producer.send(a_message())
    connection = redis.Redis(host="127.0.0.1", port=watched[0].port)
    assert connection.exists(f"sw:{{p0}}:m:{receipt.message_id}") == 1
    connection.close()


@pytest.mark.asyncio
async def test_no_call_gets_a_connection_that_is_being_closed(
    watched: tuple[Server, Server],
) -> None:
    """When the primary changes, its idle connections close, and calls made meanwhile get new
    ones.
    """
    store: Any = connect(f"sentinel://127.0.0.1:{watched[1].port}/shop")
    pool = store.connection_pool
    try:
        await asyncio.gather(*(store.ping() for _ in range(20)))
        closing, *answers = await asyncio.gather(
            pool.disconnect(inuse_connections=False), *(store.ping() for _ in range(20))
        )
        assert (closing, answers) == (None, [True] * 20)
        await pool.disconnect()
        assert await store.ping()
    finally:
        await disconnect(store)


@pytest.mark.asyncio
@pytest.mark.parametrize("finds", ["itself", "through a sentinel"])
async def test_a_call_after_the_closing_leaves_no_connection(
    watched: tuple[Server, Server], finds: str
) -> None:
    """A call under way fails when its connection is closed, and a repeat of it leaves no connection
    open.
    """
    primary, sentinel = watched
    url = (
        f"redis://127.0.0.1:{primary.port}"
        if finds == "itself"
        else f"sentinel://127.0.0.1:{sentinel.port}/shop"
    )
    store: Any = connect(url, timeout=60)
    with (
        redis.Redis(port=primary.port) as at_primary,
        redis.Redis(port=sentinel.port) as at_sentinel,
    ):
        call = asyncio.create_task(store.blpop(["list"], timeout=0))
        await until(lambda: _others(at_primary, flags="b"), "a blocked connection")
        await disconnect(store)
        with pytest.raises(redis.ConnectionError):
            await call
        at_primary.rpush("list", "1")
        assert await store.blpop(["list"], timeout=0) == (b"list", b"1")
        await until(
            lambda: _others(at_primary) | _others(at_sentinel),
            "every connection to close",
            holds=operator.not_,
        )


def _others(server: Any, **having: str) -> set[str]:
    """Return the ids of the other connections that redis-py has to a server."""
    return {
        client["id"]
        for client in server.client_list()
        if client["lib-name"] == "redis-py"
        and int(client["id"]) != server.client_id()
        and having.items() <= client.items()
    }


@pytest.mark.asyncio
async def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    """Closing twice, or without a connection, raises nothing."""
    for url in (f"unix://{tmp_path}/none.sock", "sentinel://127.0.0.1:1/shop"):
        store = connect(url)
        await disconnect(store)
        await disconnect(store)
        blocking = connect_sync(url)
        disconnect_sync(blocking)
        disconnect_sync(blocking)
