"""Reads request bodies of bounded size, and only a few large ones at once.

It does not check signatures.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from aiohttp import web

from worker.gateway.request import RefusedError, SignedRequest

MAX_FREE_BYTES: Final = 65_536
"""The largest body that needs no place. Twilio's requests are much smaller."""

MAX_LARGE_BODIES: Final = 4
"""How many larger bodies may be in memory at once.

Other large bodies wait in their connections, whose buffers are bounded.
"""

MAX_OVERSIZE_FACTOR: Final = 4
"""A body that is more than this many times `most_bytes` is refused."""

MAX_KEPT_CHARACTERS: Final = 4_096
"""Parameters longer than this many characters are blanked when the body exceeds `most_bytes`."""


class RequestBodies:
    """Reads bodies. `most_bytes` is the largest body whose parameters are all used.

    A body of up to four times that size is read, to check its signature.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._hard_limit = most_bytes * MAX_OVERSIZE_FACTOR
        self._places = asyncio.Semaphore(MAX_LARGE_BODIES)

    @asynccontextmanager
    async def read(self, request: web.Request, *, is_signed: bool) -> AsyncIterator[bytes]:
        """Read a body.

        A large body keeps its place until the block ends. A large body without a signature gets no
        place.

        Raises RefusedError: 413 when the announced or the received length exceeds the hard limit,
        403 when a large body has no signature.
        """
        self._check(request.content_length or 0)
        body = await _at_most(request, bytearray(), MAX_FREE_BYTES)
        self._check(len(body))
        if len(body) <= MAX_FREE_BYTES:
            yield bytes(body)
            return
        if not is_signed:
            raise RefusedError(403, "signature", "the signature is missing or wrong")
        async with self._places:
            body = await _at_most(request, body, self._hard_limit)
            self._check(len(body))
            yield bytes(body)

    def is_too_long(self, body: bytes) -> bool:
        """Return whether only the short parameters of this body are used."""
        return len(body) > self._most_bytes

    def shortened(self, signed: SignedRequest) -> SignedRequest:
        """Return the request with its long parameters blanked.

        The addresses and a short text remain.
        """
        params = {
            name: value if len(value) <= MAX_KEPT_CHARACTERS else ""
            for name, value in signed.params.items()
        }
        return replace(signed, params=params)

    def _check(self, size: int) -> None:
        if size > self._hard_limit:
            raise RefusedError(
                413, "too_large", f"the body is larger than {self._hard_limit} bytes"
            )


async def _at_most(request: web.Request, body: bytearray, limit: int) -> bytearray:
    """Read until the body ends or is longer than `limit`."""
    while len(body) <= limit:
        chunk = await request.content.readany()
        if not chunk:
            break
        body += chunk
    return body
