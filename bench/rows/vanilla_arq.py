"""Frozen reference: arq as its documentation shows it, with the same work per message.

That is three reads, a POST and two writes. Settings: max_jobs=100, poll_delay=0.5 (its default),
keep_result=0, JSON codec, and burst mode, so that it ends by itself.
"""

import asyncio
import json
import logging
import sys
import time
from typing import Any

import aiohttp
import uvloop
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.asyncio import ConnectionPool

from bench.rows.raw_loop import AT_A_TIME, FORM

QUEUE = "bench:arq"


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


async def main(redis_url: str, base_url: str, messages: int) -> None:
    logging.disable(logging.CRITICAL)
    pool = ConnectionPool.from_url(redis_url)
    redis = ArqRedis(
        pool, job_serializer=_dumps, job_deserializer=json.loads, default_queue_name=QUEUE
    )
    for start in range(0, messages, 50):
        await asyncio.gather(
            *(
                redis.enqueue_job("send_message", number)
                for number in range(start, min(start + 50, messages))
            )
        )
    headers = {
        "Authorization": aiohttp.encode_basic_auth("AC00000000000000000000000000000000", "secret")
    }
    url = f"{base_url}/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_A_TIME),
        timeout=aiohttp.ClientTimeout(total=30),
        headers=headers,
    ) as session:
        worker = Worker(
            functions=[send_message],
            redis_pool=redis,
            queue_name=QUEUE,
            burst=True,
            max_jobs=AT_A_TIME,
            keep_result=0,
            handle_signals=False,
            ctx={"session": session, "url": url},
            job_serializer=_dumps,
            job_deserializer=json.loads,
        )
        cpu, wall = time.process_time(), time.perf_counter()
        await worker.async_run()
        spent = {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "messages": worker.jobs_complete,
        }
        await worker.close()
    print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
