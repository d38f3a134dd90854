"""Builds connections to the store with explicit timeouts and protocol, and without retries.

Supports redis-py from release 5 to the newest one.

We set every option because the defaults differ: redis-py 5 does not retry at all and redis-py 8
retries ten times. Here it never does, because only the caller knows whether a call may be repeated,
and whether it is a repeat.
"""

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import redis
import redis.asyncio
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from sendwindow.errors import BadStoreUrl

RECONNECT_AFTER: Final = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    OSError,
)
"""Errors after which redis-py closes the connection, so that the next call opens another."""

_SENTINEL_PORT: Final = 26379
_MAX_PORT: Final = 65535
_OPTIONS: Final = frozenset(
    {
        "db",
        "username",
        "password",
        "sentinel_username",
        "sentinel_password",
        "ssl",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
    }
)
_FORMS: Final = (
    "use redis://host:6379/0, rediss://host:6379/0, unix:///path/store.sock?db=0 or "
    "sentinel://host1:26379,host2:26379/service?db=0, with %-encoded passwords"
)
# We parse this URL ourselves: some Python releases reject a URL with several hosts if one of them
# is in brackets.
_SENTINEL_URL: Final = re.compile(r"sentinel://(?:([^/?#]*)@)?([^/?#@]+)/([^?#]+)(?:\?([^#]*))?")
_SENTINEL_HOST: Final = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\s:\[\]]+))(?::([0-9]{0,5}))?"
)
_PARTITION: Final = re.compile(r"[a-z0-9_-]{1,32}")
_DURABILITY: Final = re.compile(r"none|wait:([1-9])")


def connect(url: str, *, timeout: float = 2.5, max_connections: int = 50) -> redis.asyncio.Redis:
    """Build an asynchronous connection pool without connecting. Close it with `disconnect`.

    `timeout`: how many seconds each connect and each reply may take. Raises BadStoreUrl.
    """
    options = _options(timeout, AsyncRetry(NoBackoff(), 0))
    if _scheme(url) == "sentinel":
        target = _parse_sentinel(url)
        sentinels = _make_sentinel(AsyncSentinel, target, timeout, options)
        primary: redis.asyncio.Redis = sentinels.master_for(
            target.service, connection_pool_class=_PrimaryPool
        )
        return primary
    pool: redis.asyncio.ConnectionPool = _from_url(_Pool, url, options, timeout, max_connections)
    return redis.asyncio.Redis.from_pool(pool)


def connect_sync(url: str, *, timeout: float = 2.5, max_connections: int = 50) -> redis.Redis:
    """Build a blocking connection pool, for code without asyncio.

    Arguments and errors are those of `connect`. Close the pool with `disconnect_sync`.
    """
    options = _options(timeout, Retry(NoBackoff(), 0))
    if _scheme(url) == "sentinel":
        target = _parse_sentinel(url)
        primary: redis.Redis = _make_sentinel(Sentinel, target, timeout, options).master_for(
            target.service
        )
        return primary
    pool: redis.ConnectionPool = _from_url(
        redis.BlockingConnectionPool, url, options, timeout, max_connections
    )
    return redis.Redis.from_pool(pool)


async def disconnect(store: redis.asyncio.Redis) -> None:
    """Close every connection of a pool built by `connect`, including those to sentinels.

    A call that is still in progress fails. If its caller repeats it, the repeat connects again, and
    its connection is closed as soon as it ends.
    """
    pool: Any = store.connection_pool
    pool.keeps_none = True
    await store.aclose()
    for sentinel in _sentinels(pool):
        await sentinel.aclose()


def disconnect_sync(store: redis.Redis) -> None:
    """Close every connection of a pool built by `connect_sync`, including those to sentinels."""
    store.close()
    for sentinel in _sentinels(store.connection_pool):
        sentinel.close()


def checked_partition(partition: str) -> str:
    """Return `partition` unchanged. Raises BadStoreUrl if it is not a valid partition name."""
    if not _PARTITION.fullmatch(str(partition)):
        raise BadStoreUrl(
            "a partition is named with 1 to 32 of the characters a-z 0-9 _ -; correct `partition`"
        )
    return partition


def replicas_asked(durability: str) -> int:
    """Return how many replicas must acknowledge a write: 0 for `none`, N (1 to 9) for `wait:N`.

    Raises BadStoreUrl for any other value of the durability setting.
    """
    match = _DURABILITY.fullmatch(str(durability))
    if not match:
        raise BadStoreUrl(
            "durability is `none` or `wait:N` with N from 1 to 9; correct `durability`"
        )
    return int(match[1] or 0)


