"""Every order of statuses, before and after a failure began another life."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.status import RANKS
from sendwindow.vocabulary import OnUnknown, Stage
from tests.depth import examples
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    DEAD,
    FAR,
    ORDER,
    REFUSED,
    SENDER,
    UNKNOWN,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.admissions import Lost, Permit

pytestmark = pytest.mark.asyncio


WORDS = ("queued", "sending", "sent", "failed", "delivered", "read")


STATUSES = (*WORDS, "undelivered", "canceled")


PROOFS = ("delivered", "read")


async def _report(
    world: World, status: str, sid: str = "SM1", attempt: int = 1, **more: object
) -> None:
    reopen = {"reopen_after_ms": 0} if status == "failed" else {}
    await world.callback(status, sid, attempt=attempt, **(reopen | more))


def _furthest(statuses: Sequence[str]) -> str:
    """Return where a story ends in any order: the highest rank, and of failures the first."""
    return max(statuses, key=lambda status: RANKS[status])


@pytest.mark.parametrize(
    "order", list(itertools.permutations(("sent", "failed", "delivered", "read")))
)
async def test_in_every_order_one_post_and_one_end(store: Place, order: tuple[str, ...]) -> None:
    """In every order of statuses there is one POST and one end.

    With `delivered`, a `failed` was mistaken.
    """
    async with opened(store) as world:
        await world.accept()
        for status in order:
            await _report(world, status)
        row = await world.row()
        assert (row["s"], row["sid"], row["st"], row["n"]) == ("accepted", "SM1", "read", "1")
        assert await world.claim() == ()
        assert await world.redis.zcard(world.keys.lane(f"{SENDER}|normal|")) == 0


@pytest.mark.parametrize("pair", list(itertools.permutations(STATUSES, 2)))
async def test_each_status_before_and_after_each_other(store: Place, pair: tuple[str, str]) -> None:
    """For every pair of statuses, only a retryable failure without proof behind it begins
    another life.
    """
    async with opened(store) as world:
        await world.accept()
        for status in pair:
            await _report(world, status)
        row = await world.row()
        furthest = _furthest(pair)
        if furthest == "failed":
            assert (row["s"], row["lf"]) == ("retrying", "2")
        else:
            assert (row["s"], row["st"]) == ("accepted", furthest)


@given(
    before=st.lists(st.sampled_from(STATUSES), max_size=5),
    after=st.lists(st.sampled_from(STATUSES), max_size=5),
    stage=st.sampled_from(["retrying", "claimed", "posting", "unknown", "accepted"]),
)
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_a_story_told_before_and_after_another_life_began(
    store: Place, before: list[str], after: list[str], stage: str
) -> None:
    """Reports of the first SID in any order decide whether the person has the message.

    Some come before the second attempt has reached a stage and some after it. The furthest status
    of the first SID counts.
    """
    async with opened(store) as world:
        for key in [name async for name in world.redis.scan_iter(match=f"*{world.keys.tag}*")]:
            await world.redis.delete(key)
        await world.store.register_senders({SENDER: ACCOUNT})
        await world.accept()
        for status in before:
            await _report(world, status)
        lives = (await world.row())["s"] == "retrying"
        assert lives == (bool(before) and _furthest(before) == "failed")
        if not lives:
            return
        await _bring(world, stage)
        for status in after:
            await _report(world, status)
        arrived = any(status in PROOFS for status in after)
        row = await world.row()
        if stage == "accepted":
            assert (row["s"], row["sid"]) == ("accepted", "SM2")
            assert await world.count("duplicates") == arrived
        elif stage == "posting":
            assert row["s"] == "posting"
        else:
            assert row["s"] == ("accepted" if arrived else stage)
            assert row.get("sid") == ("SM1" if arrived else None)
            assert await world.count("duplicates") == 0


async def _bring(world: World, stage: str) -> None:
    """Bring the second attempt to a stage."""
    if stage == "retrying":
        return
    claimed = await world.claim_one()
    if stage == "claimed":
        return
    await world.admit(claimed)
    if stage == "unknown":
        await world.settle(claimed, UNKNOWN)
    elif stage == "accepted":
        await world.settle(claimed, accepted("SM2"))


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("is_claimed", [False, True])
async def test_a_later_proof_takes_the_retry_off_its_lane(
    store: Place, proof: str, is_claimed: bool
) -> None:
    """A later proof of the first attempt stops the retry, even if a worker has claimed it."""
    async with opened(store) as world:
        await world.accept()
        await _report(world, "failed")
        held = await world.claim_one() if is_claimed else None
        applied = await world.callback(proof)
        assert (applied.known, applied.moved, applied.is_end, applied.is_copy) == (
            True,
            True,
            True,
            False,
        )
        if held is not None:
            assert isinstance(await world.admit(held), Lost)
        row = await world.row()
        assert (row["s"], row["sid"], row["st"], row["a"], row["lf"]) == (
            "accepted",
            "SM1",
            proof,
            "1",
            "2",
        )
        assert "c" not in row
        assert await world.claim() == ()
        ends = {
            name: n
            for name, n in (await world.store.records.counts()).items()
            if name.startswith("end:") and n
        }
        assert sum(ends.values()) == 1
        before = await world.contents()
        assert not (await world.callback("failed", reopen_after_ms=0)).moved
        assert not (await world.callback(proof)).moved
        assert await world.contents() == before


@pytest.mark.parametrize(
    "result", [UNKNOWN, AT_ONCE, REFUSED, accepted("SM2")], ids=["unknown", "again", "end", "sid"]
)
async def test_proof_of_the_first_while_the_second_is_under_way(
    store: Place, result: object
) -> None:
    """Proof of the first attempt during the second's POST: a SID in its reply is a copy,
    otherwise the first SID ends the message.
    """
    async with opened(store) as world:
        await world.accept()
        await _report(world, "failed")
        second = await world.claim_one()
        assert isinstance(await world.admit(second), Permit)
        applied = await world.callback("delivered")
        assert (applied.is_end, applied.is_copy) == (False, False)
        settled = await world.settle(second, result)  # type: ignore[arg-type]  # a table of results of different types
        is_sid = result == accepted("SM2")
        row = await world.row()
        assert (settled.stage, settled.has_copy) == (Stage.ACCEPTED, is_sid)
        assert (row["sid"], row["st"]) == (("SM2", "queued") if is_sid else ("SM1", "delivered"))
        assert await world.count("duplicates") == is_sid
        assert not (await world.callback("failed", "SM2", attempt=2, reopen_after_ms=0)).reopened


@pytest.mark.parametrize("template", [None, "order_update"])
async def test_a_message_with_the_rule_never_is_not_sent_again_for_a_failure(
    store: Place, template: str | None
) -> None:
    """With the rule never a failure begins no second POST, and only `delivered` changes its end."""
    async with opened(store) as world:
        await world.enqueue(template=template, on_unknown=OnUnknown.NEVER)
        claimed = await world.claim_one()
        await world.admit(claimed, template=ORDER if template else None)
        await world.settle(claimed, accepted())
        for redecides in (True, False):
            assert not (
                await world.callback("failed", reopen_after_ms=0, redecides=redecides)
            ).reopened
        assert (await world.row())["st"] == "failed"
        assert await world.claim() == ()
        assert (await world.callback("delivered")).moved


async def test_a_cancelled_dead_letter_is_not_replayed(store: Place) -> None:
    """A cancelled dead letter leaves the list with its job, and no operator can replay it."""
    async with opened(store) as world:
        await world.settle(await world.post(), DEAD)
        assert [await world.cancel() for _ in range(2)] == ["cancelled", "cancelled"]
        assert (await world.row())["s"] == "dead"
        for even_if_sent in (False, True):
            assert await world.store.records.replay(["m1"], FAR, even_if_sent=even_if_sent) == [
                "cancelled"
            ]
        assert await world.claim() == ()
        assert await world.redis.zcard(world.keys.dead) == 0
        assert not await world.redis.exists(world.keys.job("m1"))


async def test_a_cancelled_dead_letter_that_may_have_gone_out_is_too_late(store: Place) -> None:
    """A dead letter that may have gone out is cancelled too late, so that the caller does not
    assume it was never sent.
    """
    async with opened(store) as world:
        second = await world.resent()
        await world.settle(second, DEAD)
        assert await world.cancel() == "too_late"


async def test_a_cancel_that_came_before_the_end_holds_after_it(store: Place) -> None:
    """A cancel during a POST that ends as a dead letter still holds: no operator has to decide
    about it.
    """
    async with opened(store) as world:
        claimed = await world.post()
        assert await world.cancel() == "too_late"
        assert (await world.settle(claimed, DEAD)).stage is Stage.DEAD
        assert await world.store.records.replay(["m1"], FAR) == ["cancelled"]
        assert await world.redis.zcard(world.keys.dead) == 0
