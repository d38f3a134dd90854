"""A server in a thread that reads only on command, so that the kernel shows which bytes left the
client.
"""

import select
import socket
import ssl
import threading
from asyncio import Runner, get_running_loop
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Self

import uvloop

from worker.ports.posts import CreateMessage

ANONYMOUS: Final = "AECDH-AES128-SHA:@SECLEVEL=0"
"""A key exchange without certificates, so that no private key is kept here.

The tests are about when bytes leave.
"""
MESSAGE: Final = CreateMessage("main", (("To", "+14155550100"), ("Body", "x")))
CREATED: Final = b'{"sid": "SM' + b"1" * 32 + b'", "status": "queued"}'
LONG_SECONDS: Final = 60.0

Loop = Callable[[], Any]
LOOPS: Final[dict[str, Loop | None]] = {"asyncio": None, "uvloop": uvloop.new_event_loop}


def without_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a TLS context accept a peer that shows no certificate."""
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ANONYMOUS)
    return context


def run(loop: str, main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the loop of that name."""
    with Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(main)


def after_turns(turns: int, stall: Callable[[], None]) -> None:
    """Call `stall` after that many iterations of the running loop."""
    loop = get_running_loop()
    if turns == 0:
        loop.call_soon(stall)
    else:
        loop.call_soon(after_turns, turns - 1, stall)


class SlowServer(threading.Thread):
    """Answers `answers` requests, then parks until `go_on`, and answers what it finds.

    `tls`: speaks TLS. `tunnel`: is asked for a tunnel first, as a proxy is, and is the target as
    well.
    """

    def __init__(self, *, answers: int, tls: bool = False, tunnel: bool = False) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LONG_SECONDS)
        self._answers = answers
        self._tls = tls
        self._tunnel = tunnel
        self._raw: socket.socket | None = None
        self._go = threading.Event()
        self.parked = threading.Event()
        self.received: list[bytes] = []
        self.connections = 0
        self.tunnels: list[bytes] = []

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def has_arrived(self) -> bool:
        """Return whether the server has bytes that it has not read."""
        return (
            self.parked.is_set()
            and self._raw is not None
            and bool(select.select([self._raw], [], [], 0)[0])
        )

    def go_on(self) -> None:
        """Read on."""
        self._go.set()

    def hang_up(self) -> None:
        """Close the connection from this side. The client's kernel knows it when this returns."""
        assert self._raw is not None
        with suppress(OSError):
            socket.socket.shutdown(self._raw, socket.SHUT_WR)
        self.go_on()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.go_on()
        # A close alone would not end the thread's accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def run(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(LONG_SECONDS)
                self.connections += 1
                with connection:
                    self._serve(connection)
        except OSError:
            return

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            if self._tunnel:
                self.tunnels.append(_head(raw))
                raw.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if self._tls:
                context = without_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                # Without session tickets the client has nothing to read after the handshake.
                context.num_tickets = 0
                connection = context.wrap_socket(raw, server_side=True)
            self._raw = connection
            while True:
                if len(self.received) == self._answers:
                    self.parked.set()
                    self._go.wait(LONG_SECONDS)
                self.received.append(_request(connection))
                connection.sendall(
                    b"HTTP/1.1 201 X\r\nContent-Length: %d\r\n\r\n%s" % (len(CREATED), CREATED)
                )
        except (EOFError, OSError):
            return
        finally:
            connection.close()


def _head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            raise EOFError
        data += part
    return data


def _request(connection: socket.socket) -> bytes:
    data = _head(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line[15:])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body
