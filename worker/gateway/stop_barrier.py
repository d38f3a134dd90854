"""Delays the response to a stop until no POST to that person can start."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from worker.ports.people import People
from worker.runtime.clock import monotonic

MAX_SECONDS: Final = 5.0
"""How long the response is delayed at most.

A permit is valid for 2 s, and Twilio waits 15 s for a response.
"""

PERMIT_SECONDS: Final = 2.0
"""A permit that was open when the stop was stored has expired after this time.

This holds even if the store's clock jumps.
"""

_STEP_SECONDS: Final = 0.025

Sleep = Callable[[float], Awaitable[None]]


async def wait_for_permits(
    people: People, digest: str, left_ms: int, longest: float, sleep: Sleep = asyncio.sleep
) -> int:
    """Wait until every open permit of a person is settled or has expired.

    Waits at most `longest` seconds. `left_ms` is what the store returned for the stop: 0 when every
    permit is settled, negative when a permit is unsettled but has expired by the store's clock.
    The store's clock may have jumped, so an unsettled permit counts as expired only when its time
    is also over by this process's clock.

    Returns the milliseconds that a permit is still open; this is almost always 0.
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
        # A permit is usually settled before it expires, so check again after a short step.
        await sleep(min(left, _STEP_SECONDS, began + longest - now))
        left_ms = await people.permits_left_ms(digest)
    return 0
