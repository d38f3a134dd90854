"""Rows and timelines stay short, whatever happens."""

from datetime import timedelta

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.support.stores_world import (
    AT_ONCE,
    ORDER,
    UNREACHABLE,
    Place,
    opened,
)
from worker.ports.settlements import SettleAgain, SettleEnd

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("is_posted", [False, True], ids=["not sent", "throttled"])
async def test_rounds_of_one_reason_are_one_line_and_leave_nothing_in_the_row(
    store: Place, is_posted: bool
) -> None:
    """Rounds of one reason make one line, and the row has the same size after 5 rounds and after
    200.
    """
    async with opened(store) as world:
        await world.enqueue()
        sizes = []
        for round_number in range(200):
            claimed = await world.claim_one()
            await world.admit(claimed)
            await world.settle(claimed, AT_ONCE, posted=is_posted)
            if round_number in {4, 199}:
                row, line = world.keys.row("m1"), world.keys.timeline("m1")
                sizes.append([await world.redis.hlen(row), await world.redis.llen(line)])  # type: ignore[misc]  # redis-py types both flavours
        assert sizes[0] == sizes[1]
        record = await world.store.records.record("m1")
        assert record is not None
        last = record.timeline[-1]
        assert (last["e"], last["reason"], last["times"]) == ("retrying", "not_sent", 200)
        assert [line["e"] for line in record.timeline] == ["enqueued", "intent", "retrying"]


async def test_another_reason_is_another_line(store: Place) -> None:
    """Another reason is another line of the timeline; a repeated one is counted."""
    async with opened(store) as world:
        await world.enqueue()
        for reason in (
            Reason.NOT_SENT,
            Reason.NOT_SENT,
            Reason.THROTTLED,
            Reason.THROTTLED,
            Reason.NOT_SENT,
        ):
            claimed = await world.claim_one()
            await world.admit(claimed)
            await world.settle(claimed, SettleAgain(Stage.RETRYING, reason))
        record = await world.store.records.record("m1")
        assert record is not None
        told = [
            (line["reason"], line.get("times", 1))
            for line in record.timeline
            if line["e"] == "retrying"
        ]
        assert told == [("not_sent", 2), ("throttled", 2), ("not_sent", 1)]


async def test_a_timeline_is_bounded_whatever_happens(store: Place) -> None:
    """A timeline keeps its first and its last lines and counts those between.

    Reasons that alternate cannot be folded.
    """
    async with opened(store) as world:
        await world.enqueue()
        for round_number in range(100):
            claimed = await world.claim_one()
            await world.admit(claimed)
            reason = (Reason.NOT_SENT, Reason.THROTTLED)[round_number % 2]
            await world.settle(claimed, SettleAgain(Stage.RETRYING, reason))
        record = await world.store.records.record("m1")
        assert record is not None
        lines = record.timeline[1:]
        assert len(lines) == 64
        assert (lines[0]["e"], lines[-1]["e"], lines[-1]["n"]) == ("intent", "retrying", 100)
        assert [line["lines"] for line in lines if line["e"] == "left_out"] == [200 - 63]


async def test_no_field_of_a_row_is_longer_than_a_short_one(store: Place) -> None:
    """No field of a row is long enough to double the row's cost in memory."""
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        await world.admit(claimed, template=ORDER, is_marketing=True, to_user_id=True)
        for number in range(12):
            sid = f"SM{number:032}"
            await world.callback(
                "failed", sid, effects=UNREACHABLE, reopen_after_ms=86_400_000, most_tries=20
            )
        await world.settle(claimed, SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED))
        fields = await world.redis.hgetall(world.keys.row("m1"))  # type: ignore[misc]  # redis-py types both flavours
        assert max(max(len(name), len(value)) for name, value in fields.items()) <= 64
        assert timedelta(0) < timedelta(milliseconds=await world.redis.pttl(world.keys.row("m1")))
