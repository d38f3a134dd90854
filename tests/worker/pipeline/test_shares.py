"""How slots and the messages that a worker holds are divided among accounts and senders."""

import asyncio
from collections import Counter, deque
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from sendwindow.contract import Freeform
from sendwindow.vocabulary import Priority, Purpose, Stage
from tests.support.cast import MIA
from tests.support.pipeline_world import Twilio, accepting, dispatching
from tests.support.pipeline_world import World as PipelineWorld
from tests.support.ring_steps import queue
from tests.support.ring_tree import LaneName
from tests.support.stores_world import Place, World, opened
from tests.support.waiting import until
from worker.pipeline.shares import Shares
from worker.pipeline.slots import Slots
from worker.ports.claims import ClaimBatch, ClaimedMessage, ClaimRoom, Owner, Suspects

OWNERS = [
    Owner(account, f"{account}-{sender}", is_urgent)
    for account in ("a", "b", "c")
    for sender in ("x", "y")
    for is_urgent in (False, True)
]


@given(
    places=st.integers(1, 60),
    steps=st.lists(st.tuples(st.sampled_from(OWNERS), st.booleans()), max_size=200),
)
def test_no_account_and_no_sender_takes_all(places: int, steps: list[tuple[Owner, bool]]) -> None:
    """Whatever comes and goes, no account and no sender has more than its share, and urgent
    messages find places that no other takes.
    """
    shares = Shares(places, accounts=3, senders=6)
    held: list[Owner] = []
    for owner, comes in steps:
        if comes and shares.has_room_for(owner):
            shares.take(owner)
            held.append(owner)
        elif not comes and held:
            shares.give(held.pop(0))
        assert shares.used == len(held) <= places
        assert sum(not one.is_urgent for one in held) <= places - places // 8
        share = places - places // 4
        assert max(Counter(one.account for one in held).values(), default=0) <= share
        assert max(Counter(one.sender for one in held).values(), default=0) <= share


