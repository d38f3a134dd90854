"""What an outage of Twilio makes of a backlog, and how soon it flows again.

Every POST gets 503 for a while. A 503 does not prove that Twilio did not take the message, so each
POST of that time may leave an unknown outcome. The row shows how many POSTs and how many unknown
outcomes the outage makes, and how long after it the first message is accepted.

The size is the backlog. The outage lasts 20 s for 3,000 messages, and as much shorter as there are
fewer.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis

from bench.mock_api import Script
from bench.row import Figure, Place, Row, Sizes
from bench.scripted_mock import SLOTS, ScriptedMock, scripted_mock
from bench.sending import working
from bench.world import enqueue, messages, opened, record_people
from sendwindow.keys import Keys

_SECONDS: Final = 20.0
_BACKLOG_MESSAGES: Final = 3_000
_BEFORE: Final = SLOTS
"""Messages that are accepted before the outage, so that it finds a worker in full swing."""
_LOOK_SECONDS: Final = 0.05
_RECOVERY_SECONDS: Final = 120.0


async def _first_accepted(mock: ScriptedMock, since: float) -> float:
    """Return how long after `since` the first POST was accepted, in seconds."""
    async with asyncio.timeout(_RECOVERY_SECONDS):
        while True:
            for post in await mock.posts():
                if post.is_accepted and post.at >= since:
                    return post.at - since
            await asyncio.sleep(_LOOK_SECONDS)


async def measure(place: Place) -> Mapping[str, float]:
    redis: Redis = Redis.from_url(place.store_url)
    script = Script(mean=0.05, p95=0.1, remembers=True)
    async with opened(place.store_url) as store, scripted_mock(script) as mock:
        await record_people(store, place.size + _BEFORE)
        await enqueue(place.store_url, messages(place.size + _BEFORE))
        async with working(place.store_url, mock.base_url, SLOTS):
            await mock.wait_for(_BEFORE)
            await mock.go_down()
            before = await mock.asked()
            await asyncio.sleep(_SECONDS * place.size / _BACKLOG_MESSAGES)
            posted = await mock.asked() - before
            unknown: Any = await redis.zcard(Keys("p0").unknown)
            back_at = await mock.come_back()
            # What is left of the backlog may all be unknown by now, so a new message is queued.
            await enqueue(place.store_url, messages(1))
            recovery = await _first_accepted(mock, back_at)
    await redis.aclose()
    return {"posts": posted, "unknown": float(unknown), "recovery": recovery}


ROWS: Final = (
    Row(
        "outage",
        "what an outage of Twilio makes of a backlog, and how soon it flows again",
        (
            Figure("posts", "POSTs during the outage"),
            Figure("unknown", "unknown outcomes at its end"),
            Figure("recovery", "until a message is accepted again", "s", 2),
        ),
        Sizes(3_000, 450, 30),
        measure,
        mock="scripted",
        group="situation",
    ),
)
