"""Sends signed requests to a gateway as fast as it answers them.

The requests are bytes that were made before. The sender is as lean as it can be, because it shares
the cores with what it measures.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final, cast
from urllib.parse import urlencode

from bench.child import Child
from bench.row import Spent
from bench.world import PUBLIC_URL, TOKEN, WrongEndError
from sandbox.signing import sign

CONNECTIONS: Final = 32
_HEADER_OF_BODY: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_SECONDS: Final = 100.0


def signed_request(target: str, form: Sequence[tuple[str, str]]) -> bytes:
    """Return a POST to `target`, a path with its query, as Twilio sends it."""
    body = urlencode(form).encode()
    head = (
        f"POST {target} HTTP/1.1\r\nHost: hooks.example.com\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
        f"X-Twilio-Signature: {sign(TOKEN, PUBLIC_URL + target, form)}\r\n"
        f"I-Twilio-Idempotency-Token: {dict(form)['MessageSid']}\r\n"
        f"User-Agent: TwilioProxy/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Sends the next request when the last one was answered."""

    def __init__(self, requests: deque[bytes]) -> None:
        self._requests = requests
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio.Transport, so cast and do not check.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if (end := self._buffer.find(b"\r\n\r\n")) < 0:
            return
        found = _HEADER_OF_BODY.search(self._buffer, 0, end + 2)
        if len(self._buffer) < end + 4 + (int(found[1]) if found else 0):
            return
        self.refused += not self._buffer.startswith(b"HTTP/1.1 2")
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(exc or WrongEndError("the gateway closed a connection"))

    def _send(self) -> None:
        assert self._transport is not None
        if self._requests:
            self._transport.write(self._requests.popleft())
        elif not self.over.done():
            self.over.set_result(None)
            self._transport.close()


def _same(connection: _Connection) -> _Connection:
    return connection


async def post_all(child: Child, port: int, requests: Sequence[bytes]) -> Spent:
    """Send every request, and measure the process that answers them.

    Raises WrongEndError when one of them is not answered with 2xx.
    """
    loop, left = asyncio.get_running_loop(), deque(requests)
    cpu, began = await child.cpu(), time.perf_counter()
    connections = [_Connection(left) for _ in range(min(CONNECTIONS, len(requests)))]
    for connection in connections:
        await loop.create_connection(partial(_same, connection), "127.0.0.1", port)
    async with asyncio.timeout(_SECONDS):
        await asyncio.gather(*(connection.over for connection in connections))
    wall = time.perf_counter() - began
    if refused := sum(connection.refused for connection in connections):
        raise WrongEndError(f"{refused} of {len(requests)} requests were not answered with 2xx")
    return Spent(await child.cpu() - cpu, wall, len(requests))
