"""Builds the sandbox's application and runs it.

`say` lets a person write through a sandbox that is already running.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from sandbox import api, control, resources
from sandbox.config import SandboxConfig
from sandbox.state import Sandbox

_MAX_BODY_BYTES = 256 * 1024


def make_app(config: SandboxConfig) -> web.Application:
    """Build the application. `app[sandbox.api.SANDBOX]` is its state."""
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app[api.SANDBOX] = Sandbox(config)
    app.cleanup_ctx.append(_running)
    app.on_shutdown.append(_free_hanging)
    messages = "/2010-04-01/Accounts/{account}/Messages"
    app.router.add_post(f"{messages}.json", api.create)
    app.router.add_get(f"{messages}.json", api.listing, allow_head=False)
    app.router.add_get(f"{messages}/{{sid}}.json", api.fetch, allow_head=False)
    app.router.add_post(f"{messages}/{{sid}}.json", resources.update)
    app.router.add_delete(f"{messages}/{{sid}}.json", resources.delete)
    media = f"{messages}/{{sid}}/Media"
    app.router.add_get(f"{media}.json", resources.list_media, allow_head=False)
    app.router.add_get(f"{media}/{{media}}.json", resources.fetch_media, allow_head=False)
    app.router.add_delete(f"{media}/{{media}}.json", resources.delete_media)
    app.router.add_get("/2010-04-01/Accounts/{account}.json", resources.account, allow_head=False)
    app.router.add_routes(control.ROUTES)
    app.router.add_route("*", "/2010-04-01/{rest:.*}", api.not_found)
    return app


@asynccontextmanager
async def running(config: SandboxConfig) -> AsyncIterator[tuple[str, Sandbox]]:
    """Serve inside the block, and yield the base URL and the state.

    Raises OSError when the port is taken.
    """
    app = make_app(config)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, keepalive_timeout=75.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
        port = runner.addresses[0][1]
        yield f"http://{config.host}:{port}", app[api.SANDBOX]
    finally:
        await runner.cleanup()


async def serve(
    config: SandboxConfig, stop: asyncio.Event, started: Callable[[str], None] | None = None
) -> None:
    """Serve until `stop` is set. Calls `started` with the base URL.

    Raises OSError when the port is taken.
    """
    async with running(config) as (url, _):
        if started is not None:
            started(url)
        await stop.wait()


async def run(config: SandboxConfig) -> None:
    """Serve until the task is cancelled."""
    await serve(config, asyncio.Event())


async def say(url: str, from_: str, to: str, body: str, **more: object) -> dict[str, Any]:
    """Send a message as a person, through the sandbox at `url`. Returns the sandbox's JSON.

    `more` holds further members of POST /sandbox/say.

    Raises ValueError with the sandbox's error text when it refuses, and aiohttp.ClientError when no
    sandbox answers there.
    """
    words = {"from": from_, "to": to, "body": body, **more}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url.rstrip('/')}/sandbox/say", json=words) as answer,
    ):
        result: dict[str, Any] = await answer.json()
    if answer.status != 200:
        raise ValueError(f"the sandbox refused: {result.get('error', answer.status)}")
    return result


async def _running(app: web.Application) -> AsyncIterator[None]:
    sandbox = app[api.SANDBOX]
    sandbox.open()
    yield
    await sandbox.close()


async def _free_hanging(app: web.Application) -> None:
    app[api.SANDBOX].closing.set()
