"""Queuing many messages, against arq's `enqueue_job` 50 at a time.

`enqueue_validated` builds each message from its fields, so pydantic validates it within the time.
`enqueue_built` is given messages that were built before. The producer's process counts.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Final

from bench.child_commands import cpu_seconds
from bench.row import CPU_AND_RATE, Place, Row, Sizes, Spent
from bench.rows import vanilla_arq
from bench.world import WrongEndError, messages
from sendwindow import Producer, SendMessage


async def _send(place: Place, batch: Iterable[SendMessage]) -> Mapping[str, float]:
    async with Producer(place.store_url) as producer:
        await producer.status("warm-up")  # opens the connection
        cpu, wall = cpu_seconds(), time.perf_counter()
        summary = await producer.send_many(batch)
        spent = Spent(cpu_seconds() - cpu, time.perf_counter() - wall, len(summary.receipts))
    if spent.messages != place.size:
        raise WrongEndError(f"{place.size - spent.messages} messages were not queued")
    return spent.figures()


async def measure_validated(place: Place) -> Mapping[str, float]:
    return await _send(place, messages(place.size))


async def measure_built(place: Place) -> Mapping[str, float]:
    return await _send(place, list(messages(place.size)))


async def measure_arq(place: Place) -> Mapping[str, float]:
    redis = vanilla_arq.arq_redis(place.store_url)
    await redis.ping()
    cpu, wall = cpu_seconds(), time.perf_counter()
    await vanilla_arq.enqueue(redis, place.size)
    spent = Spent(cpu_seconds() - cpu, time.perf_counter() - wall, place.size)
    await redis.aclose()
    return spent.figures()


ROWS: Final = (
    Row(
        "enqueue_validated",
        "queues messages with `send_many`, which validates each of them",
        CPU_AND_RATE,
        Sizes(20_000, 1_000, 50),
        measure_validated,
        mock="none",
    ),
    Row(
        "enqueue_built",
        "the same with messages that were built before",
        CPU_AND_RATE,
        Sizes(20_000, None, 50),
        measure_built,
        mock="none",
    ),
    Row(
        "enqueue_arq",
        "queues jobs with arq's `enqueue_job`, 50 at a time",
        CPU_AND_RATE,
        Sizes(20_000, 1_000, 50),
        measure_arq,
        mock="none",
    ),
)
