"""What a paused sender costs the others while its backend goes on queuing.

A sender with a backlog in 256 campaigns is paused, and 100 messages a second are still queued for
it. Meanwhile another account's messages come, 50 a second, and other persons write STOP. The row
shows how long those messages wait, how long it takes to store a STOP, what part of the time the
store is busy, and its longest call. A message that is not sent at all counts with the time for
which the row waited. The size is the backlog.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from redis.asyncio import Redis

from bench.mock_api import Script
from bench.row import Figure, Place, Row, Sizes
from bench.scripted_mock import SLOTS, scripted_mock
from bench.sending import working
from bench.summary import percentile
from bench.waits import send_paced, waits_of
from bench.world import PEOPLE, SENDERS, bulk, enqueue, messages, opened, record_people
from tests.support.cast import whatsapp
from worker.ports.people import Inbound
from worker.stores.store import Store

_CAMPAIGNS: Final = 256
_PAUSED_PER_SECOND: Final = 100.0
_OTHERS_PER_SECOND: Final = 50.0
_STOP_SECONDS: Final = 0.02
_MAX_SECONDS: Final = 8
_BACKLOG_PER_SECOND: Final = 2_000
"""How long the row lasts: a second for so many messages of backlog, at most `_MAX_SECONDS`."""
_GRACE_SECONDS: Final = 2.0
_SLOW_US: Final = 500


async def _stops(store: Store, over: asyncio.Event) -> list[float]:
    """Have one person after another write STOP, and return how long each took, in seconds."""
    seconds: list[float] = []
    while not over.is_set():
        number, began = len(seconds), time.perf_counter()
        stop = Inbound(
            message_sid=f"SM{0xE << 124 | number:032x}",
            sender="other",
            account="second",
            address=whatsapp(PEOPLE + number),
            keyword="stop",
        )
        await store.people.apply_inbound([stop])
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(_STOP_SECONDS)
    return seconds


async def _main_thread_seconds(redis: Redis) -> float:
    """Return the processor seconds of the thread that runs the store's commands."""
    cpu: Any = await redis.info("cpu")
    return float(cpu["used_cpu_user_main_thread"]) + float(cpu["used_cpu_sys_main_thread"])


@asynccontextmanager
async def _watched(redis: Redis) -> AsyncIterator[dict[str, float]]:
    """Watch the store for a block, and fill in `busy` (percent) and `longest` (ms)."""
    found: dict[str, float] = {}
    await redis.config_set("slowlog-log-slower-than", str(_SLOW_US))
    await redis.config_set("slowlog-max-len", "100000")
    await redis.slowlog_reset()
    began, used = time.perf_counter(), await _main_thread_seconds(redis)
    yield found
    # Not from commandstats: it counts what a script calls a second time.
    used = await _main_thread_seconds(redis) - used
    found["busy"] = 100 * used / (time.perf_counter() - began)
    slow: Any = await redis.slowlog_get(100_000)
    found["longest"] = max((one["duration"] for one in slow), default=_SLOW_US) / 1000


async def measure(place: Place) -> Mapping[str, float]:
    redis: Redis = Redis.from_url(place.store_url)
    seconds = min(_MAX_SECONDS, max(1, place.size // _BACKLOG_PER_SECOND))
    script = Script(remembers=True)
    async with opened(place.store_url) as store, scripted_mock(script) as mock:
        await record_people(store, PEOPLE, SENDERS)
        await enqueue(place.store_url, bulk(place.size, _CAMPAIGNS))
        await store.switches.pause("sender", "shop", timedelta(hours=1), "bench")
        over = asyncio.Event()
        async with working(place.store_url, mock.base_url, SLOTS), _watched(redis) as watched:
            more = list(bulk(int(seconds * _PAUSED_PER_SECOND), _CAMPAIGNS))
            others = list(messages(int(seconds * _OTHERS_PER_SECOND), sender="other"))
            async with asyncio.TaskGroup() as tasks:
                stops = tasks.create_task(_stops(store, over))
                tasks.create_task(send_paced(place.store_url, more, _PAUSED_PER_SECOND))
                sending = tasks.create_task(send_paced(place.store_url, others, _OTHERS_PER_SECOND))
                await asyncio.wait([sending])
                waits = await waits_of(mock, sending.result(), _GRACE_SECONDS, all_go=False)
                over.set()
    await redis.aclose()
    return {
        "sent": 100 - 100 * waits.unsent / len(others),
        "p50": waits.ms(0.5),
        "p99": waits.ms(0.99),
        "stop_p99": 1000 * percentile(stops.result(), 0.99),
        **watched,
    }


ROWS: Final = (
    Row(
        "paused_sender",
        "what a paused sender with a backlog costs the others while more is queued for it",
        (
            Figure("sent", "of another account's messages, sent", "%"),
            Figure("p50", "enqueue to POST of those, p50", "ms", 1),
            Figure("p99", "enqueue to POST of those, p99", "ms", 1),
            Figure("stop_p99", "to store a STOP, p99", "ms", 1),
            Figure("busy", "of the time, the store is busy", "%"),
            Figure("longest", "longest call of the store", "ms", 1),
        ),
        Sizes(100_000, 2_000, 50),
        measure,
        mock="scripted",
        group="situation",
    ),
)
