"""Whether the campaigns of one sender cost another sender its share.

`urgent_1` and `urgent_1000`: one sender's bulk backlog is in 1 campaign or in 1,000; another
account's urgent messages then come all at once. The figure is when the last of them goes out; one
that has not gone out after 30 s counts as 30 s, and `unsent` counts those behind 1,000 campaigns.
`share`: two senders have a bulk backlog each, one in 1,000 campaigns and the other in one. The
figure is what the other gets of the POSTs; half is fair.

One worker with 10 slots, and a mock that takes 50 ms on average. The size is the backlog.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from bench.mock_api import Script
from bench.row import Figure, Place, Row, Sizes
from bench.scripted_mock import Post, ScriptedMock, scripted_mock
from bench.sending import working
from bench.waits import Waits, send_together, waits_of
from bench.world import PEOPLE, SENDERS, bulk, enqueue, messages, opened, record_people
from sendwindow import Priority

_SLOTS: Final = 10
_MANY: Final = 1_000
_URGENT_PART: Final = 100
_SHARE_PART: Final = 40
"""The backlog divided by these: how many urgent messages come, and in how many POSTs the share is
counted."""
_SECONDS: Final = 30.0
_SCRIPT: Final = Script(mean=0.05, p95=0.1, remembers=True)


async def _posts(mock: ScriptedMock, number: int) -> Sequence[Post]:
    """Wait for so many POSTs, and return the first of them."""
    await mock.wait_for(number)
    return (await mock.posts())[:number]


async def _urgent_behind(place: Place, partition: str, campaigns: int) -> Waits:
    async with opened(place.store_url, partition) as store, scripted_mock(_SCRIPT) as mock:
        await record_people(store, PEOPLE, SENDERS)
        await enqueue(place.store_url, bulk(place.size, campaigns), partition)
        async with working(place.store_url, mock.base_url, _SLOTS, partition):
            await _posts(mock, _SLOTS)
            number = max(1, place.size // _URGENT_PART)
            urgent = list(messages(number, sender="other", priority=Priority.URGENT))
            began = await send_together(place.store_url, urgent, partition)
            return await waits_of(mock, began, _SECONDS, all_go=False)


async def _share(place: Place) -> float:
    """Return what the sender with one campaign gets of the POSTs, in percent."""
    async with opened(place.store_url, "share") as store, scripted_mock(_SCRIPT) as mock:
        await record_people(store, PEOPLE, SENDERS)
        await enqueue(place.store_url, bulk(place.size, _MANY), "share")
        others = list(bulk(place.size, 1, sender="other"))
        await enqueue(place.store_url, others, "share")
        async with working(place.store_url, mock.base_url, _SLOTS, "share"):
            posts = await _posts(mock, max(_SLOTS, place.size // _SHARE_PART))
        ids = {one.message_id for one in others}
        return 100 * sum(post.message_id in ids for post in posts) / len(posts)


async def measure(place: Place) -> Mapping[str, float]:
    one = await _urgent_behind(place, "one", 1)
    many = await _urgent_behind(place, "many", _MANY)
    return {
        "urgent_1": max(one.seconds),
        "urgent_1000": max(many.seconds),
        "unsent": many.unsent,
        "share": await _share(place),
    }


ROWS: Final = (
    Row(
        "campaigns",
        "what 1,000 campaigns of one sender cost another sender",
        (
            Figure("urgent_1", "last urgent message, behind 1 campaign", "s", 2),
            Figure("urgent_1000", "last urgent message, behind 1,000", "s", 2),
            Figure("unsent", "urgent not sent in 30 s, behind 1,000"),
            Figure("share", "share next to 1,000 campaigns; half is fair", "%"),
        ),
        Sizes(20_000, 500, 200),
        measure,
        mock="scripted",
        group="situation",
        limit=300,
    ),
)
