"""The bundled mock of the Messages API.

It answers every POST with 201 and a unique SID, as cheaply as Python can. Results measured with it
are marked `bundled`: it takes a CPU core, which a small machine may not have to spare.
"""

import asyncio
import itertools
import json
import sys
from typing import cast

import uvloop

_SIDS = itertools.count(1)


class MockApi(asyncio.Protocol):
    """HTTP/1.1 with keep-alive. It reads bodies by Content-Length, and ignores their content."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio.Transport, so cast and do not check.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = 0
            for line in self._buffer[:end].split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        body = json.dumps(
            {"sid": f"SM{next(_SIDS):032x}", "status": "queued", "error_code": None}
        ).encode()
        head = (
            "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)


async def _serve(latency: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: MockApi(latency), "127.0.0.1", 0
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
