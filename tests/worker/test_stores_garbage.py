"""A stored field that cannot be read is unknown: it stops neither a STOP nor any other word of a person."""

from typing import Any, Final

import pytest

from tests.worker.stores_world import ANNA, Place, opened
from worker.values.people import Inbound

KEYWORDS: Final = ("stop", "start", "stop_marketing", "start_marketing", "suspected", None)
FIELDS: Final = (
    *(
        "r",
        "in",
        "x",
        "xr",
        "xt",
        "al",
        "sp",
        "to",
        "w:shop",
        "w:page",
        "wc:shop",
        "h:main",
        "unheard of",
        "b:main|*|x|1",
    ),
    *("o:main|*", "o:main|shop", "s:main|*", "s:main|shop", "d:main|marketing|*", "c:main|marketing|*", "c:main|*|*"),
    *("o:", "c:main", "d:main|", "s:|", "h:", "b:"),
)
VALUES: Final = ("", "garbage", "-1", "1e400", "nan", "1:2", "1:x:y,0:z:", "|||", "9" * 400, "\x00", "1.5")


@pytest.mark.asyncio
@pytest.mark.parametrize("field", FIELDS)
async def test_garbage_in_a_persons_record_stops_no_word(store: Place, field: str) -> None:
    """Every keyword is applied, whatever the field holds, and a STOP is stored."""
    async with opened(store) as world:
        people, keys = world.store.people, world.calls.keys
        redis: Any = world.redis  # redis-py annotates commands for both of its flavours at once
        for number, value in enumerate(VALUES):
            address = ANNA[:-3] + f"{number:03}"
            key = keys.person(people.digest(address))
            for keyword in KEYWORDS:
                await redis.delete(key)
                await redis.hset(key, field, value)
                sid = f"SM{number:02}{KEYWORDS.index(keyword):030}"
                [applied] = await people.apply_inbound([Inbound(sid, "shop", "main", address, keyword)])
                assert applied.first
                if keyword == "stop":
                    key_now = keys.person(applied.person_digest)
                    assert await redis.hexists(key_now, "o:main|*"), (field, value)
                    assert await redis.hexists(key_now, "w:shop"), (field, value)
                    await people.facts(address, "shop", "main", None)


@pytest.mark.asyncio
@pytest.mark.parametrize("value", ["", "garbage", "a|b", "||", "a|b|c|"])
async def test_an_unreadable_mark_of_a_message_is_no_mark(store: Place, value: str) -> None:
    """The message counts as new: a STOP heard twice is harmless, one never heard is not."""
    async with opened(store) as world:
        sid = "SM" + "9" * 32
        await world.redis.set(world.calls.keys.inbound_seen(sid), value)
        [applied] = await world.store.people.apply_inbound([Inbound(sid, "shop", "main", ANNA, "stop")])
        assert (applied.first, applied.opted) == (True, "stop")


@pytest.mark.asyncio
@pytest.mark.parametrize("value", VALUES)
async def test_a_suspected_stop_that_cannot_be_read_is_listed_and_decided(store: Place, value: str) -> None:
    """It holds marketing like any other, so a person must be able to find and end it."""
    async with opened(store) as world:
        people, redis = world.store.people, world.redis
        await people.apply_inbound([Inbound("SM" + "9" * 32, "shop", "main", ANNA, "suspected")])
        await redis.hset(world.calls.keys.person(people.digest(ANNA)), "h:main", value)  # type: ignore[misc]  # redis-py 5
        [stop] = [one async for one in people.suspected()]
        assert await people.decide_suspected([stop], "marketing", ["shop"]) == [0]
        assert [one async for one in people.suspected()] == []