class _Keeping(redis.asyncio.ConnectionPool):
    """Keeps connections for the next call until `keeps_none` is set.

    redis-py's pools cannot be closed for good. A call that is repeated after the pool closed
    connects again, and its connection would stay open until the garbage collector finds it.
    """

    keeps_none = False

    async def release(self, connection: Any) -> None:
        """Return a connection to the pool, or close it once the pool keeps none."""
        try:
            await super().release(connection)
        finally:
            if self.keeps_none:
                await connection.disconnect(nowait=True)
                for sentinel in _sentinels(self):
                    await sentinel.aclose()


class _Pool(_Keeping, redis.asyncio.BlockingConnectionPool):
    """Connections to one server."""


class _PrimaryPool(_Keeping, AsyncSentinelConnectionPool):
    """Connections to the server that is currently the primary.

    Never hands out a connection that is being closed. redis-py 5 closes the idle connections to the
    old primary while they are still in the pool. A call that takes one of them at that moment fails
    with an AttributeError, which is not retried.
    """

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's signature
        """Take the idle connections out of the pool, then close them.

        `inuse_connections`: close the connections in use as well.
        """
        idle, self._available_connections = self._available_connections, []
        if inuse_connections:
            await super().disconnect()
        for connection in idle:
            await connection.disconnect(nowait=True)


@dataclass(frozen=True, slots=True)
class _SentinelTarget:
    hosts: list[tuple[str, int]]
    service: str
    options: dict[str, str]

    def to_store(self) -> dict[str, Any]:
        named: dict[str, Any] = {
            name: self.options[name] for name in ("username", "password") if name in self.options
        }
        return named | self._tls() | {"db": int(self.options.get("db", "0"))}

    def to_sentinel(self, timeout: float) -> dict[str, Any]:
        prefix = "sentinel_"
        named: dict[str, Any] = {
            name.removeprefix(prefix): text
            for name, text in self.options.items()
            if name.startswith(prefix)
        }
        return (
            named
            | self._tls()
            | {"socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": 2}
        )

    def _tls(self) -> dict[str, Any]:
        if self.options.get("ssl", "false") != "true":
            return {}
        return {
            "ssl": True,
            **{name: text for name, text in self.options.items() if name.startswith("ssl_")},
        }


def _make_sentinel(
    kind: Any, target: _SentinelTarget, timeout: float, options: dict[str, Any]
) -> Any:
    return kind(
        target.hosts, sentinel_kwargs=target.to_sentinel(timeout), **target.to_store(), **options
    )


def _parse_sentinel(url: str) -> _SentinelTarget:
    match = _SENTINEL_URL.fullmatch(url)
    credentials, hosts, path, query = match.groups("") if match else ("", "", "", "")
    service = unquote(path.strip("/"))
    options = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
    username, _, password = credentials.partition(":")
    if username:
        options.setdefault("username", username)
    if password:
        options.setdefault("password", password)
    if not (options.keys() <= _OPTIONS and options.get("db", "0").isdecimal() and service):
        raise BadStoreUrl(
            f"the sentinel URL cannot be read; {_FORMS}; options are {', '.join(sorted(_OPTIONS))}"
        )
    decoded = {name: unquote(text) for name, text in options.items()}
    return _SentinelTarget([_host_and_port(host) for host in hosts.split(",")], service, decoded)


def _host_and_port(text: str) -> tuple[str, int]:
    match = _SENTINEL_HOST.fullmatch(text)
    port = int(match[3] or _SENTINEL_PORT) if match else 0
    if not (match and 0 < port <= _MAX_PORT):
        raise BadStoreUrl(f"a sentinel's host or port cannot be read; {_FORMS}")
    return match[1] or match[2], port


def _scheme(url: str) -> str:
    if not isinstance(url, str):
        raise BadStoreUrl(
            f"the store URL is {type(url).__name__}, not text; is its setting missing? {_FORMS}"
        )
    scheme = url.partition("://")[0]
    if scheme not in {"redis", "rediss", "unix", "sentinel"}:
        raise BadStoreUrl(f"the store URL has no known scheme; {_FORMS}")
    return scheme


def _from_url(
    kind: Any, url: str, options: dict[str, Any], timeout: float, max_connections: int
) -> Any:
    keepalive = {} if _scheme(url) == "unix" else {"socket_keepalive": True}
    try:
        return kind.from_url(
            url, timeout=timeout, max_connections=max_connections, **keepalive, **options
        )
    except ValueError:
        pass
    raise BadStoreUrl(f"the store URL cannot be read; {_FORMS}")


def _options(timeout: float, retry: Any) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "protocol": 2,
        "decode_responses": False,
        "retry": retry,
        "retry_on_error": list(RECONNECT_AFTER),
    }


def _sentinels(pool: Any) -> list[Any]:
    manager = getattr(pool, "sentinel_manager", None)
    return list(manager.sentinels) if manager else []
