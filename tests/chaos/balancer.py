"""Passes connections on to several gateways, as a load balancer does."""

import asyncio
from contextlib import suppress
from typing import Self


class Balancer:
    """Passes connections on to the gateways in turn, whether they are ready or not.

    A load balancer without probes is the hardest case: half of Twilio's requests reach a gateway
    that must not store them.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._turn = 0
        self._ports: tuple[int, ...] = ()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.lead_to()

    def lead_to(self, *ports: int) -> None:
        """Lead every request to these ports from now on, and cut the connections that are open."""
        self._ports = ports
        for writer in self._open:
            writer.close()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        try:
            port = self._ports[self._turn % len(self._ports)]
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, ZeroDivisionError):
            writer.close()
            return
        self._open |= {writer, back}
        await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        self._open -= {writer, back}


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