@given(st.integers(1, 60), st.sampled_from(OWNERS))
def test_one_account_alone_uses_every_place_that_is_not_kept(places: int, owner: Owner) -> None:
    """Where there is one account and one sender, only the places for urgent messages are kept."""
    shares = Shares(places)
    while shares.has_room_for(owner):
        shares.take(owner)
    assert shares.used == (places if owner.is_urgent else places - places // 8)


def _more(number: int, found: int) -> bool:
    return found > number


@pytest.mark.asyncio
async def test_a_free_slot_goes_to_the_first_waiter_with_room() -> None:
    """Urgent messages come first, then in order of arrival who has room; a cancelled one none."""
    slots = Slots(Shares(4, accounts=2, senders=2))
    slow, other = Owner("slow", "s"), Owner("other", "o")
    urgent = Owner("slow", "s", is_urgent=True)
    assert [await slots.acquire(slow) for _ in range(3)] == [True] * 3
    order: list[str] = []

    async def wait(owner: Owner, name: str) -> bool:
        got = await slots.acquire(owner)
        order.append(name)
        return got

    waiting = [
        asyncio.create_task(wait(owner, name))
        for owner, name in [(slow, "slow"), (urgent, "urgent"), (slow, "gone"), (slow, "last")]
    ]
    await asyncio.sleep(0)
    assert await slots.acquire(other)
    assert (slots.used, order) == (4, [])
    waiting[2].cancel()
    for place in range(3):
        slots.release(slow)
        await until(lambda: len(order), "the next waiter", holds=partial(_more, place))
    assert order == ["urgent", "slow", "last"]
    slots.close()
    assert not await slots.acquire(other)
    assert [task.cancelled() for task in waiting] == [False, False, True, False]


@pytest.mark.asyncio
async def test_after_close_no_waiter_gets_a_slot() -> None:
    """A waiter whose slots are closed gets none, and one that was cancelled gives its slot back."""
    slots = Slots(Shares(1))
    owner = Owner("a", "a")
    assert await slots.acquire(owner)
    first, second = (asyncio.create_task(slots.acquire(owner)) for _ in range(2))
    await asyncio.sleep(0)
    slots.release(owner)
    first.cancel()
    await asyncio.wait({first})
    assert await second
    assert slots.used == 1
    third = asyncio.create_task(slots.acquire(owner))
    await asyncio.sleep(0)
    slots.close()
    assert not await third


async def claim(world: World, room: ClaimRoom, limit: int = 8) -> ClaimBatch:
    return await world.store.ledger.claim(limit, Suspects.NEVER, room)


def names(batch: ClaimBatch) -> list[str]:
    return sorted(one.message_id for one in batch.claimed)


@pytest.mark.asyncio
async def test_a_claim_takes_only_what_there_is_room_for(store: Place) -> None:
    """An account at its share gets no more, the others the rest, and a claim says that it passed
    work over.
    """
    async with opened(store) as world:
        await world.store.register_senders({"shop": "main", "third": "second"}, {})
        await queue(world, LaneName("main", "shop", "normal", ""), [f"a{n}" for n in range(20)])
        shares = Shares(8, accounts=2, senders=2)
        first = await claim(world, shares.room)
        assert [one.owner for one in first.claimed] == [Owner("main", "shop")] * 6
        for one in first.claimed:
            shares.take(one.owner)
        assert first.passed_over
        assert first.next_due_at is None or first.next_due_at > first.now
        nothing = await claim(world, shares.room)
        assert (nothing.claimed, nothing.passed_over) == ((), True)
        await queue(world, LaneName("second", "third", "bulk", ""), ["b0", "b1"])
        second = await claim(world, shares.room)
        assert names(second) == ["b0"]
        shares.take(second.claimed[0].owner)
        await queue(world, LaneName("second", "third", "urgent", ""), ["u0"])
        third = await claim(world, shares.room)
        assert [(one.message_id, one.owner.is_urgent) for one in third.claimed] == [("u0", True)]
        for one in (*first.claimed[:3], second.claimed[0]):
            shares.give(one.owner)
        assert names(await claim(world, shares.room)) == ["a6", "a7", "a8", "b1"]


@pytest.mark.asyncio
async def test_bulk_of_another_account_gets_only_what_urgent_messages_leave(store: Place) -> None:
    """A worker whose places are all taken goes on dividing them by class, so an account with urgent
    messages gets at least its share next to another that has a backlog of bulk.
    """
    async with opened(store) as world:
        await world.store.register_senders({"shop": "main", "third": "second"}, {})
        await queue(world, LaneName("main", "shop", "urgent", ""), [f"u{n}" for n in range(120)])
        await queue(world, LaneName("second", "third", "bulk", ""), [f"b{n}" for n in range(120)])
        shares, held = Shares(16, accounts=2, senders=2), deque[ClaimedMessage]()
        got: Counter[bool] = Counter()
        for _ in range(20):
            for one in (await claim(world, shares.room, 16 - shares.used)).claimed:
                shares.take(one.owner)
                held.append(one)
                got[one.owner.is_urgent] += 1
            for _ in range(4):
                shares.give(held.popleft().owner)
        assert got[True] >= 3 * got[False]


@pytest.mark.asyncio
async def test_what_was_passed_over_saves_no_turns_up(store: Place) -> None:
    """After others went on without it, an account shares turns with them again as an equal."""
    async with opened(store) as world:
        await world.store.register_senders({"shop": "main", "third": "second"}, {})
        await queue(world, LaneName("main", "shop", "normal", ""), [f"a{n}" for n in range(100)])
        await queue(world, LaneName("second", "third", "normal", ""), [f"b{n}" for n in range(300)])
        full = ClaimRoom(40, 1, 100, {"main": 1}, {})
        for _ in range(5):
            assert {one.owner.account for one in (await claim(world, full, 40)).claimed} == {
                "second"
            }
        free = ClaimRoom(32, 32, 32)
        got = Counter(one.owner.account for one in (await claim(world, free, 32)).claimed)
        assert abs(got["main"] - got["second"]) <= 16


@pytest.mark.asyncio
async def test_a_wake_that_a_full_worker_took_goes_to_another(store: Place) -> None:
    """It is handed on once, so that two full workers do not wake each other forever."""
    async with opened(store, worker_id="w1") as one, opened(store, worker_id="w2") as two:
        full = ClaimRoom(0, 1, 1)
        await queue(one, LaneName("main", "shop", "normal", ""), ["a"])
        assert await one.store.ledger.wait_for_work(60)
        assert names(await claim(one, full)) == []
        assert await two.store.ledger.wait_for_work(60)
        assert names(await claim(two, full)) == []
        assert not await one.redis.exists(one.keys.wake)


@pytest.mark.asyncio
async def test_a_sender_is_parked_next_to_one_without_room(store: Place) -> None:
    """What is passed over keeps its turn when another sender of its account is parked."""
    async with opened(store) as world:
        await world.store.register_senders({"shop": "main", "other": "main"}, {})
        await queue(world, LaneName("main", "shop", "normal", ""), ["a"])
        await queue(world, LaneName("main", "other", "normal", ""), ["b"])
        await world.store.switches.pause("sender", "other", timedelta(days=1), "a test")
        full = ClaimRoom(8, 8, 1, senders={"shop": 1})
        assert names(await claim(world, full)) == []
        assert names(await claim(world, ClaimRoom(8, 8, 8))) == ["a"]


@pytest.mark.asyncio
async def test_other_senders_go_while_the_posts_of_one_hang(store: Place, tmp_path: Path) -> None:
    """A sender whose POSTs hang leaves slots to others, urgent or not."""
    hanging = asyncio.Event()

    async def answer(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        if form["Body"] == "slow":
            await hanging.wait()
        return await accepting(twilio, form)

    def is_accepted(world: PipelineWorld, number: int) -> bool:
        return [stage for stage, _ in world.watch.stages].count(Stage.ACCEPTED) == number

    async with dispatching(store, tmp_path / "j", answer, slots=8) as world:
        await world.consents()
        await world.writes()
        await world.writes(to=MIA, sender="page")
        for number in range(20):
            await world.enqueue(f"slow{number}", freeform=Freeform(body="slow"))
        async with world.working():
            try:
                await until(lambda: len(world.twilio.posts), "slow POSTs", holds=partial(_more, 5))
                for number, priority in enumerate(Priority, start=1):
                    wish = {"purpose": Purpose.REPLY, "priority": priority}
                    await world.enqueue(f"fast{number}", to=MIA, sender="page", **wish)
                    await world.watch.until(partial(is_accepted, world, number))
                assert len(world.twilio.posts) == 6 + len(Priority)
            finally:
                hanging.set()
