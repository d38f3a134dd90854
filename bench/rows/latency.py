"""How long a message waits between the call that queues it and its POST.

`latency_50` queues 50 messages a second. `latency_half` first measures what one worker sends when
it always has work, and then queues half as many a second. One worker, 25 slots, and a mock that
answers at once. The size is how many messages are measured.
"""

from collections.abc import Mapping
from typing import Final

from bench.mock_api import Script
from bench.row import Figure, Place, Row, Sizes
from bench.scripted_mock import SLOTS, ScriptedMock, scripted_mock
from bench.sending import send_queued, working
from bench.waits import send_paced, waits_of
from bench.world import enqueue, messages, opened, record_people, written_settings

_PER_SECOND: Final = 50.0
_WARM_UP: Final = 25
"""Messages before those that count. They open the connections and fill the caches."""
_CAPACITY_PART: Final = 2
"""How many times the measured messages the capacity is measured with."""
_SECONDS: Final = 60.0
WAIT_FIGURES: Final = (
    Figure("p50", "enqueue to POST, p50", "ms", 1),
    Figure("p99", "enqueue to POST, p99", "ms", 1),
)


async def _waits(place: Place, mock: ScriptedMock, per_second: float) -> Mapping[str, float]:
    async with working(place.store_url, mock.base_url, SLOTS):
        await send_paced(place.store_url, list(messages(_WARM_UP)), per_second)
        began = await send_paced(place.store_url, list(messages(place.size)), per_second)
        waits = await waits_of(mock, began, _SECONDS)
    return {"p50": waits.ms(0.5), "p99": waits.ms(0.99)}


async def measure(place: Place) -> Mapping[str, float]:
    async with opened(place.store_url) as store, scripted_mock(Script(remembers=True)) as mock:
        await record_people(store, max(place.size, _WARM_UP))
        return await _waits(place, mock, _PER_SECOND)


async def measure_half(place: Place) -> Mapping[str, float]:
    async with opened(place.store_url) as store, scripted_mock(Script(remembers=True)) as mock:
        number = _CAPACITY_PART * place.size
        await record_people(store, max(number, _WARM_UP))
        await enqueue(place.store_url, messages(number))
        settings = written_settings(place.store_url, mock.base_url, SLOTS)
        spent = await send_queued(place.store_url, settings, number)
        half = spent.messages / spent.wall / 2
        return {"at": half, **await _waits(place, mock, half)}


ROWS: Final = (
    Row(
        "latency_50",
        "how long messages wait for their POST when 50 a second are queued",
        WAIT_FIGURES,
        Sizes(1_000, 50, 10),
        measure,
        mock="scripted",
    ),
    Row(
        "latency_half",
        "the same at half of what one worker can send",
        (Figure("at", "queued a second", "/s"), *WAIT_FIGURES),
        Sizes(3_000, None, 10),
        measure_half,
        mock="scripted",
    ),
)
