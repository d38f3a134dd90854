"""Has worker processes send what is queued, and measures what that takes of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from bench.child import Child
from bench.row import Spent
from bench.world import PARTITION, ended, opened, wait_for_ends, written_settings


@asynccontextmanager
async def service(
    role: str, settings: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run a worker or a gateway that is loaded and waits for the word `go`."""
    arguments = {"role": role, "settings": settings}
    async with await Child.start("bench.service_process", arguments, environ) as child:
        await child.answer()
        yield child


@asynccontextmanager
async def working(
    store_url: str, base_url: str, slots: int, partition: str = PARTITION
) -> AsyncIterator[Child]:
    """Run one worker that takes messages."""
    settings = written_settings(store_url, base_url, slots, partition=partition)
    async with service("worker", settings) as worker:
        await worker.ask("go")
        await worker.ask("ready")
        yield worker


async def send_queued(
    store_url: str,
    settings: Mapping[str, Any],
    number: int,
    *,
    workers: int = 1,
    environ: Mapping[str, str] | None = None,
) -> Spent:
    """Have workers send the queued messages, and measure them until `number` were accepted.

    It measures from when every worker has made its first claim: what a process takes to start is
    left out, and so is what was accepted before. More messages than `number` may have been accepted
    when the row looks; all of them count.
    """
    async with opened(store_url) as store, AsyncExitStack() as stack:
        children = await asyncio.gather(
            *(
                stack.enter_async_context(service("worker", settings, environ))
                for _ in range(workers)
            )
        )
        await asyncio.gather(*(child.ask("go") for child in children))
        ready = await asyncio.gather(*(child.ask("ready") for child in children))
        before, began = await ended(store), time.monotonic()
        cpu = sum(await asyncio.gather(*(child.cpu() for child in children)))
        if before >= number:  # only with tiny numbers: everything was sent at once
            before, began = 0, min(one["at"] for one in ready)
            cpu = sum(one["cpu"] for one in ready)
        done, over = await wait_for_ends(store, number), time.monotonic()
        used = sum(await asyncio.gather(*(child.cpu() for child in children)))
    return Spent(used - cpu, over - began, done - before)
