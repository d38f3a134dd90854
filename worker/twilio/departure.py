"""Where the first byte of a POST leaves: there the permit counts, and there it is known whether a byte left at all.

aiohttp writes a request a turn of the loop after it was asked to, in a task of its own, and only when there is a
connection. Any look at the permit before that can be seconds old when the loop stands still in between.
"""

import select
from asyncio import Transport
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from sendwindow.vocabulary import Reason
from worker.clock import monotonic
from worker.twilio.replies import PERMIT_LAPSED
from worker.values.posts import NotSent, Reply, Unproven

HUNG_UP: Final = NotSent("Twilio closed the connection before the request")
"""The connection was closed, or bytes came on it that belong to no request, before the first byte left."""

_HANG_UP: Final = getattr(select, "POLLRDHUP", 0)

DEPARTURE: Final[ContextVar["Departure | None"]] = ContextVar("departure", default=None)
"""The POST that the running task asks a connection for."""


class Departure:
    """One POST on its way out.

    `start_by`: monotonic seconds; no first byte leaves from then on. None: there is no such limit.
    """

    __slots__ = ("_is_over", "_start_by", "has_left", "is_connecting", "is_gated", "refusal")

    def __init__(self, start_by: float | None) -> None:
        self._start_by = start_by
        self._is_over = False
        self.is_connecting = False
        self.is_gated = False
        self.has_left = False
        self.refusal: NotSent | None = None

    def leave(self, protocol: ResponseHandler, transport: Transport) -> None:
        """Let the bytes at hand leave. Raises DepartureRefused for the first ones when they must not."""
        if self._is_over:
            raise DepartureRefused
        if self.has_left:
            return
        if self._start_by is not None and monotonic() >= self._start_by:
            self.refusal = PERMIT_LAPSED
        elif protocol.should_close or has_hung_up(transport):
            self.refusal = HUNG_UP
        if self.refusal is not None:
            self._is_over = True
            transport.abort()
            raise DepartureRefused
        # Before the write: one that raises may have let some bytes go.
        self.has_left = True

    def end(self) -> None:
        """Let nothing leave from now on, whatever aiohttp still has in hand."""
        self._is_over = True

    def conclude(self, reply: NotSent | Unproven, *, is_trusted: bool) -> Reply:
        """Return what a failed POST proves; `reply` is what its exception alone says.

        `is_trusted`: writes of answered POSTs were seen here, so that none seen means that none was made.
        """
        if self.has_left:
            lost = Unproven(Reason.OUTCOME_CONNECTION_LOST, "connection lost after the request began")
            return reply if isinstance(reply, Unproven) else lost
        if self.refusal is not None:
            return self.refusal
        if isinstance(reply, Unproven) and (self.is_connecting or (is_trusted and self.is_gated)):
            return NotSent(f"no byte of the request left ({reply.detail})")
        return reply


class DepartureRefused(ConnectionError):
    """Raised into aiohttp instead of a write; the reason is the departure's `refusal`."""


class _Gate:
    """Stands for a connection's transport while one request uses it."""

    __slots__ = ("_departure", "_protocol", "inner")

    def __init__(self, protocol: ResponseHandler, inner: Transport, departure: Departure) -> None:
        self.inner = inner
        self._protocol = protocol
        self._departure = departure

    def write(self, data: bytes) -> None:
        self._departure.leave(self._protocol, self.inner)
        self.inner.write(data)

    def writelines(self, chunks: Iterable[bytes]) -> None:
        self._departure.leave(self._protocol, self.inner)
        self.inner.writelines(chunks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class GatedConnector(aiohttp.TCPConnector):
    """Keeps connections open, and puts a gate before each that is handed out.

    It hands no connection out again that the server closed, or on which something came unasked: that would be taken
    for the response to the next request, and the message would be recorded under another message's SID.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for a request, with its gate in place."""
        departure = DEPARTURE.get() or Departure(None)
        departure.is_connecting = True
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol: Any = connection.protocol
            transport = protocol.transport
            was_used = isinstance(transport, _Gate)
            if was_used:
                transport = transport.inner
                if protocol.should_close or has_hung_up(transport):
                    transport.abort()
                    connection.close()
                    continue
            if transport is not None:
                protocol.transport = _Gate(protocol, transport, departure)
                departure.is_gated = True
            departure.is_connecting = False
            return connection


def has_hung_up(transport: Transport) -> bool:
    """Return whether the peer closed the connection, or sent bytes that answer nothing, without the loop knowing yet.

    Over TLS only the end of the connection counts: session tickets come after the handshake, unasked.
    """
    if transport.is_closing():
        return True
    connection = transport.get_extra_info("socket")
    if connection is None:
        return False
    is_tls = transport.get_extra_info("sslcontext") is not None
    poll = select.poll()
    poll.register(connection.fileno(), _HANG_UP if is_tls else _HANG_UP | select.POLLIN)
    return bool(poll.poll(0))
