"""Frozen reference: arq as its documentation shows it, with the same work per message.

That is three reads, a POST and two writes. Settings: max_jobs=100, poll_delay=0.5 (its default),
keep_result=0, JSON codec, and burst mode, so that it ends by itself.

The `arq_…` rows change one setting each. They are slower, which shows that these settings do arq no
injustice.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.asyncio import ConnectionPool

from bench.child_commands import cpu_seconds
from bench.posted import ACCOUNT_SID, FORM, MAX_BATCH_MESSAGES
from bench.row import CPU_AND_RATE, Place, Row, Sizes, Spent

QUEUE: Final = "bench:arq"


@dataclass(frozen=True, slots=True)
class ArqSettings:
    """What a row sets of arq's worker. `keep_result` is in seconds."""

    max_jobs: int = MAX_BATCH_MESSAGES
    poll_delay: float = 0.5
    keep_result: int = 0


def _dumps(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


async def send_message(ctx: dict[str, Any], number: int) -> None:
    redis: ArqRedis = ctx["redis"]
    await redis.get(f"bench:consent:{number}")
    await redis.get(f"bench:window:{number}")
    await redis.get("bench:template")
    await redis.set(f"bench:intent:{number}", "1")
    async with ctx["session"].post(ctx["url"], data=FORM) as response:
        sid = (await response.json())["sid"]
    await redis.set(f"bench:result:{number}", sid)


def arq_redis(store_url: str) -> ArqRedis:
    """Open a connection as arq's producers and workers do, with the JSON codec."""
    return ArqRedis(
        ConnectionPool.from_url(store_url),
        job_serializer=_dumps,
        job_deserializer=json.loads,
        default_queue_name=QUEUE,
    )


async def enqueue(redis: ArqRedis, messages: int) -> None:
    """Queue a job for each message, 50 at a time."""
    for start in range(0, messages, 50):
        await asyncio.gather(
            *(
                redis.enqueue_job("send_message", number)
                for number in range(start, min(start + 50, messages))
            )
        )


async def measure(settings: ArqSettings, place: Place) -> Mapping[str, float]:
    logging.disable(logging.CRITICAL)
    redis = arq_redis(place.store_url)
    await enqueue(redis, place.size)
    headers = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT_SID, "secret")}
    url = f"{place.base_url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=MAX_BATCH_MESSAGES),
        timeout=aiohttp.ClientTimeout(total=30),
        headers=headers,
    ) as session:
        worker = Worker(
            functions=[send_message],
            redis_pool=redis,
            queue_name=QUEUE,
            burst=True,
            max_jobs=settings.max_jobs,
            poll_delay=settings.poll_delay,
            keep_result=settings.keep_result,
            handle_signals=False,
            ctx={"session": session, "url": url},
            job_serializer=_dumps,
            job_deserializer=json.loads,
        )
        cpu, wall = cpu_seconds(), time.perf_counter()
        await worker.async_run()
        spent = Spent(cpu_seconds() - cpu, time.perf_counter() - wall, worker.jobs_complete)
        await worker.close()
    assert spent.messages == place.size, "arq did not complete every job"
    return spent.figures()


def _row(name: str, what: str, settings: ArqSettings, quick: int | None = None) -> Row:
    run: Callable[[Place], Awaitable[Mapping[str, float]]] = partial(measure, settings)
    return Row(name, what, CPU_AND_RATE, Sizes(5000, quick, 20), run)


ROWS: Final = (
    _row("vanilla_arq", "posts each of them from a job of plain arq", ArqSettings(), 500),
    _row("arq_50_jobs", "the same with 50 jobs at a time", ArqSettings(max_jobs=50)),
    _row("arq_200_jobs", "the same with 200 jobs at a time", ArqSettings(max_jobs=200)),
    _row("arq_fast_poll", "the same with a poll every 100 ms", ArqSettings(poll_delay=0.1)),
    _row(
        "arq_keeps_results",
        "the same with results kept for an hour, arq's default",
        ArqSettings(keep_result=3600),
    ),
)
