"""How claims divide turns among classes, accounts, senders and lanes."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sendwindow.codec import encode_job
from sendwindow.contract import Freeform, SendMessage
from sendwindow.protocol import ENQUEUE, row_arguments
from sendwindow.vocabulary import Priority, Purpose
from tests.conftest import StoreUnderTest
from tests.depth import examples
from tests.support.cast import ANNA
from tests.support.stores_world import ACCOUNT, REFUSED, SENDER, Place, World, opened, settlement
from tests.support.turn_model import QUANTUM, Lane, TurnModel
from worker.ports.claims import Suspects

YEAR: Final = timedelta(days=365)
ACCOUNTS: Final = {"shop": "main", "other": "main", "third": "second", "fourth": "second"}
LANES = [
    Lane(account, sender, priority, campaign)
    for sender, account in ACCOUNTS.items()
    for priority in Priority
    for campaign in ("", "a", "b")
]


async def enqueue(world: World, lane: Lane, ids: Iterable[str]) -> None:
    """Queue some messages of one lane in one call."""
    arguments: list[Any] = [0]
    for message_id in ids:
        message = SendMessage(
            to=ANNA,
            sender=lane.sender,
            purpose=Purpose.UTILITY,
            freeform=Freeform(body="hello"),
            message_id=message_id,
            priority=Priority(lane.priority),
            campaign=lane.campaign or None,
        )
        arguments += row_arguments(message, encode_job(message, 0))
    await world.calls.run(ENQUEUE, arguments)


_PARTITIONS = count(1)
FIXTURES: Final = [HealthCheck.function_scoped_fixture]
"""Every example has a partition of its own, so the examples may share the store."""

OPERATIONS = st.lists(
    st.tuples(st.just("enqueue"), st.sampled_from(LANES), st.integers(1, 20))
    | st.tuples(st.just("claim"), st.just(""), st.integers(1, 40))
    | st.tuples(
        st.sampled_from(["pause", "resume"]),
        st.sampled_from([("account", "main"), ("account", "second"), ("sender", "shop")]),
        st.just(0),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=FIXTURES)
@given(operations=OPERATIONS)
def test_every_claim_takes_what_the_model_takes(
    store: StoreUnderTest, operations: list[tuple[str, Any, int]]
) -> None:
    """For any history, claims take the same messages in the same order as the plain model."""
    asyncio.run(_play(store, operations))


async def _play(place: StoreUnderTest, operations: list[tuple[str, Any, int]]) -> None:
    async with opened(replace(place, partition=f"turns-{next(_PARTITIONS)}")) as world:
        await world.store.register_senders(ACCOUNTS, {})
        model = TurnModel()
        for number, (action, what, size) in enumerate(operations):
            if action == "enqueue":
                ids = [f"m{number}-{index}" for index in range(size)]
                await enqueue(world, what, ids)
                model.enqueue(what, ids)
            elif action == "claim":
                await _compare(world, model, size)
            elif action == "pause":
                await world.store.switches.pause(what[0], what[1], YEAR, "a test")
                model.pause(*what)
            else:
                await world.store.switches.resume(what[0], what[1])
                model.resume(*what)
        for what in sorted(model.paused):
            await world.store.switches.resume(what[0], what[1])
            model.resume(*what)
        while await _compare(world, model, 40):
            pass
        assert not any(model.queues.values())
        left = [key async for key in world.redis.scan_iter(match=f"*{world.keys.tag}*")]
        kinds = {key.decode().split(":")[2] for key in left}
        assert kinds.isdisjoint({"ring", "rested", "parked", "marks", "ready", "lane", "listed"})


async def _compare(world: World, model: TurnModel, limit: int) -> bool:
    """Claim from both, and end what was claimed. Return whether there was anything."""
    batch = await world.store.ledger.claim(limit, Suspects.NEVER)
    assert [one.message_id for one in batch.claimed] == model.claim(limit)
    if batch.claimed:
        await world.store.ledger.settle([settlement(one, REFUSED) for one in batch.claimed])
    return bool(batch.claimed)


async def claimed_by(world: World, limit: int) -> list[str]:
    """Claim, and end what was claimed. Return the ids."""
    batch = await world.store.ledger.claim(limit, Suspects.NEVER)
    if batch.claimed:
        await world.store.ledger.settle([settlement(one, REFUSED) for one in batch.claimed])
    return [one.message_id for one in batch.claimed]


async def is_empty(world: World, one: Lane) -> bool:
    name = f"{one.sender}|{one.priority}|{one.campaign}"
    return not await world.redis.exists(world.keys.lane(name))


def lane(sender: str = SENDER, priority: str = "normal", campaign: str = "") -> Lane:
    return Lane(ACCOUNTS.get(sender, ACCOUNT), sender, priority, campaign)


@pytest.mark.asyncio
@pytest.mark.parametrize("names", [("a", "z"), ("z", "a")])
async def test_a_bulk_lane_that_trickles_does_not_starve_urgent_messages(
    store: Place, names: tuple[str, str]
) -> None:
    """A bulk lane that empties at each turn still gets 1 of 17 turns, whatever it is called."""
    bulk, urgent = lane(priority="bulk", campaign=names[0]), lane("shop", "urgent", names[1])
    async with opened(store) as world:
        await enqueue(world, urgent, [f"u{index}" for index in range(8 * 40)])
        got: Counter[str] = Counter()
        for number in range(34):
            if await is_empty(world, bulk):
                await enqueue(world, bulk, [f"b{number}-{index}" for index in range(8)])
            got.update(name[0] for name in await claimed_by(world, 8))
            assert abs(got["u"] - 16 * got["b"]) <= 2 * 16 * QUANTUM
        assert got == {"u": 8 * 32, "b": 8 * 2}


@pytest.mark.asyncio
async def test_campaigns_share_the_share_of_their_sender(store: Place) -> None:
    """A sender with 300 campaigns gets as many turns as the other sender of its account, and the
    account as many as another account.
    """
    async with opened(store) as world:
        await world.store.register_senders(ACCOUNTS, {})
        for number in range(300):
            await enqueue(world, lane("shop", campaign=f"c{number}"), [f"s{number}"])
        await enqueue(world, lane("other"), [f"o{index}" for index in range(200)])
        await enqueue(world, lane("third"), [f"t{index}" for index in range(200)])
        got = Counter([name[0] for _ in range(8) for name in await claimed_by(world, 32)])
        assert got["t"] == got["s"] + got["o"] == 128
        assert abs(got["s"] - got["o"]) <= 2 * QUANTUM


@pytest.mark.asyncio
async def test_a_lane_of_another_sender_does_not_wait_for_a_thousand_new_lanes(
    store: Place,
) -> None:
    """A claim moves marked lanes in steps, and begins with the first lane of each sender."""
    async with opened(store) as world:
        for number in range(400):
            await enqueue(world, lane(campaign=f"c{number}"), [f"many-{number}"])
        await enqueue(world, lane("other"), ["late"])
        assert "late" in await claimed_by(world, 16)


@pytest.mark.asyncio
async def test_equals_go_by_arrival(store: Place) -> None:
    """Lanes that fall due one after the other have their first turns in that order."""
    campaigns = ["m", "z", "a", "q", "b"]
    async with opened(store) as world:
        for name in campaigns:
            await enqueue(world, lane(campaign=name), [f"{name}-{index}" for index in range(16)])
        taken = await claimed_by(world, 40)
        assert [name[0] for name in taken[::8]] == campaigns
        assert [name[0] for name in (await claimed_by(world, 40))[::8]] == campaigns


@pytest.mark.asyncio
async def test_an_urgent_lane_is_marked_before_others(store: Place) -> None:
    """An urgent message overtakes lanes that were marked before it and are in no ring yet."""
    async with opened(store) as world:
        for number in range(300):
            await enqueue(world, lane(campaign=f"c{number}"), [f"normal-{number}"])
        await enqueue(world, lane("other", "urgent"), ["urgent"])
        assert (await claimed_by(world, 8))[0] == "urgent"


LOADS = st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=3, max_size=12)


@settings(max_examples=examples(30), deadline=None, suppress_health_check=FIXTURES)
@given(loads=LOADS, limit=st.integers(1, 40))
def test_no_lane_with_work_falls_behind_its_share(
    store: StoreUnderTest, loads: list[list[int]], limit: int
) -> None:
    """Two lanes that have work all the time are never more than two quanta apart.

    Whatever other lanes and classes do meanwhile.
    """
    asyncio.run(_watch_shares(store, loads, limit))


async def _watch_shares(place: StoreUnderTest, loads: list[list[int]], limit: int) -> None:
    steady = [lane(campaign="x"), lane(campaign="y")]
    others = [lane(campaign="z"), lane("other"), lane("other", "urgent"), lane("third", "bulk")]
    async with opened(replace(place, partition=f"turns-{next(_PARTITIONS)}")) as world:
        await world.store.register_senders(ACCOUNTS, {})
        for one in steady:
            await enqueue(world, one, [f"{one.campaign}-{index}" for index in range(600)])
        got: Counter[str] = Counter()
        for number, sizes in enumerate(loads):
            for one, size in zip(others, sizes, strict=True):
                if size:
                    ids = [f"o{number}-{one.sender}-{one.priority}-{at}" for at in range(size)]
                    await enqueue(world, one, ids)
            got.update(name[0] for name in await claimed_by(world, limit))
            assert abs(got["x"] - got["y"]) <= 2 * QUANTUM
