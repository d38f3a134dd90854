"""What a timeline stores, and what releases with another way of writing it make of that."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sendwindow.scripts import Script
from tests.depth import examples
from tests.support.stores_world import AT_ONCE, REFUSED, TRACE, Place, World, opened
from worker.stores.script_runner import compact
from worker.stores.worker_scripts import CONSTANTS, SOURCES

pytestmark = pytest.mark.asyncio

ADD: Final = Script(
    "add",
    "#!lua\n"
    + SOURCES.assemble_text(
        "add",
        "-- include: add_to_timeline\n"
        "add_to_timeline('m1', tonumber(ARGV[1]), 'seen', ARGV[2] and cjson.decode(ARGV[2]))",
    ),
)

BEFORE: Final = Script(
    "add",
    """#!lua
local key, line = string.gsub(KEYS[1], 'meta$', 't:m1'), ARGV[1]
if redis.call('RPUSH', key, line) <= 64 then return end
local found = redis.call('LINDEX', key, 16)
local at, number = string.match(found, '^{"at":(%d+),"e":"left_out","lines":(%d+)}$')
if not at then at, number = string.match(found, '^{"at":(%d+)'), 1 end
redis.call('LSET', key, 17, '')
redis.call('LREM', key, 1, '')
local lines = string.format('%.0f', number + 1)
redis.call('LSET', key, 16, '{"at":' .. at .. ',"e":"left_out","lines":' .. lines .. '}')
""",
)
"""How releases before 0.1.0, and older libraries of producers, add a line."""

ENTRIES: Final = st.dictionaries(
    st.from_regex(r"[a-z_]{1,9}", fullmatch=True).filter(lambda name: name not in {"at", "e"}),
    st.one_of(
        st.integers(0, 10**14 - 1),
        st.booleans(),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.lists(st.lists(st.text("abc", min_size=1), min_size=2, max_size=3), min_size=1),
    ),
    min_size=1,
    max_size=6,
)


async def lines_of(world: World) -> list[bytes]:
    found: Any = world.redis.lrange(world.keys.timeline("m1"), 0, -1)
    lines: list[bytes] = await found
    return lines


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ENTRIES, st.integers(0, 10**14 - 1))
async def test_an_entry_is_stored_as_it_was_given(
    store: Place, entry: dict[str, Any], at: int
) -> None:
    """An entry keeps every text, list and whole number, and begins with its time and its name."""
    async with opened(store) as world:
        await world.redis.delete(world.keys.timeline("m1"))
        await world.calls.run(ADD, [at, compact(entry)])
        [line] = await lines_of(world)
        assert line.startswith(f'{{"at":{at},"e":"seen",'.encode())
        found = json.loads(line)
        assert found == {"at": at, "e": "seen", **entry}
        assert not any(isinstance(value, float) for value in found.values())


async def test_an_entry_may_have_no_more_than_its_name(store: Place) -> None:
    """An entry without members is its time and its name."""
    async with opened(store) as world:
        await world.calls.run(ADD, [7])
        assert await lines_of(world) == [b'{"at":7,"e":"seen"}']


async def test_a_decision_without_verdicts_has_no_trace(store: Place) -> None:
    """A list of no verdicts is left out, because Lua would store it as an object."""
    async with opened(store) as world:
        await world.enqueue()
        await world.admit(await world.claim_one(), trace=replace(TRACE, verdicts=()))
        intent = json.loads((await lines_of(world))[-1])
        assert (intent["e"], intent["policy"], "trace" in intent) == ("intent", "2026-11", False)


async def test_a_round_that_an_older_release_counted_is_counted_on(store: Place) -> None:
    """A round in the form of an older release is counted on, and its empty trace is no object."""
    async with opened(store) as world:
        await world.enqueue()
        before = '{"at":5,"e":"retrying","n":3,"reason":"not_sent","trace":[],"times":3,"until":6}'
        await world.redis.rpush(world.keys.timeline("m1"), before)  # type: ignore[misc]  # redis-py types both flavours
        claimed = await world.claim_one()
        await world.admit(claimed)
        await world.settle(claimed, AT_ONCE)
        [line] = await lines_of(world)
        found = json.loads(line)
        assert found.pop("until") > 6
        assert found == {"at": 5, "e": "retrying", "n": 3, "reason": "not_sent", "times": 4}


async def test_an_older_release_shortens_a_timeline_of_this_one(store: Place) -> None:
    """Releases shorten each other's timelines, and no line goes uncounted."""
    async with opened(store) as world:
        most = CONSTANTS["MAX_TIMELINE_LINES"]
        assert most == 64
        for number in range(100):
            if number % 3:
                await world.calls.run(ADD, [number, compact({"n": number})])
            else:
                await world.calls.run(BEFORE, [f'{{"at":{number},"e":"seen","n":{number}}}'])
        lines = [json.loads(line) for line in await lines_of(world)]
        assert [line["at"] for line in lines] == [*range(17), *range(53, 100)]
        assert [line["lines"] for line in lines if line["e"] == "left_out"] == [100 - 63]


async def test_what_ends_a_message_is_its_last_entry(store: Place) -> None:
    """An end has its reason in the timeline, and its decision if there was one."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.settle(claimed, REFUSED, attempt=0, posted=False, trace=TRACE)
        last = json.loads((await lines_of(world))[-1])
        assert last.pop("at") > 0
        assert last == {
            "e": "refused",
            "reason": "opted_out",
            "policy": "2026-11",
            "trace": [["consent", "pass"], ["window", "choose", "open"]],
        }
