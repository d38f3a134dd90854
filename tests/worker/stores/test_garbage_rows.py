"""An unreadable number in a row stops no batch: its message keeps its place, and all others go
on.
"""

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sendwindow.vocabulary import Stage
from tests.depth import examples
from tests.support.cast import ANNA, BERT
from tests.support.stores_world import (
    UNKNOWN,
    WAITS,
    Place,
    World,
    accepted,
    ask,
    opened,
    settlement,
)
from worker.ports.admissions import Lost, Permit
from worker.ports.claims import ClaimedMessage

pytestmark = pytest.mark.asyncio

GARBAGE: Final = st.sampled_from(
    [
        "",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "9" * 400,
        "0x7f",
        "-1",
        "1.5",
        "1:2",
        " 1",
        "\x00",
        "9" * 18,
    ]
) | st.text(max_size=8).filter(lambda text: not text.isdigit())
NUMBERS: Final = (
    "n",
    "k",
    "@0",
    "q",
    "e",
    "nb",
    "fa",
    "sr",
    "lf",
    "lo",
    "c",
    "z",
    "rd",
    "u",
    "x",
    "pr",
    "us",
)
"""Every number in a row that a script compares or counts with, and its neighbours."""


@settings(
    max_examples=examples(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.sampled_from(NUMBERS), GARBAGE, min_size=1, max_size=4))
@example({"e": "garbage"})
@example({"n": "9" * 18})
@example({"q": "nan"})
@example({"k": "garbage"})
async def test_garbage_in_a_row_raises_for_no_batch(store: Place, fields: dict[str, str]) -> None:
    """An unreadable number raises for no batch, whether the message is queued, claimed, posted
    or accepted.
    """
    for stage in (Stage.QUEUED, Stage.CLAIMED, Stage.POSTING, Stage.ACCEPTED):
        async with opened(store) as world:
            # An earlier example's messages would hide this one's.
            await world.redis.flushdb()
        async with opened(store) as world:
            await _spoil(world, stage, fields)


async def _spoil(world: World, stage: Stage, fields: dict[str, str]) -> None:
    """Take two messages to a stage, write garbage into one row, and read everything."""
    await world.enqueue("bad", to=BERT)
    await world.enqueue("good")
    held: tuple[ClaimedMessage, ...] = ()
    if stage is not Stage.QUEUED:
        held = await world.claim()
        assert len(held) == 2
    for one in held if stage in {Stage.POSTING, Stage.ACCEPTED} else ():
        assert isinstance(await world.admit(one), Permit)
    for one in held if stage is Stage.ACCEPTED else ():
        await world.settle(one, accepted(one.message_id))
    await world.redis.hset(world.keys.row("bad"), mapping=fields)  # type: ignore[misc]  # redis-py types both flavours at once
    if stage is Stage.QUEUED:
        held = await world.claim()
        assert "good" in {one.message_id for one in held}
        assert await world.redis.exists(world.keys.row("bad"))
    await world.callback("delivered", "bad", message_id="bad", attempt=1)
    batch = [settlement(one, UNKNOWN) for one in held]
    if batch:
        assert len(await world.store.ledger.settle(batch)) == len(batch)
    await world.reap()
    await world.claim()
    for name in ("bad", "good"):
        assert await world.cancel(name) in {"cancelled", "too_late", "ended"}
    await world.later(minutes=20)
    await world.store.unknowns.missing(10, 1, 1, ())
    await world.store.unknowns.still_missing(["bad", "good"])
    for number, address in enumerate((BERT, ANNA)):
        applied = await world.writes(f"SM{number}", keyword="stop", address=address)
        assert applied.opted == "stop"


@pytest.mark.parametrize("name", ["n", "k", "@0", "q", "e", "nb"])
@pytest.mark.parametrize("value", ["", "garbage", "nan", "1e400", "1.5", "0x7f"])
async def test_a_number_that_cannot_be_read_leaves_the_message_in_its_lane(
    store: Place, name: str, value: str
) -> None:
    """A message with an unreadable number stays in its lane and is counted once.

    Once readable, it is claimed.
    """
    async with opened(store) as world:
        await world.enqueue("bad")
        row = world.keys.row("bad")
        before = (await world.row("bad")).get(name)
        await world.redis.hset(row, name, value)  # type: ignore[misc]  # redis-py types both flavours at once
        for _ in range(2):
            assert await world.claim() == ()
            await world.later(seconds=61)
        assert await world.count("unknown_stage") == 1
        await (
            world.redis.hdel(row, name) if before is None else world.redis.hset(row, name, before)
        )  # type: ignore[misc]  # as above
        assert [one.message_id for one in await world.claim()] == ["bad"]


