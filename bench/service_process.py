"""A worker or a gateway in a process of its own, so that only its own processor time counts.

It loads everything, says so, and starts on the word `go`. `ready` waits until a worker has made its
first claim, or until a gateway accepts requests.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping

import aiohttp
import uvloop

from bench.child_commands import answer_commands, cpu_seconds, say
from bench.world import parse
from worker.services import GatewayService, WorkerService
from worker.settings.settings import Settings
from worker.telemetry.logs import configure_logs

_LOOK_SECONDS = 0.005
_READY_SECONDS = 30.0


async def _worker_is_ready(service: WorkerService) -> bool:
    return service.problem is None


async def _gateway_is_ready(settings: Settings) -> bool:
    url = f"http://127.0.0.1:{settings.gateway.port}/health/ready"
    with contextlib.suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    return False


async def serve(role: str, settings: Settings) -> None:
    """Run the service from the word `go` until the standard input closes."""
    service = WorkerService(settings) if role == "worker" else GatewayService(settings)
    running: asyncio.Task[None] | None = None

    async def go() -> Mapping[str, object]:
        nonlocal running
        running = asyncio.create_task(service.run(), name="service")
        return {}

    async def is_ready() -> bool:
        if isinstance(service, WorkerService):
            return await _worker_is_ready(service)
        return await _gateway_is_ready(settings)

    async def ready() -> Mapping[str, object]:
        async with asyncio.timeout(_READY_SECONDS):
            while not await is_ready():
                if running is not None and running.done():
                    running.result()
                await asyncio.sleep(_LOOK_SECONDS)
        return {"cpu": cpu_seconds(), "at": time.monotonic()}

    say({"loaded": True})
    await answer_commands({"go": go, "ready": ready})
    if running is not None:
        await service.stop()
        await running


def main() -> None:
    """Run with a log in a file, as in production: every line is written."""
    given = json.loads(sys.argv[1])
    settings = parse(given["settings"])
    with tempfile.TemporaryFile("w") as log, contextlib.redirect_stderr(log):
        configure_logs(settings.log, context={"role": given["role"], "pid": os.getpid()})
        uvloop.run(serve(given["role"], settings))


if __name__ == "__main__":
    main()
