"""A server that answers as a test wants in Twilio's place."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.support.cast import ACCOUNT_SID
from worker.settings.accounts import Account
from worker.twilio.client import TwilioClient

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve each whole request with one handler call, and yield the base URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(h[15:])
                        for h in head.split(b"\r\n")
                        if h.lower().startswith(b"content-length:")
                    ),
                    0,
                )
                await handler(head + await reader.readexactly(length), writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def client(
    base_url: str, *, connect_timeout: float = 5.0, read_timeout: float = 20.0, slots: int = 25
) -> AsyncIterator[TwilioClient]:
    account = Account("main", ACCOUNT_SID, "SKuser", "secret", base_url)
    async with TwilioClient(
        {"main": account}, connect_timeout=connect_timeout, read_timeout=read_timeout, slots=slots
    ) as twilio:
        yield twilio


def answer(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sending(data: bytes, *, close: bool = False) -> Handler:
    async def handle(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return handle


async def reset(request: bytes, writer: asyncio.StreamWriter) -> None:
    """Send RST without an answer."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