async def _two_held(world: World) -> tuple[ClaimedMessage, ...]:
    await world.enqueue("bad", to=BERT)
    await world.enqueue("good")
    held = await world.claim()
    assert {one.message_id for one in held} == {"bad", "good"}
    return held


async def _spoiled(world: World, field: str, value: str) -> None:
    await world.redis.hset(world.keys.row("bad"), field, value)  # type: ignore[misc]  # redis-py types both flavours at once


async def _stages(world: World) -> list[object]:
    redis: Any = world.redis  # redis-py annotates commands for both of its flavours at once
    return [await redis.hget(world.keys.row(name), "s") for name in ("bad", "good")]


WORDS: Final = ("", "garbage", "nan", "9" * 400)


@pytest.mark.parametrize("value", WORDS)
async def test_free_attempts_that_cannot_be_counted_fail_no_settlement(
    store: Place, value: str
) -> None:
    """If free attempts cannot be counted, both messages of the batch are settled."""
    async with opened(store) as world:
        held = await _two_held(world)
        for one in held:
            assert isinstance(await world.admit(one), Permit)
        await _spoiled(world, "@0", value)
        batch = [settlement(one, WAITS, posted=False) for one in held]
        assert [one.applied for one in await world.store.ledger.settle(batch)] == [True, True]


@pytest.mark.parametrize("value", WORDS)
async def test_crashes_that_cannot_be_counted_leave_no_lease_behind(
    store: Place, value: str
) -> None:
    """If crashes cannot be counted, the leases of both messages are reaped."""
    async with opened(store) as world:
        await _two_held(world)
        await _spoiled(world, "k", value)
        await world.reap()
        assert await _stages(world) == [b"queued", b"queued"]


@pytest.mark.parametrize("value", WORDS)
async def test_an_attempt_whose_number_cannot_be_read_gets_no_permit(
    store: Place, value: str
) -> None:
    """An attempt with an unreadable number gets no permit, and the other message of the batch
    does.
    """
    async with opened(store) as world:
        held = await _two_held(world)
        await _spoiled(world, "n", value)
        answers = await world.store.ledger.admit([ask(one) for one in held])
        found = {one.message_id: type(answer) for one, answer in zip(held, answers, strict=True)}
        assert found == {"bad": Lost, "good": Permit}


@pytest.mark.parametrize("value", WORDS)
async def test_an_acceptance_whose_date_cannot_be_read_holds_up_no_search_for_statuses(
    store: Place, value: str
) -> None:
    """An acceptance with an unreadable date counts as too old to fetch, and the other status is
    fetched.
    """
    async with opened(store) as world:
        for one in await _two_held(world):
            assert isinstance(await world.admit(one), Permit)
            await world.settle(one, accepted(one.message_id))
        await _spoiled(world, "z", value)
        await world.later(minutes=20)
        missing = await world.store.unknowns.missing(10, 1, 1, ())
        assert [one.message_id for one in missing] == ["good"]
        await world.store.unknowns.still_missing(["bad", "good"])


@pytest.mark.parametrize("value", WORDS)
async def test_a_message_whose_place_cannot_be_read_is_given_back(store: Place, value: str) -> None:
    """A message with an unreadable place is released, and so is the other one of the batch."""
    async with opened(store) as world:
        held = await _two_held(world)
        await _spoiled(world, "q", value)
        await world.store.ledger.release([(one.message_id, one.fence) for one in held])
        assert await _stages(world) == [b"queued", b"queued"]


@pytest.mark.parametrize("field", ["lo", "e", "n", "k", "@0", "@1", "q"])
@pytest.mark.parametrize("value", WORDS)
async def test_an_unknown_outcome_with_garbage_holds_up_no_search(
    store: Place, field: str, value: str
) -> None:
    """An unreadable unknown outcome does not stop the search for the other message's outcome."""
    async with opened(store) as world:
        for one in await _two_held(world):
            assert isinstance(await world.admit(one), Permit)
            await world.settle(one, UNKNOWN)
        await _spoiled(world, field, value)
        await world.later(minutes=1)
        assert "good" in {one.message_id for one in await world.store.unknowns.due(10, 1000)}
