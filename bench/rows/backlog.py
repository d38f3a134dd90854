"""What a worker costs while 1,000, 100,000 or 1,000,000 messages are queued.

The size is how many are queued, in up to 100 campaigns. The first 1,000 that go out are measured,
so that a large backlog stays large.
"""

from collections.abc import Mapping
from typing import Final

from bench.row import CPU_AND_RATE, Place, Row, Sizes
from bench.sending import send_queued
from bench.world import bulk, enqueue, opened, record_people, written_settings

CAMPAIGNS: Final = 100
_MEASURED: Final = 1_000


async def measure(place: Place) -> Mapping[str, float]:
    async with opened(place.store_url) as store:
        await record_people(store, place.size)
    await enqueue(place.store_url, bulk(place.size, CAMPAIGNS))
    settings = written_settings(place.store_url, place.base_url)
    number = min(_MEASURED, place.size)
    return (await send_queued(place.store_url, settings, number)).figures()


ROWS: Final = (
    Row(
        "backlog_1k",
        "the first 1,000 messages go out, of 1,000 in 100 campaigns",
        CPU_AND_RATE,
        Sizes(1_000, None, 20),
        measure,
    ),
    Row(
        "backlog_100k",
        "the first 1,000 go out, of 100,000 in 100 campaigns",
        CPU_AND_RATE,
        Sizes(100_000, None, 40),
        measure,
    ),
    Row(
        "backlog_1m",
        "the first 1,000 go out, of 1,000,000 in 100 campaigns",
        CPU_AND_RATE,
        Sizes(1_000_000, None, 60),
        measure,
        on_request=True,
        limit=1_200,
    ),
)
