"""How long messages wait between the call that queues them and their POST.

Messages come at random instants, on average so many a second, whether or not the earlier ones have
gone out. The mock says when each POST came, by the machine's monotonic clock. So the wait includes
the call itself, the claim, the decision, the admission, and the way of the first bytes.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.scripted_mock import Post, ScriptedMock
from bench.summary import percentile
from bench.world import WrongEndError
from sendwindow import Producer, SendMessage

_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits of messages in seconds, and how many of them had no POST.

    A message without a POST counts with the time for which the row waited for it, so the
    percentiles are then lower bounds. Left out, the worst waits would make the figures better.
    """

    seconds: Sequence[float] = field(repr=False)
    unsent: int

    def ms(self, part: float) -> float:
        """Return a percentile (0 to 1) in milliseconds."""
        return 1000 * percentile(self.seconds, part)


async def send_paced(
    store_url: str, messages: Sequence[SendMessage], per_second: float
) -> dict[str, float]:
    """Queue each message at its instant, and return when each call began.

    The instants are the same in every round.
    """
    chance, began = random.Random(2), {}
    async with Producer(store_url) as producer:
        await producer.status(messages[0].message_id)  # opens the connection
        at = time.monotonic()
        async with asyncio.TaskGroup() as calls:
            for message in messages:
                at += chance.expovariate(per_second)
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                began[message.message_id] = time.monotonic()
                calls.create_task(producer.send(message))
    return began


async def send_together(
    store_url: str, messages: Sequence[SendMessage], partition: str
) -> dict[str, float]:
    """Queue messages in one batch, and return for each when the call began."""
    async with Producer(store_url, partition) as producer:
        began = time.monotonic()
        await producer.send_many(messages)
    return {message.message_id: began for message in messages}


async def waits_of(
    mock: ScriptedMock, began: Mapping[str, float], seconds: float, *, all_go: bool = True
) -> Waits:
    """Wait until every message has a POST, at most for so many seconds, and return the waits.

    Raises WrongEndError when a message has none and `all_go`.
    """
    deadline = time.monotonic() + seconds
    while True:
        first = first_posts(await mock.posts())
        missing = began.keys() - first.keys()
        if not missing or time.monotonic() > deadline:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    if missing and all_go:
        raise WrongEndError(f"{len(missing)} of {len(began)} messages had no POST in {seconds} s")
    over = time.monotonic()
    return Waits([first.get(name, over) - at for name, at in began.items()], len(missing))


def first_posts(posts: Sequence[Post]) -> dict[str, float]:
    """Return when the first POST of each message came."""
    first: dict[str, float] = {}
    for post in posts:
        first.setdefault(post.message_id, post.at)
    return first
