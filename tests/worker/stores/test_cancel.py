"""What a cancel answers and does in each stage."""

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.support.stores_world import (
    AT_ONCE,
    DEAD,
    LATER,
    REFUSED,
    UNKNOWN,
    WAITS,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.admissions import Cancelled
from worker.ports.settlements import Result
from worker.ports.unknowns import Resolution, SettleUnresolved

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("result", [REFUSED, DEAD, LATER], ids=["refused", "dead", "retrying"])
async def test_a_claim_that_was_cancelled_ends_so_whatever_was_decided(
    store: Place, result: Result
) -> None:
    """A claim that was cancelled ends as cancelled, whatever was decided.

    No POST went out and the caller was told `cancelled`, so no other end may contradict it.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert await world.cancel() == "cancelled"
        settled = await world.settle(claimed, result, attempt=0, posted=False)
        assert (settled.applied, settled.stage) == (True, Stage.CANCELLED)
        row = await world.row()
        assert (row["s"], row["r"]) == ("cancelled", "cancelled")
        assert (await world.events())[-1] == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 1
        assert await world.cancel() == "cancelled"


@pytest.mark.parametrize("stage", ["posting", "unknown", "unresolved"])
async def test_what_may_be_at_twilio_is_not_sent_again_once_cancelled(
    store: Place, stage: str
) -> None:
    """A cancelled message that may be at Twilio is not sent again by a retry, a rule or an
    operator. The caller is not told that it never went out.
    """
    async with opened(store) as world:
        claimed = await world.post()
        if stage != "posting":
            await world.settle(claimed, UNKNOWN)
        if stage == "unresolved":
            await world.store.unknowns.resolve(
                [Resolution("m1", 1, SettleUnresolved(Reason.HELD_BY_RULE, ""))]
            )
        assert (await world.row())["s"] == stage
        assert await world.cancel() == "too_late"
        if stage == "posting":
            await world.settle(claimed, LATER)
        else:
            await world.send_again()
        assert (await world.row())["s"] == "cancelled"
        assert await world.claim() == ()
        assert await world.cancel() == ("cancelled" if stage == "posting" else "too_late")


async def test_what_may_be_at_twilio_is_cancelled_too_late(store: Place) -> None:
    """An earlier attempt is unproven, so a cancel ends the message but returns `too_late`."""
    async with opened(store) as world:
        await world.park()
        await world.send_again()
        assert (await world.row())["s"] == "retrying"
        assert await world.cancel() == "too_late"
        assert (await world.row())["s"] == "cancelled"
        assert await world.cancel() == "too_late"
        assert await world.claim() == ()
        await world.callback("sent", "SM1")
        assert await world.cancel() == "too_late"


async def test_a_claim_of_what_may_be_at_twilio_is_cancelled_too_late(store: Place) -> None:
    """A cancel during a claim stops a further POST and keeps returning `too_late`.

    An earlier attempt is unproven.
    """
    async with opened(store) as world:
        await world.park()
        await world.send_again()
        claimed = await world.claim_one()
        assert await world.cancel() == "too_late"
        assert isinstance(await world.admit(claimed), Cancelled)
        await world.settle(claimed, REFUSED, attempt=0, posted=False)
        assert (await world.row())["s"] == "cancelled"
        assert await world.cancel() == "too_late"


async def test_what_was_proven_not_sent_is_cancelled(store: Place) -> None:
    """A message whose only attempts were rejected or lapsed is cancelled without a doubt."""
    async with opened(store) as world:
        first = await world.post()
        await world.settle(first, AT_ONCE)
        second = await world.claim_one()
        await world.admit(second)
        await world.settle(second, AT_ONCE, posted=False)
        assert await world.cancel() == "cancelled"
        assert await world.cancel() == "cancelled"


async def test_a_retry_of_a_cancelled_claim_ends_cancelled(store: Place) -> None:
    """A cancelled claim ends cancelled, whatever retry the worker settles."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert await world.cancel() == "cancelled"
        settled = await world.settle(claimed, LATER, attempt=0, posted=False)
        assert settled.stage is Stage.CANCELLED
        await world.later(hours=1)
        assert await world.claim() == ()


@pytest.mark.parametrize(
    "stage, answer",
    [
        ("queued", "cancelled"),
        ("waiting", "cancelled"),
        ("retrying", "cancelled"),
        ("posting", "too_late"),
        ("unknown", "too_late"),
        ("unresolved", "too_late"),
        ("accepted", "ended"),
        ("refused", "ended"),
        ("nowhere", "unknown_id"),
    ],
)
async def test_cancel_answers_by_stage(store: Place, stage: str, answer: str) -> None:
    """`cancelled` means that no POST will happen, and asking twice returns the same."""
    async with opened(store) as world:
        await _bring_to(world, stage)
        assert await world.cancel() == answer
        before = await world.contents()
        assert await world.cancel() == answer
        assert await world.contents() == before
        if answer == "cancelled":
            assert (await world.row())["s"] == "cancelled"
            assert await world.claim() == ()
            assert (await world.writes()).released == 0


async def _bring_to(world: World, stage: str) -> None:
    if stage == "nowhere":
        return
    if stage == "queued":
        await world.enqueue()
    elif stage == "posting":
        await world.post()
    elif stage in {"unknown", "unresolved"}:
        await world.park()
        if stage == "unresolved":
            await world.store.unknowns.resolve(
                [Resolution("m1", 1, SettleUnresolved(Reason.HELD_BY_RULE, ""))]
            )
    else:
        results: dict[str, Result] = {
            "waiting": WAITS,
            "retrying": LATER,
            "accepted": accepted(),
            "refused": REFUSED,
        }
        await world.settle(await world.post(), results[stage])
