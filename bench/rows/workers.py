"""1, 2, 4 and 8 workers, each with 25 POSTs in flight that take as long as Twilio does.

The size is messages per worker, so that every row of a round takes about the same time. More
workers must neither slow each other down nor cost more each.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from bench.row import CPU_AND_RATE, Place, Row, Sizes
from bench.scripted_mock import LIKE_TWILIO, SLOTS, scripted_mock
from bench.sending import send_queued
from bench.world import enqueue, messages, opened, record_people, written_settings


async def measure(workers: int, place: Place) -> Mapping[str, float]:
    number = workers * place.size
    async with opened(place.store_url) as store:
        await record_people(store, number)
    await enqueue(place.store_url, messages(number))
    async with scripted_mock(LIKE_TWILIO) as mock:
        settings = written_settings(place.store_url, mock.base_url, SLOTS)
        return (await send_queued(place.store_url, settings, number, workers=workers)).figures()


def _row(workers: int, *, is_quick: bool) -> Row:
    run: Callable[[Place], Awaitable[Mapping[str, float]]] = partial(measure, workers)
    return Row(
        f"workers_{workers}",
        f"sends through {workers} worker{'s' if workers > 1 else ''} with 25 in flight each, "
        "when an answer takes as long as Twilio's",
        CPU_AND_RATE,
        Sizes(1250, 125 if is_quick else None, 10),
        run,
        mock="scripted",
    )


ROWS: Final = (
    _row(1, is_quick=True),
    _row(2, is_quick=True),
    _row(4, is_quick=False),
    _row(8, is_quick=False),
)
