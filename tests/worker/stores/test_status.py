"""Statuses move forward in every order, also before the reply."""

import itertools
import random
from dataclasses import replace

import pytest

from policies.status import RANKS, describe
from sendwindow.row_fields import RowField
from sendwindow.vocabulary import Reason, Stage
from tests.support.stores_world import (
    AT_ONCE,
    REFUSED,
    UNKNOWN,
    Place,
    accepted,
    opened,
    update,
)

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["queued", "sent", "delivered", "read"]))
)
async def test_the_order_of_callbacks_does_not_matter(store: Place, order: tuple[str, ...]) -> None:
    """Every order of the same callbacks, each twice, ends at the furthest status."""
    async with opened(store) as world:
        await world.accept()
        ranks = []
        for status in order:
            await world.callback(status)
            repeated = await world.callback(status)
            assert not repeated.moved
            ranks.append(int((await world.row())["sr"]))
        assert ranks == sorted(ranks)
        assert (await world.row())["st"] == "read"
        assert await world.redis.zcard(world.keys.undelivered) == 0


@pytest.mark.parametrize(
    ("current", "new", "stands"),
    [
        ("queued", "sent", "sent"),
        ("sent", "queued", "sent"),
        ("sent", "failed", "failed"),
        ("failed", "sent", "failed"),
        ("read", "delivered", "read"),
        ("delivered", "failed", "delivered"),
        ("read", "undelivered", "read"),
        ("failed", "undelivered", "failed"),
        ("undelivered", "delivered", "delivered"),
        ("canceled", "delivered", "delivered"),
        ("sending", "teleported", "teleported"),
        ("teleported", "sent", "sent"),
        ("sent", "teleported", "sent"),
    ],
)
async def test_a_status_moves_forward_or_stays(
    store: Place, current: str, new: str, stands: str
) -> None:
    """A late report changes nothing, and a report of a higher rank replaces the one before it."""
    async with opened(store) as world:
        await world.accept()
        assert (await world.callback(current)).moved
        assert (await world.callback(new)).moved is (stands == new)
        assert (await world.row())["st"] == stands


@pytest.mark.parametrize("seed", range(8))
async def test_the_rank_never_goes_down(store: Place, seed: int) -> None:
    """Whatever Twilio reports in whatever order, the first status of the highest rank stands."""
    chance = random.Random(seed)
    async with opened(store) as world:
        await world.accept()
        await world.callback("queued")
        stands = "queued"
        for status in chance.choices([*RANKS, "teleported"], k=12):
            if describe(status).rank > describe(stands).rank:
                stands = status
            await world.callback(status)
            row = await world.row()
            assert (row["st"], int(row["sr"])) == (stands, describe(stands).rank)


async def test_a_final_status_lets_the_job_go(store: Place) -> None:
    """A final status removes the job; before that, a failure might reopen the message."""
    async with opened(store) as world:
        await world.accept()
        assert await world.redis.pttl(world.keys.job("m1")) > 0
        await world.callback("delivered")
        assert not await world.redis.exists(world.keys.job("m1"))


async def test_a_callback_before_the_reply_waits_for_it(store: Place) -> None:
    """A callback before the reply is kept, and the settlement shows its status."""
    async with opened(store) as world:
        claimed = await world.post()
        for status in ("delivered", "sent"):
            applied = await world.callback(status, "SM1")
            assert (applied.known, applied.resolved) == (True, False)
            assert applied.moved == (status == "delivered")
        assert (await world.row())["s"] == "posting"
        await world.settle(claimed, accepted("SM1"))
        row = await world.row()
        assert (row["s"], row["st"], row["sid"]) == ("accepted", "delivered", "SM1")
        assert await world.count("duplicates") == 0


