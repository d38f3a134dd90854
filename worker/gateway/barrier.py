"""Holds the answer to a stop until no POST to that person can start any more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from worker.clock import monotonic
from worker.ports import People

LONGEST_SECONDS: Final = 5.0
"""Permits are valid for 2 s, and Twilio waits 15 s for an answer."""

PERMIT_SECONDS: Final = 2.0
"""A permit that was open when the stop was stored has lapsed this long afterwards, whatever the store's clock does."""

_STEP_SECONDS: Final = 0.025

Sleep = Callable[[float], Awaitable[None]]


async def wait_for_permits(
    people: People, digest: str, left_ms: int, longest: float, sleep: Sleep = asyncio.sleep
) -> int:
    """Wait until every open permit of a person is settled or has lapsed, at most `longest` seconds.

    `left_ms`: what the store said with the stop: 0 when every permit is settled, negative when one is not settled but
    has lapsed by the store's clock. That clock may have jumped, so an unsettled permit has lapsed only when its time is
    over by this process's clock too. Returns the milliseconds that are still open, 0 in almost every case.
    """
    began = monotonic()
    while left_ms != 0:
        now = monotonic()
        own_left = began + PERMIT_SECONDS - now
        left = max(left_ms / 1000, own_left)
        if left <= 0:
            return 0
        if now >= began + longest:
            return left_ms if left_ms > 0 else max(1, round(left * 1000))
        # settled early more often than not, so it is looked at again before it can have lapsed
        await sleep(min(left, _STEP_SECONDS, began + longest - now))
        left_ms = await people.permits_left_ms(digest)
    return 0
