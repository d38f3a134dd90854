"""Store servers as real processes on loopback: one alone, a primary with replicas, and its
sentinels.

Signals only processes that it started, by pid.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from tests.support.free_ports import free_port
from tests.support.waiting import is_written, until_now
from worker.runtime.store_binary import find_engine

SERVICE: Final = "shop"
NOWHERE: Final = 9
"""A port without a listener. A replica of it stays a replica and keeps its data."""

_TILTED: Final = 20.0
_COMMON: Final = ("--bind", "127.0.0.1", "--protected-mode", "no")
_LASTING: Final = (
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--save",
    "",
    "--maxmemory-policy",
    "noeviction",
)
_PROMPT: Final = (
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
    "--repl-timeout",
    "5",
)


@dataclass
class StoreServer:
    """One server process with an append-only file, whose data survive a restart.

    `options`: its command line.
    """

    folder: Path
    options: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    _running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def start(self) -> None:
        """Start it and wait until it answers with its file loaded."""
        self.folder.mkdir(parents=True, exist_ok=True)
        binary = str(find_engine(os.environ).binary)
        port = ("--port", str(self.port), "--dir", str(self.folder))
        with (self.folder / "server.log").open("ab") as log:
            self._running = subprocess.Popen(
                [binary, *self._first(), *port, *_COMMON, *self._kind(), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until_now(
            self._answers,
            f"the server on port {self.port} to start",
            seen=(self.folder / "server.log").read_text,
        )

    def kill(self) -> None:
        """Send SIGKILL, whether it is frozen or not, and reap it."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def crash(self) -> None:
        """Send SIGKILL once everything that it acknowledged is in its file."""
        until_now(lambda: self.info("persistence"), "the file to be written", holds=is_written)
        self.kill()

    def freeze(self) -> None:
        """Send SIGSTOP: connections stay open, and no command is answered."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT."""
        self._send(signal.SIGCONT)

    def ask(self, *command: str | int) -> Any:
        """Send one command and return its reply. Raises redis-py's errors."""
        with self._connection() as redis:
            return redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py 5 leaves it untyped

    def configure(self, name: str, value: str | int) -> None:
        """Send CONFIG SET."""
        self.ask("CONFIG", "SET", name, value)

    def info(self, section: str) -> dict[str, Any]:
        """Return one section of INFO."""
        with self._connection() as redis:
            # redis-py types its answers as either awaitable or not.
            found: Any = redis.info(section)
            return dict(found)

    def turn_read_only(self) -> None:
        """Make it a replica of an unreachable primary: it keeps its data and refuses every
        write.
        """
        self.ask("REPLICAOF", "127.0.0.1", NOWHERE)

    def turn_writable(self) -> None:
        """Make it a primary again."""
        self.ask("REPLICAOF", "NO", "ONE")

    def cut_replicas_off(self) -> None:
        """Close the replicas' connections and refuse new ones until it is started again."""
        self.ask("ACL", "SETUSER", "default", "-psync", "-sync")
        self.ask("CLIENT", "KILL", "TYPE", "replica")

    def follow(self, primary: "StoreServer") -> None:
        """Make it a replica of another server, and wait until it has caught up."""
        self.ask("REPLICAOF", *primary.address)
        until_now(
            self.is_linked,
            f"the replica on port {self.port} to catch up",
            seen=(self.folder / "server.log").read_text,
        )

    def is_linked(self) -> bool:
        """Whether it is a replica and its link to its primary is up."""
        return self._primary().get("master_link_status") == "up"

    def is_linked_to(self, primary: "StoreServer") -> bool:
        """Return whether it is a replica of this server and its link is up."""
        return self._primary().get("master_port") == primary.port and self.is_linked()

    def _primary(self) -> dict[str, Any]:
        try:
            return self.info("replication")
        except (RedisError, OSError):
            # Sentinel closes every connection of a server that it makes a replica.
            return {}

    def _answers(self) -> bool:
        assert self._running is not None
        assert self._running.poll() is None, f"the server ended; look at {self.folder}/server.log"
        try:
            self.ask("PING")
        except (RedisError, OSError):
            return False
        return True

    def _first(self) -> tuple[str, ...]:
        return ()

    def _kind(self) -> tuple[str, ...]:
        return (*_LASTING, *_PROMPT)

    def _send(self, number: signal.Signals) -> None:
        assert self._running is not None
        os.kill(self._running.pid, number)

    @contextmanager
    def _connection(self) -> Iterator[Redis]:
        redis = Redis(host="127.0.0.1", port=self.port, decode_responses=True, socket_timeout=5)
        try:
            yield redis
        finally:
            redis.close()


