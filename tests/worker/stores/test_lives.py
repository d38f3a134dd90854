"""Lives of a message: every order of statuses, before and after its failure began another life."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.facts import Holds, TagState
from policies.status import FAILURES, RANKS
from sendwindow.vocabulary import OnUnknown, Purpose, Reason, Stage
from tests.depth import examples
from tests.support.cast import ANNA
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
from worker.ports.effects import (
    CloseWindow,
    Effect,
    HoldBack,
    OptOut,
    PauseSender,
    SetTag,
    SetTemplate,
    SuppressAddress,
    WithdrawMarketing,
)
from worker.ports.settlements import SettleAgain, SettleEnd

pytestmark = pytest.mark.asyncio

WORDS = ("queued", "sending", "sent", "failed", "delivered", "read")
STATUSES = (*WORDS, "undelivered", "canceled")
PROOFS = ("delivered", "read")
UNREACHABLE = (SuppressAddress(2_592_000, "code 63024"),)
WINDOW = SettleAgain(Stage.RETRYING, Reason.WINDOW_CLOSED_BY_PROVIDER, redecided=True, code=63016)


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
async def test_each_status_before_and_behind_each_other(
    store: Place, pair: tuple[str, str]
) -> None:
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


# -- what a failure taught -------------------------------------------------------------------------


async def _suppressed(world: World) -> bool:
    person = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person
    return person.suppressed_until is not None


@pytest.mark.parametrize("is_open_again", [False, True])
async def test_a_proof_takes_back_what_the_failure_taught(
    store: Place, is_open_again: bool
) -> None:
    """A later proof takes back the effects of a failure: 63024 had suppressed the address for 30
    days.
    """
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        await world.admit(claimed, template=ORDER)
        await world.settle(claimed, accepted())
        before = await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)
        taught: tuple[Effect, ...] = (
            *UNREACHABLE,
            CloseWindow(),
            PauseSender(3600, "x"),
            SetTemplate("paused", "63041", 3600),
            HoldBack(
                Holds.ALL_BUT_REPLIES,
                Holds.ALL_BUT_REPLIES,
                0,
                until_inbound=True,
                sender_only=False,
                code=63014,
            ),
        )
        reopen: dict[str, Any] = {"reopen_after_ms": 0} if is_open_again else {}
        await world.callback("failed", effects=taught, **reopen)
        assert await _suppressed(world)
        await world.callback("read")
        after = await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)
        assert (after.person.suppressed_until, after.person.closed_at) == (
            None,
            before.person.closed_at,
        )
        assert after.person.blocks == before.person.blocks
        assert (after.sender.paused_until, after.template.state) == (None, before.template.state)
        assert after.person.revision > before.person.revision
        assert await world.count("taken_back") == 1


async def test_what_was_written_after_the_failure_stays(store: Place) -> None:
    """Effects of another message that failed alike stay until its own failure is disproved."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        await world.callback("failed", effects=UNREACHABLE)
        await world.later(hours=1)
        await world.accept("m2", "SM2")
        await world.callback(
            "failed", "SM2", message_id="m2", effects=(*UNREACHABLE, PauseSender(7200, "x"))
        )
        await world.callback("delivered")
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        assert facts.person.suppressed_until is not None
        assert facts.sender.paused_until is not None
        await world.callback("delivered", "SM2", message_id="m2")
        assert not await _suppressed(world)


@pytest.mark.parametrize(
    "order", [("failed", "delivered"), ("delivered", "failed"), ("failed", "delivered", "failed")]
)
async def test_a_stop_and_a_dead_tag_stand_in_every_order(
    store: Place, order: tuple[str, ...]
) -> None:
    """An opt-out stands in every order until the person takes it back; a dead tag until an
    operator resets it.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.admit(claimed, relies_on_tag=True)
        await world.settle(claimed, accepted())
        for status in order:
            failed = (OptOut(sender_only=False, evidence="21610"), SetTag("dead", "x"))
            await world.callback(status, effects=failed if status in FAILURES else ())
        assert [line["granted"] for line in await world.store.people.consents(ANNA)] == [False]
        if order[0] == "failed":
            assert (
                await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
            ).tag.state is TagState.DEAD


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize(
    "order", list(itertools.permutations(("undelivered", "failed", "delivered")))
)
async def test_every_stop_counts_in_every_order_before_the_reply(
    store: Place, order: tuple[str, ...], is_named: bool
) -> None:
    """A STOP that waits under its SID is not lost to a status before or behind it."""
    names: dict[str, Any] = {} if is_named else {"message_id": None, "attempt": None}
    stops: dict[str, Effect] = {
        "undelivered": OptOut(sender_only=True, evidence="21610"),
        "failed": WithdrawMarketing("131050"),
    }
    async with opened(store) as world:
        claimed = await world.post()
        for status in order:
            effects = (stops[status],) if status in stops else ()
            await world.callback(status, "SM1", effects=effects, **names)
        await world.settle(claimed, accepted("SM1"))
        assert (await world.row())["st"] == "delivered"
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        assert {one.purpose for one in facts.person.consents if not one.granted} == {
            None,
            Purpose.MARKETING,
        }


# -- 63016 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [None, ORDER])
async def test_a_closed_window_in_the_reply_allows_one_new_decision_and_none_to_a_template(
    store: Place, template: str | None
) -> None:
    """63016 in the reply allows one new decision for a freeform and none for a template.

    A template needs no window, so a second one would be refused again.
    """
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        await world.admit(claimed, template=template)
        settled = await world.settle(claimed, WINDOW, template=template)
        if template is not None:
            assert settled.stage is Stage.FAILED
            assert (await world.row())["r"] == Reason.WINDOW_CLOSED_BY_PROVIDER
            return
        assert settled.stage is Stage.RETRYING
        again = await world.claim_one()
        await world.admit(again)
        assert (await world.settle(again, WINDOW)).stage is Stage.FAILED


async def test_the_one_new_decision_is_shared_by_both_ways(store: Place) -> None:
    """The one new decision is shared: after a report used it, a reply with 63016 ends the
    message.
    """
    async with opened(store) as world:
        await world.accept()
        assert (await world.callback("failed", reopen_after_ms=0, redecides=True)).reopened
        again = await world.claim_one()
        await world.admit(again)
        assert (await world.settle(again, WINDOW)).stage is Stage.FAILED


@pytest.mark.parametrize("template", [None, ORDER])
async def test_a_closed_window_is_judged_by_the_reply_when_the_intent_was_lost(
    store: Place, template: str | None
) -> None:
    """If a failover lost the intent, the worker's own form decides about 63016 in its reply."""
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        settled = await world.settle(claimed, WINDOW, template=template)
        assert settled.stage is (Stage.RETRYING if template is None else Stage.FAILED)


async def test_a_closed_window_that_is_reported_of_an_unknown_form_allows_nothing(
    store: Place,
) -> None:
    """63016 for an unknown form allows no new decision, since it may have been a template."""
    async with opened(store) as world:
        await world.accept()
        await world.redis.hdel(world.keys.row("m1"), "@1")  # type: ignore[misc]  # redis-py types both flavours
        assert not (await world.callback("failed", reopen_after_ms=0, redecides=True)).reopened
        assert (await world.row())["s"] == Stage.ACCEPTED


# -- cancel ----------------------------------------------------------------------------------------


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


# -- nothing grows ---------------------------------------------------------------------------------


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
