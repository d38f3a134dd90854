"""The sandbox as a process that starts and stops."""

import asyncio
from typing import Any

import aiohttp
import pytest

from sandbox.app import serve
from sandbox.config import SandboxAccount, SandboxConfig
from tests.support.cast import ACCOUNT_SID
from tests.support.sandbox_scene import BASIC
from tests.support.waiting import HANG_SECONDS, until


@pytest.mark.asyncio
async def test_it_serves_until_it_is_stopped() -> None:
    """`serve` prints its URL, answers, and ends at the event, even with hanging requests."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    config = SandboxConfig(accounts=(SandboxAccount(sid=ACCOUNT_SID, token="secret"),))
    serving = asyncio.create_task(serve(config, stop, url.set_result))
    async with asyncio.timeout(HANG_SECONDS), aiohttp.ClientSession() as session:
        base = await url
        async with session.get(f"{base}/sandbox/health") as answer:
            assert await answer.json() == {"ok": True}
        await session.post(f"{base}/sandbox/faults", json={"rules": [{"action": "accept_hang"}]})
        form = {"To": "+14155550123", "From": "+14155550100", "Body": "x"}
        hanging = asyncio.create_task(
            session.post(
                f"{base}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json",
                data=form,
                headers={"Authorization": BASIC},
            )
        )

        async def stats() -> dict[str, Any]:
            async with session.get(f"{base}/sandbox/stats") as answer:
                found: dict[str, Any] = await answer.json()
                return found

        await until(stats, "the POST to arrive", holds=lambda found: found["accepted"])
        stop.set()
        await serving
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            await hanging