@dataclass
class Sentinel(StoreServer):
    """One sentinel. It writes what it learns into its own configuration file."""

    watched: StoreServer | None = None
    quorum: int = 2

    def start(self) -> None:
        """Write its configuration and start it."""
        assert self.watched is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.watched.port} {self.quorum}",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 4000",
            f"sentinel parallel-syncs {SERVICE} 2",
        )
        (self.folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        super().start()

    def primary_port(self) -> int:
        """Return the port of the primary, as this sentinel knows it."""
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def knows(self, replicas: int, sentinels: int) -> bool:
        """Return whether it has found so many replicas and so many other sentinels."""
        found = self.ask("SENTINEL", "MASTER", SERVICE)
        pairs = (
            found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
        )
        return (
            int(pairs["num-slaves"]) >= replicas and int(pairs["num-other-sentinels"]) >= sentinels
        )

    def _first(self) -> tuple[str, ...]:
        return (str(self.folder / "sentinel.conf"), "--sentinel")

    def _kind(self) -> tuple[str, ...]:
        return ()


@dataclass
class Watched:
    """A primary, its replicas and the sentinels around them."""

    servers: list[StoreServer]
    sentinels: list[Sentinel]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"sentinel://{hosts}/{SERVICE}?db=0"

    def primary(self) -> StoreServer:
        """The server that is the primary, as the first sentinel knows it."""
        port = self.sentinels[0].primary_port()
        return next(server for server in self.servers if server.port == port)

    def until_failed_over(self, before: StoreServer) -> StoreServer:
        """Wait until another server is the primary for every sentinel, and return it."""
        until_now(
            lambda: [sentinel.primary_port() for sentinel in self.sentinels],
            f"the sentinels to choose another primary than port {before.port}",
            holds=lambda ports: before.port not in ports,
        )
        return self.primary()

    def until_replicated(self) -> None:
        """Wait until every other server follows the primary.

        The sentinels do that within about ten seconds. If this machine stalled for two, they call
        that TILT and do nothing for half a minute each time; then this method commands the servers.
        """
        told_at = time.monotonic() + _TILTED
        until_now(
            lambda: self._astray(tells=time.monotonic() > told_at),
            f"every replica to come back; look at the logs in {self.servers[0].folder.parent}",
            holds=lambda astray: not astray,
        )

    def _astray(self, *, tells: bool) -> list[StoreServer]:
        primary = self.primary()
        astray = [
            server
            for server in self.servers
            if server is not primary and not server.is_linked_to(primary)
        ]
        for server in astray if tells else ():
            with suppress(RedisError, OSError):
                server.ask("REPLICAOF", *primary.address)
        return astray


@contextmanager
def one_server(folder: Path, *options: str) -> Iterator[StoreServer]:
    """Run a server until the block ends."""
    server = StoreServer(folder, options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def watched_servers(folder: Path, replicas: int = 2, sentinels: int = 3) -> Iterator[Watched]:
    """Run a primary with replicas, and sentinels, until the block ends."""
    servers = [StoreServer(folder / f"server-{number}") for number in range(replicas + 1)]
    watchers = [
        Sentinel(folder / f"sentinel-{number}", watched=servers[0]) for number in range(sentinels)
    ]
    try:
        for server in servers:
            server.start()
        for replica in servers[1:]:
            replica.follow(servers[0])
        for watcher in watchers:
            watcher.start()
        until_now(
            lambda: [watcher.knows(replicas, sentinels - 1) for watcher in watchers],
            "the sentinels to find each other",
            holds=all,
        )
        yield Watched(servers, watchers)
    finally:
        for process in (*watchers, *servers):
            process.kill()
