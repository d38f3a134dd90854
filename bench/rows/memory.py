"""Bytes of the store per message: while it is queued, and after its final status.

`queued` leaves out the job itself, which is the backend's content in arq's wire form. `finished`
counts everything that is left. Both leave out the answers to calls, which the store keeps for
minutes so that a call can be repeated.

The numbers are differences of `used_memory`, after a few messages that make the store grow what it
needs once. A table of the store that doubles in between shows, so a small size is coarse.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from redis.asyncio import Redis

from bench.reported import report_final, send_all, send_waiting
from bench.row import Figure, Place, Row, Sizes
from bench.world import enqueue, message, opened, record_people
from sendwindow.keys import Keys

_WARM_UP: Final = 50
_MAX_BATCH_KEYS: Final = 500
_KEYS: Final = Keys("p0")
_PASSING: Final = ("mem_aof_buffer", "used_memory_scripts")
"""What INFO counts in `used_memory` and no message caused."""


async def _used(redis: Redis) -> int:
    """Return the bytes that the store's data uses, without the answers to calls.

    What connections, the append-only file and scripts take for a while is left out.
    """
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.info("memory")
        pipeline.client_list()
        used, clients = await pipeline.execute()
    passing = sum(int(used.get(name, 0)) for name in _PASSING)
    passing += sum(int(client["tot-mem"]) for client in clients)
    answers = [key async for key in redis.scan_iter(f"{_KEYS.answered('*')}", count=1_000)]
    return int(used["used_memory"]) - passing - sum(await _each(redis, "memory_usage", answers))


async def _each(redis: Redis, command: str, keys: Sequence[str | bytes]) -> list[int]:
    """Return what a command says about each key. 0 for a key that has just run out."""
    found: list[int] = []
    for start in range(0, len(keys), _MAX_BATCH_KEYS):
        pipeline = redis.pipeline(transaction=False)
        for key in keys[start : start + _MAX_BATCH_KEYS]:
            getattr(pipeline, command)(key)
        found.extend(int(size or 0) for size in await pipeline.execute())
    return found


async def measure(place: Place) -> Mapping[str, float]:
    redis: Redis = Redis.from_url(place.store_url)
    where = place.store_url, place.base_url
    async with opened(place.store_url) as store:
        await record_people(store, max(place.size, _WARM_UP))
        warm_up = [f"warm-up-{number}" for number in range(_WARM_UP)]
        await report_final(store, *where, await send_all(store, *where, warm_up))
        before = await _used(redis)
        names = [f"message-{number}" for number in range(place.size)]
        await enqueue(
            place.store_url, (message(at, message_id=name) for at, name in enumerate(names))
        )
        jobs = sum(await _each(redis, "strlen", [_KEYS.job(name) for name in names]))
        queued = await _used(redis) - before - jobs
        accepted = await send_waiting(store, *where, names, _WARM_UP)
        await report_final(store, *where, accepted)
        finished = await _used(redis) - before
    await redis.aclose()
    return {
        "job": jobs / place.size,
        "queued": queued / place.size,
        "finished": finished / place.size,
    }


ROWS: Final = (
    Row(
        "memory",
        "what a message takes of the store while it is queued, and after its final status",
        (
            Figure("job", "the job itself", "bytes"),
            Figure("queued", "queued, beyond the job", "bytes"),
            Figure("finished", "after the final status", "bytes"),
        ),
        Sizes(10_000, 500, 40),
        measure,
        group="situation",
    ),
)