@pytest.mark.parametrize("result", [UNKNOWN, AT_ONCE, REFUSED], ids=["unproven", "retry", "end"])
async def test_a_callback_outweighs_a_reply_that_proves_nothing(
    store: Place, result: object
) -> None:
    """A callback's SID proves acceptance, even if the reply proved nothing."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.callback("sent", "SM1")
        settled = await world.settle(claimed, result)  # type: ignore[arg-type]  # a table of results of different types
        assert settled.stage is Stage.ACCEPTED
        row = await world.row()
        assert (row["sid"], row["st"], row["r"]) == ("SM1", "sent", Reason.EVIDENCE_CALLBACK)
        assert await world.claim() == ()


async def test_a_callback_resolves_an_unknown_attempt(store: Place) -> None:
    """A callback resolves an unknown attempt: accepted with that SID, with its evidence named,
    counted once.
    """
    async with opened(store) as world:
        await world.park()
        applied = await world.callback("sent", "SM1")
        assert (applied.known, applied.moved, applied.resolved) == (True, True, True)
        row = await world.row()
        assert (row["s"], row["sid"], row["r"]) == ("accepted", "SM1", Reason.EVIDENCE_CALLBACK)
        assert await world.count("resolved:evidence_callback") == 1
        assert not (await world.callback("sent", "SM1")).resolved
        assert await world.redis.zcard(world.keys.unknown) == 0


async def test_a_row_of_the_list_is_evidence_too(store: Place) -> None:
    """A row of the list resolves an attempt as a callback does, with another name for its
    evidence.
    """
    async with opened(store) as world:
        await world.park()
        applied = await world.callback("sent", "SM1", evidence=Reason.EVIDENCE_LIST)
        assert applied.resolved
        assert await world.count("resolved:evidence_list") == 1


async def test_an_unknown_sid_is_kept_until_its_reply(store: Place) -> None:
    """A callback with only a SID waits up to 24 h for its reply, at the furthest status."""
    async with opened(store) as world:
        claimed = await world.post()
        for status in ("sent", "delivered", "queued"):
            applied = await world.callback(status, "SM1", message_id=None, attempt=None)
            assert not applied.known
        assert await world.store.unknowns.owners(["SM1"]) == [None]
        assert 0 < await world.redis.pttl(world.keys.sid("SM1")) <= 24 * 3600 * 1000
        await world.settle(claimed, accepted("SM1"))
        assert (await world.row())["st"] == "delivered"
        applied = await world.callback("read", "SM1", message_id=None, attempt=None)
        assert (applied.known, applied.moved, applied.message_id) == (True, True, "m1")


async def test_both_ways_of_being_early_are_put_together(store: Place) -> None:
    """Of an early callback with our query and one without it, the furthest status counts."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.callback("delivered", "SM1", message_id=None, attempt=None)
        await world.callback("sent", "SM1")
        await world.settle(claimed, accepted("SM1"))
        assert (await world.row())["st"] == "delivered"


async def test_a_callback_for_an_unknown_message_is_kept_for_a_day(store: Place) -> None:
    """A callback for a message that is gone is kept for a day and does not bring its row back."""
    async with opened(store) as world:
        applied = await world.callback("sent", "SM1", message_id="gone")
        assert (applied.known, applied.moved) == (False, True)
        assert await world.store.records.record("gone") is None
        assert 0 < await world.redis.pttl(world.keys.sid("SM1")) <= 24 * 3600 * 1000
        again = await world.callback("sent", "SM1", message_id="gone")
        assert (again.known, again.moved) == (False, False)


CLOSED = {"code": 63016, "reopen_after_ms": 0, "redecides": True}


async def test_a_window_closed_by_callback_is_decided_again_once(store: Place) -> None:
    """63016 by callback reopens the message once; the second one ends it."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        assert (await world.callback("failed", "SM1", **CLOSED)).reopened
        claimed = await world.claim_one()
        assert (await world.row())[RowField.REDECIDED] == "1"
        await world.admit(claimed)
        await world.settle(claimed, accepted("SM2"), attempt=2)
        assert not (await world.callback("failed", "SM2", attempt=2, **CLOSED)).reopened
        assert (await world.row())["s"] == "accepted"


async def test_a_template_refused_for_the_window_is_not_sent_again(store: Place) -> None:
    """A template refused for a closed window is not sent again.

    A template needs no window, so the next decision would choose it again and Twilio would refuse
    it forever.
    """
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        await world.admit(claimed, template="order_update")
        await world.settle(claimed, accepted("SM1"))
        assert not (await world.callback("failed", "SM1", **CLOSED)).reopened


async def test_a_batch_is_applied_in_order(store: Place) -> None:
    """One call for many callbacks returns one result each, in order."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        await world.accept("m2", "SM2")
        given = [
            update("sent"),
            replace(update("sent", "SM2"), message_id="m2"),
            update("delivered"),
            update("sent"),
        ]
        answers = await world.store.statuses.apply(given)
        assert [one.moved for one in answers] == [True, True, True, False]
        assert [one.message_id for one in answers] == ["m1", "m2", "m1", "m1"]
        assert await world.store.statuses.apply([]) == []
