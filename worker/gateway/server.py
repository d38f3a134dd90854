"""Listens for HTTP requests, and stops only after every open request is finished.

Headers are bounded. Responses contain no server banner and no stack trace.
"""

import asyncio
from typing import Any, Final

from aiohttp import web

from worker.gateway.app import DRAINING, METER

GRACE_SECONDS: Final = 15.0
"""Twilio waits at most this long for a response."""

_MAX_LINE_BYTES: Final = 32_768
"""A GET carries the whole message in its request line: 1,600 characters, percent-encoded."""

_CONNECTION: Final = {
    "max_line_size": _MAX_LINE_BYTES,
    "max_field_size": 8_192,
    "max_headers": 64,
    # Proxies close idle connections sooner than this, so the proxy closes the connection, not us.
    "keepalive_timeout": 75.0,
    "lingering_time": 1.0,
    # Twilio does not compress bodies. A compressed body is never unpacked, and it fails the
    # signature check.
    "auto_decompress": False,
    "access_log": None,
}


class _Connection(web.RequestHandler):
    """Responds to invalid HTTP with a bare 400.

    aiohttp's own response would repeat the input and name its version.
    """

    __slots__ = ("_app",)

    def __init__(self, app: web.Application, manager: Any, **options: Any) -> None:
        super().__init__(manager, **options)
        self._app = app

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  # the library's signature
        message: str | None = None,  # noqa: ARG002  # as above
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was already on its way")
        self._app[METER].refused("http", "garbage")
        response = web.Response(
            status=min(status, 503), text="not understood\n", headers={"Server": ""}
        )
        response.force_close()
        return response


class RunningGateway:
    """A gateway that listens. `port` is the port that the system assigned."""

    def __init__(
        self, app: web.Application, runner: web.AppRunner, listener: asyncio.Server
    ) -> None:
        self._app = app
        self._runner = runner
        self._listener = listener
        host, port, *_ = listener.sockets[0].getsockname()
        self.host: str = host
        self.port: int = port

    async def stop(self) -> None:
        """Stop accepting connections, finish the open requests, then close."""
        self._app[DRAINING].set()
        self._listener.close()
        await self._runner.cleanup()


async def serve(app: web.Application, host: str, port: int) -> RunningGateway:
    """Listen on `host` and `port` (0 picks a free port).

    Raises OSError when the address cannot be bound.
    """
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=GRACE_SECONDS)
    await runner.setup()
    loop = asyncio.get_running_loop()

    def connection() -> _Connection:
        return _Connection(app, runner.server, loop=loop, **_CONNECTION)

    try:
        listener = await loop.create_server(
            connection, host, port, backlog=1_024, reuse_address=True
        )
    except OSError:
        await runner.cleanup()
        raise
    return RunningGateway(app, runner, listener)
