"""Checks the permit at the moment when the first byte of a POST leaves, and records that it left.

aiohttp writes a request in a task of its own, at least one turn of the event loop after the caller
asked for it, and only once it has a connection. If the loop stalls in between, any earlier check of
the permit can be seconds old.
"""

import select
from asyncio import Transport
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from sendwindow.vocabulary import Reason
from worker.ports.posts import NotSent, Reply, Unproven
from worker.runtime.clock import monotonic
from worker.twilio.replies import PERMIT_LAPSED

HUNG_UP: Final = NotSent("Twilio closed the connection before the request")
"""The connection was already unusable before the first byte left.

The peer had closed it, or had sent bytes that belong to no request.
"""

_HANG_UP: Final = getattr(select, "POLLRDHUP", 0)

DEPARTURE: Final[ContextVar["Departure | None"]] = ContextVar("departure", default=None)
"""The POST for which the running task requests a connection."""


@dataclass(slots=True, eq=False)
class Departure:
    """One POST on its way to Twilio.

    `start_by` is in monotonic seconds. From then on no first byte leaves. None means no limit.
    """

    start_by: float | None
    is_connecting: bool = False
    is_gated: bool = False
    has_left: bool = False
    refusal: NotSent | None = None
    _is_over: bool = False

    def leave(self, protocol: ResponseHandler, transport: Transport) -> None:
        """Permit the next write. Raises DepartureRefused when the first byte must not leave."""
        if self._is_over:
            raise DepartureRefused
        if self.has_left:
            return
        if self.start_by is not None and monotonic() >= self.start_by:
            self.refusal = PERMIT_LAPSED
        elif protocol.should_close or has_hung_up(transport):
            self.refusal = HUNG_UP
        if self.refusal is not None:
            self._is_over = True
            transport.abort()
            raise DepartureRefused
        # This is set before the write, because a write that raises may have sent some bytes.
        self.has_left = True

    def end(self) -> None:
        """Refuse every later write, also of bytes that aiohttp still holds."""
        self._is_over = True

    def conclude(self, reply: NotSent | Unproven, *, is_trusted: bool) -> Reply:
        """Return what a failed POST proves. `reply` is what its exception alone proves.

        `is_trusted` is whether the gate saw the write of the last answered POST. Only then does an
        unseen write prove that no byte was written.
        """
        if self.has_left:
            lost = Unproven(
                Reason.OUTCOME_CONNECTION_LOST, "connection lost after the request began"
            )
            return reply if isinstance(reply, Unproven) else lost
        if self.refusal is not None:
            return self.refusal
        if isinstance(reply, Unproven) and (self.is_connecting or (is_trusted and self.is_gated)):
            return NotSent(f"no byte of the request left ({reply.detail})")
        return reply


class DepartureRefused(ConnectionError):
    """Raised inside aiohttp in place of a write. The reason is the departure's `refusal`."""


class _Gate:
    """Replaces a connection's transport while one request uses the connection."""

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
    """Keeps connections open, and puts a gate in front of each connection that it returns.

    Never reuses a connection that the server closed, or that has received unsolicited bytes. They
    would be read as the response to the next request, and that message would be recorded under
    another message's SID.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for a request, with the gate in place."""
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
    """Return whether the peer closed the connection or sent unsolicited bytes.

    It asks the socket, because the event loop may not have noticed yet. Over TLS only a closed
    connection counts, because session tickets arrive unsolicited after the handshake.
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
