"""Holds the answer to a stop until no POST to that person can start any more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from worker.clock import monotonic
from worker.ports import People

LONGEST_SECONDS: Final = 5.0
"""Permits are valid for 2 s, and Twilio waits 15 s for an answer."""

_STEP_SECONDS: Final = 0.025

Sleep = Callable[[float], Awaitable[None]]


async def wait_for_permits(
    people: People, digest: str, left_ms: int, longest: float, sleep: Sleep = asyncio.sleep
) -> int:
    """Wait until every open permit of a person is settled or has lapsed, at most `longest` seconds.

    `left_ms`: what the store said last. Answers the milliseconds that are still open, 0 in almost every case.
    """
    deadline = monotonic() + longest
    while left_ms > 0:
        left = deadline - monotonic()
        if left <= 0:
            return left_ms
        # settled early more often than not, so it is looked at again before it can have lapsed
        await sleep(min(left_ms / 1000, _STEP_SECONDS, left))
        left_ms = await people.permits_left_ms(digest)
    return 0
