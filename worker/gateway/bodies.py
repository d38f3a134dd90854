"""Reads bodies of bounded size, and few large ones at once. Knows nothing of signatures."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from aiohttp import web

from worker.gateway.request import RefusedError, SignedRequest

FREE_BYTES: Final = 65_536
"""What Twilio sends is far below. A larger body needs a place."""

PLACES: Final = 4
"""How many larger bodies are in memory at once. The others wait in the connection, whose buffer is bounded."""

HARD_LIMIT: Final = 4
"""A body of so many times the size that is read whole is refused unread."""

SHORT: Final = 4_096
"""Characters of the longest parameter that is kept of a body too large to be read whole."""


class Bodies:
    """`most_bytes`: the largest body that counts whole. Up to four times as much is read for the signature."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._hard_limit = most_bytes * HARD_LIMIT
        self._places = asyncio.Semaphore(PLACES)

    @asynccontextmanager
    async def read(self, request: web.Request, *, is_signed: bool) -> AsyncIterator[bytes]:
        """Read a body. A large one has its place until the block ends; without a signature it gets none.

        Raises RefusedError 413 for a body beyond the hard limit, by its announced length or once it has grown so large.
        """
        self._check(request.content_length or 0)
        body = await _at_most(request, bytearray(), FREE_BYTES)
        self._check(len(body))
        if len(body) <= FREE_BYTES:
            yield bytes(body)
            return
        if not is_signed:
            raise RefusedError(403, "signature", "the signature is missing or does not fit")
        async with self._places:
            body = await _at_most(request, body, self._hard_limit)
            self._check(len(body))
            yield bytes(body)

    def is_too_long(self, body: bytes) -> bool:
        """Tell whether only the short parameters of this body count."""
        return len(body) > self._most_bytes

    def shortened(self, signed: SignedRequest) -> SignedRequest:
        """Return the request with its long parameters blank: who wrote to whom, and what was said briefly, remain."""
        params = {name: value if len(value) <= SHORT else "" for name, value in signed.params.items()}
        return replace(signed, params=params)

    def _check(self, size: int) -> None:
        if size > self._hard_limit:
            raise RefusedError(413, "too_large", f"the body is larger than {self._hard_limit} bytes")


async def _at_most(request: web.Request, body: bytearray, limit: int) -> bytearray:
    """Read on until the body ends or is longer than `limit`."""
    while len(body) <= limit:
        chunk = await request.content.readany()
        if not chunk:
            break
        body += chunk
    return body
