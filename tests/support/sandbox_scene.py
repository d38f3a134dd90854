"""A sandbox with a gateway behind its callback URLs, which records what comes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from sandbox.app import running
from sandbox.config import SandboxAccount, SandboxConfig, SandboxSettings
from sandbox.state import Sandbox
from tests.support.cast import ACCOUNT_SID, ANNA, SHOP
from tests.support.waiting import HANG_SECONDS

PUBLIC = "https://hooks.example.com"


CALLBACK = f"{PUBLIC}/twilio/status?m=order%3A1&a=1#rc=5&rp=all"


@dataclass
class Gateway:
    """A gateway with scripted answers that records path with query, form and headers."""

    came: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    answers: Iterator[int] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
        self.came.append((request.raw_path, form, dict(request.headers)))
        return web.Response(status=next(self.answers, 200) if self.answers else 204)

    def statuses(self) -> list[str]:
        return [form["MessageStatus"] for _, form, _ in self.came]


@dataclass
class Scene:
    """A running sandbox, a gateway behind its callback URLs, and a sender."""

    url: str
    state: Sandbox
    gateway: Gateway
    session: aiohttp.ClientSession

    async def send(self, **more: str) -> dict[str, Any]:
        form = {"To": ANNA, "From": SHOP, "Body": "hello", "StatusCallback": CALLBACK} | more
        url = f"{self.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        async with self.session.post(url, data=form, headers={"Authorization": BASIC}) as answer:
            body: dict[str, Any] = await answer.json()
            return body

    async def order(self, what: str, body: object) -> Any:
        async with self.session.post(f"{self.url}/sandbox/{what}", json=body) as answer:
            return await answer.json()

    async def fault(self, action: str, **more: Any) -> None:
        await self.order("faults", {"rules": [{"action": action, **more}]})

    async def drained(self) -> None:
        async with asyncio.timeout(HANG_SECONDS):
            await self.state.callbacks.drained()


BASIC = "Basic " + base64.b64encode(f"{ACCOUNT_SID}:secret".encode()).decode()


@asynccontextmanager
async def scene(tmp_path: Path | None = None, **account: Any) -> AsyncIterator[Scene]:
    """Run everything on loopback."""
    gateway = Gateway()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", gateway.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = SandboxConfig(
        accounts=(SandboxAccount(sid=ACCOUNT_SID, token="secret", **account),),
        inbound_url=f"{PUBLIC}/twilio/inbound",
        rewrites={PUBLIC: f"http://127.0.0.1:{runner.addresses[0][1]}"},
        journal=tmp_path / "sandbox.jsonl" if tmp_path else None,
        settings=SandboxSettings(callback_delay_ms=0, callback_retry_ms=1),
    )
    try:
        async with running(config) as (url, state), aiohttp.ClientSession() as session:
            await session.post(
                f"{url}/sandbox/people", json={"from": ANNA, "to": SHOP, "wrote_ago_ms": 60_000}
            )
            yield Scene(url, state, gateway, session)
    finally:
        await runner.cleanup()


def lines(tmp_path: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines of one event in the sandbox's journal."""
    every = [json.loads(line) for line in (tmp_path / "sandbox.jsonl").read_text().splitlines()]
    return [line for line in every if line["e"] == event]
