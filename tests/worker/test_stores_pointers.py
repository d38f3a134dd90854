"""Pointers between records of a person end, whatever they hold; one that leads nowhere permits nothing."""

from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.consent import Standing
from sendwindow.vocabulary import Reason, Stage
from tests.depth import examples
from tests.worker.spellings_world import DIGESTS, ONE, grant, standing
from tests.worker.stores_world import ACCOUNT, ANNA, BERT, SENDER, Place, World, opened
from worker.stores.digests import LENGTH
from worker.stores.facts import parse_facts
from worker.stores.people import _FACTS
from worker.values.people import ConsentEntry
from worker.values.settlements import SettleEnd

pytestmark = pytest.mark.asyncio

MOST: Final = 32
"""Pointers that are followed, as `_1_rows.lua` states it."""

PLACES: Final = 6


def _name(number: int) -> str:
    return f"{number:0{LENGTH}x}"


async def _point(world: World, source: str, target: str) -> None:
    await world.redis.hset(world.keys.person(source), mapping={"to": target, "r": "1"})  # type: ignore[misc]  # redis-py types both flavours at once


def _expected(pointers: dict[str, str], start: str) -> str:
    """Follow pointers as the store should: to their end, or to the least digest of the circle that they come to."""
    path = [start]
    while path[-1] in pointers:
        target = pointers[path[-1]]
        if target in path:
            return min(path[path.index(target) :])
        path.append(target)
    return path[-1]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, PLACES), st.integers(0, PLACES), max_size=PLACES))
async def test_every_chain_of_pointers_ends(store: Place, chosen: dict[int, int]) -> None:
    """Each member of a circle comes to the same record; a record behind pointers that end is found as ever."""
    pointers = {_name(source): _name(target) for source, target in chosen.items()}
    async with opened(store) as world:
        await world.redis.delete(*(world.keys.person(_name(number)) for number in range(PLACES + 1)))
        for source, target in pointers.items():
            await _point(world, source, target)
        for number in range(PLACES + 1):
            end = _expected(pointers, _name(number))
            assert await _resolved(world, _name(number)) == end
            assert await _resolved(world, end) == end


async def _resolved(world: World, digest: str) -> str:
    """Return where the facts of a digest are read."""
    reply = await world.calls.run(_FACTS, [digest, SENDER, ACCOUNT, "", ""])
    found: str = reply[0].decode()
    return found


@pytest.mark.parametrize("others", [(), (BERT,)], ids=["itself", "circle"])
async def test_a_circle_denies_the_one_person_and_holds_up_no_other(store: Place, others: tuple[str, ...]) -> None:
    """The batch is claimed, the person is permitted nothing, a STOP is stored, and other people's messages go."""
    async with opened(store) as world:
        await grant(world, ANNA)
        await grant(world, ONE)
        names = [DIGESTS.digest(ANNA), *map(DIGESTS.digest, others)]
        for source, target in zip(names, [*names[1:], names[0]], strict=True):
            await _point(world, source, target)
        await world.enqueue("anna")
        await world.enqueue("one", to=ONE)
        claimed = {one.message_id: one for one in await world.claim(10)}
        assert set(claimed) == {"anna", "one"}
        assert not claimed["anna"].facts.person.is_readable
        assert claimed["one"].facts.person.is_readable
        assert await standing(world, ANNA) is Standing.OPTED_OUT
        assert await standing(world, ONE) is Standing.GRANTED
        for name in names:
            assert await world.store.people.permits_left_ms(name) == 0
        await world.writes("SM1", keyword="stop", address=ANNA)
        assert await world.redis.hexists(world.keys.person(min(names)), "o:main|*")  # type: ignore[misc]  # redis-py types both flavours at once
        entry = ConsentEntry(True, ACCOUNT, None, None, "form")
        assert await world.store.people.record_consent(ANNA, entry) == "opted_out"
        assert await world.store.people.allow(ANNA) >= 0
        settled = await world.settle(claimed["anna"], SettleEnd(Stage.REFUSED, Reason.NO_CONSENT))
        assert settled.applied


@pytest.mark.parametrize("length", [MOST, MOST + 1, 3 * MOST])
async def test_a_chain_is_followed_up_to_a_stated_length(store: Place, length: int) -> None:
    """What lies behind more pointers is unknown: the record where the reading began counts, and denies."""
    async with opened(store) as world:
        for number in range(length):
            await _point(world, _name(number), _name(number + 1))
        end = _name(length if length <= MOST else 0)
        assert await _resolved(world, _name(0)) == end
        assert await _resolved(world, end) == end
        reply = await world.calls.run(_FACTS, [_name(0), SENDER, ACCOUNT, "", ""])
        assert parse_facts(reply).person.is_readable == (length <= MOST)


@pytest.mark.parametrize("target", ["", "garbage", "-1", "9" * 400, "g" * LENGTH])
async def test_a_pointer_that_is_no_digest_denies(store: Place, target: str) -> None:
    """It leads nowhere: what the record held may be anywhere."""
    async with opened(store) as world:
        await grant(world, ANNA)
        assert await standing(world, ANNA) is Standing.GRANTED
        await world.redis.hset(world.keys.person(DIGESTS.digest(ANNA)), "to", target)  # type: ignore[misc]  # redis-py types both flavours at once
        assert await standing(world, ANNA) is Standing.OPTED_OUT
