"""Pointers between a person's records always end, and a broken pointer permits nothing."""

from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.consent import Standing
from sendwindow.vocabulary import Reason, Stage
from tests.depth import examples
from tests.support.cast import ANNA, BERT
from tests.support.spellings_world import DIGESTS, ONE, grant, standing
from tests.support.stores_world import ACCOUNT, SENDER, Place, World, opened
from worker.ports.people import ConsentEntry
from worker.ports.settlements import SettleEnd
from worker.stores.fact_parsing import parse_facts
from worker.stores.people import _FACTS
from worker.stores.person_digests import DIGEST_CHARACTERS

pytestmark = pytest.mark.asyncio

MOST: Final = 32
"""The most pointers that a script follows, as `_1_rows.lua` states."""

PLACES: Final = 6


def _name(number: int) -> str:
    return f"{number:0{DIGEST_CHARACTERS}x}"


async def _point(world: World, source: str, target: str) -> None:
    await world.redis.hset(world.keys.person(source), mapping={"to": target, "r": "1"})  # type: ignore[misc]  # redis-py types both flavours at once


def _expected(pointers: dict[str, str], start: str) -> str:
    """Follow pointers as the store should: to their end, or to the least digest of their circle."""
    path = [start]
    while path[-1] in pointers:
        target = pointers[path[-1]]
        if target in path:
            return min(path[path.index(target) :])
        path.append(target)
    return path[-1]


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.integers(0, PLACES), st.integers(0, PLACES), max_size=PLACES))
async def test_every_chain_of_pointers_ends(store: Place, chosen: dict[int, int]) -> None:
    """Every chain of pointers ends: each member of a circle leads to the same record."""
    pointers = {_name(source): _name(target) for source, target in chosen.items()}
    async with opened(store) as world:
        await world.redis.delete(
            *(world.keys.person(_name(number)) for number in range(PLACES + 1))
        )
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
async def test_a_circle_denies_the_one_person_and_holds_up_no_other(
    store: Place, others: tuple[str, ...]
) -> None:
    """A circle permits its person nothing, stores a STOP, and holds up no other person's
    messages.
    """
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
    """Beyond the stated number of pointers the first record counts and permits nothing."""
    async with opened(store) as world:
        for number in range(length):
            await _point(world, _name(number), _name(number + 1))
        end = _name(length if length <= MOST else 0)
        assert await _resolved(world, _name(0)) == end
        assert await _resolved(world, end) == end
        reply = await world.calls.run(_FACTS, [_name(0), SENDER, ACCOUNT, "", ""])
        assert parse_facts(reply).person.is_readable == (length <= MOST)


@pytest.mark.parametrize("target", ["", "garbage", "-1", "9" * 400, "g" * DIGEST_CHARACTERS])
async def test_a_pointer_that_is_no_digest_denies(store: Place, target: str) -> None:
    """A pointer that is no digest leads nowhere and permits nothing."""
    async with opened(store) as world:
        await grant(world, ANNA)
        assert await standing(world, ANNA) is Standing.GRANTED
        await world.redis.hset(world.keys.person(DIGESTS.digest(ANNA)), "to", target)  # type: ignore[misc]  # redis-py types both flavours at once
        assert await standing(world, ANNA) is Standing.OPTED_OUT
