"""How long urgent messages of one account wait while another account is in trouble.

`isolation`: another account queues a flood of bulk messages. `hanging_account`: Twilio hangs for
every POST of another account. Both first measure the same messages on a quiet worker: one worker,
25 slots, and a mock that takes 50 ms on average.

The size is how many urgent messages are measured, 20 a second. One that has not gone out 30 s after
the last was queued counts as if it went out then.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bench.mock_api import Script
from bench.row import Figure, Place, Row, Sizes
from bench.scripted_mock import SLOTS, ScriptedMock, scripted_mock
from bench.sending import working
from bench.waits import Waits, send_paced, waits_of
from bench.world import (
    OTHER_ADDRESS,
    PEOPLE,
    SENDERS,
    WrongEndError,
    bulk,
    enqueue,
    messages,
    opened,
    record_people,
)
from sendwindow import Priority

_PER_SECOND: Final = 20.0
_FLOOD_PER_MESSAGE: Final = 100
"""Bulk messages for each urgent one: more than the worker sends in the meantime."""
_HANGING: Final = 200
_HANG_SECONDS: Final = 3.0
_SECONDS: Final = 30.0
_SCRIPT: Final = Script(mean=0.05, p95=0.1, remembers=True)


async def _urgent_waits(place: Place, mock: ScriptedMock) -> Waits:
    urgent = list(messages(place.size, priority=Priority.URGENT))
    began = await send_paced(place.store_url, urgent, _PER_SECOND)
    return await waits_of(mock, began, _SECONDS, all_go=False)


def _figures(quiet: Waits, troubled: Waits) -> Mapping[str, float]:
    return {
        "quiet_p50": quiet.ms(0.5),
        "quiet_p99": quiet.ms(0.99),
        "p50": troubled.ms(0.5),
        "p99": troubled.ms(0.99),
    }


async def measure_flood(place: Place) -> Mapping[str, float]:
    async with opened(place.store_url) as store, scripted_mock(_SCRIPT) as mock:
        await record_people(store, PEOPLE, SENDERS)
        async with working(place.store_url, mock.base_url, SLOTS):
            quiet = await _urgent_waits(place, mock)
            before, number = await mock.asked(), _FLOOD_PER_MESSAGE * place.size
            await enqueue(place.store_url, bulk(number, 1, sender="other"))
            troubled = await _urgent_waits(place, mock)
            if await mock.asked() - before >= number + place.size:
                raise WrongEndError("the flood was over before the urgent messages were")
            return _figures(quiet, troubled)


async def measure_hanging(place: Place) -> Mapping[str, float]:
    script = replace(_SCRIPT, hanging=OTHER_ADDRESS, hang_seconds=_HANG_SECONDS)
    async with opened(place.store_url) as store, scripted_mock(script) as mock:
        await record_people(store, PEOPLE, SENDERS)
        async with working(place.store_url, mock.base_url, SLOTS):
            quiet = await _urgent_waits(place, mock)
            await enqueue(place.store_url, bulk(_HANGING, 1, sender="other"))
            return _figures(quiet, await _urgent_waits(place, mock))


_FIGURES: Final = (
    Figure("quiet_p50", "urgent on a quiet worker, p50", "ms", 1),
    Figure("quiet_p99", "urgent on a quiet worker, p99", "ms", 1),
    Figure("p50", "urgent next to the trouble, p50", "ms", 1),
    Figure("p99", "urgent next to the trouble, p99", "ms", 1),
)

ROWS: Final = (
    Row(
        "isolation",
        "how long urgent messages wait while another account floods the store with bulk",
        _FIGURES,
        Sizes(200, 20, 5),
        measure_flood,
        mock="scripted",
        group="situation",
    ),
    Row(
        "hanging_account",
        f"the same while every POST of another account hangs for {_HANG_SECONDS:.0f} s",
        _FIGURES,
        Sizes(200, 20, 5),
        measure_hanging,
        mock="scripted",
        group="situation",
    ),
)
