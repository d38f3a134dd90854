"""Callbacks of one attempt while another is open, or after the end: none that got a 2xx is lost."""

from datetime import timedelta

import pytest

from policies.facts import TagState
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    SENDER,
    UNKNOWN,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.admissions import Later, Permit
from worker.ports.effects import OptOut, PauseSender, SetTag
from worker.ports.settlements import SettleAccepted, SettleEnd
from worker.ports.unknowns import Resolution

pytestmark = pytest.mark.asyncio

ENDED = SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED)
STOP = (OptOut(sender_only=False, evidence="21610"),)


async def _crash(world: World) -> None:
    for _ in range(2):
        await world.later(minutes=5)
        await world.store.ledger.reap(10)
        await world.later(seconds=16)
        await world.store.ledger.reap(10)


async def _has_stopped(world: World) -> bool:
    facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
    return any(not consent.granted for consent in facts.person.consents)


async def _tag_state(world: World) -> TagState:
    return (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).tag.state


@pytest.mark.parametrize(
    ("reply", "late"), [("sending", "queued"), ("sent", "sending"), ("failed", "queued")]
)
async def test_a_callback_never_falls_behind_the_reply(store: Place, reply: str, late: str) -> None:
    """The status in the reply has a rank, for callbacks after it and for a callback kept from
    before it.
    """
    async with opened(store) as world:
        for message_id, is_early in (("m1", True), ("m2", False)):
            claimed = await world.post(message_id)
            sid = f"SM-{message_id}"
            if is_early:
                await world.callback(late, sid, message_id=message_id)
            await world.settle(claimed, SettleAccepted(sid, reply))
            assert not (await world.callback(late, sid, message_id=message_id)).moved
            assert (await world.row(message_id))["st"] == reply


async def test_the_reply_s_own_status_as_a_callback_still_teaches(store: Place) -> None:
    """A callback with the reply's own status moves nothing, and its code and effects count once."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.settle(claimed, SettleAccepted("SM1", "failed"))
        assert (await world.callback("failed", effects=STOP)).moved
        row = await world.row()
        assert (row["st"], row["c"]) == ("failed", "30500")
        assert await _has_stopped(world)
        assert not (await world.callback("failed", effects=STOP)).moved


@pytest.mark.parametrize("result", [ENDED, AT_ONCE, UNKNOWN], ids=["refused", "again", "unknown"])
async def test_what_came_for_the_first_attempt_is_shown_when_it_stands(
    store: Place, result: SettleEnd
) -> None:
    """`delivered` of the first attempt is shown when the second attempt proves nothing.

    It arrives while the second is posting.
    """
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("delivered", "SMone")
        await world.settle(second, result)
        row = await world.row()
        assert (row["s"], row["sid"], row["st"]) == ("accepted", "SMone", "delivered")
        assert await world.redis.zcard(world.keys.undelivered) == 0


@pytest.mark.parametrize("is_own_first", [True, False])
async def test_two_proven_attempts_survive_a_crash(store: Place, is_own_first: bool) -> None:
    """In any order both SIDs stay bound, the copy is counted once, and the status is that of the
    row's SID.
    """
    async with opened(store) as world:
        await world.resent()
        calls = [("delivered", "SMtwo", 2), ("sent", "SMone", 1)]
        for status, sid, attempt in calls if is_own_first else reversed(calls):
            for _ in range(2):
                await world.callback(status, sid, attempt=attempt)
        assert await world.store.unknowns.owners(["SMone", "SMtwo"]) == [("m1", 1), ("m1", 2)]
        await _crash(world)
        row = await world.row()
        assert (row["s"], row["sid"], row["st"]) == ("accepted", "SMtwo", "delivered")
        assert (await world.sids()).keys() == {"SMone"}
        assert await world.count("duplicates") == 1


async def test_a_failed_first_attempt_is_not_sent_again_while_the_second_is_unproven(
    store: Place,
) -> None:
    """A failure of the first attempt allows no new attempt while the second may be on its way."""
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("failed", "SMone", reopen_after_ms=0)
        await world.settle(second, UNKNOWN)
        row = await world.row()
        assert (row["s"], row["st"]) == ("accepted", "failed")
        assert await world.claim() == ()


async def test_a_refusal_counts_for_a_copy(store: Place) -> None:
    """An opt-out reported for the first attempt counts after the second was accepted.

    It does not set the row's status.
    """
    async with opened(store) as world:
        second = await world.resent()
        await world.settle(second, accepted("SMtwo"))
        await world.callback("failed", "SMone", effects=STOP)
        assert await _has_stopped(world)
        assert (await world.row())["st"] == "queued"


async def test_a_refusal_counts_for_a_message_that_ended(store: Place) -> None:
    """An opt-out of its only attempt counts for a message that its rule ended without a resend."""
    async with opened(store) as world:
        await world.park()
        await world.store.unknowns.resolve(
            [Resolution("m1", 1, SettleEnd(Stage.DEAD, Reason.NEVER_BY_RULE))]
        )
        await world.callback("failed", "SMone", effects=STOP)
        assert await _has_stopped(world)
        assert (await world.row())["s"] == "dead"


async def test_a_copy_s_callback_teaches_once(store: Place) -> None:
    """A repeated callback of a copy changes nothing, and its pause grows no longer."""
    async with opened(store) as world:
        second = await world.resent()
        await world.settle(second, accepted("SMtwo"))
        await world.callback("failed", "SMone", effects=(PauseSender(60, "x"),))
        before = await world.contents()
        await world.callback("failed", "SMone", effects=(PauseSender(60, "x"),))
        assert await world.contents() == before


async def test_a_refusal_of_an_earlier_attempt_is_as_old_as_its_intent(store: Place) -> None:
    """A refusal of an earlier attempt is dated to its intent, so a START after that outranks it."""
    async with opened(store) as world:
        await world.park()
        await world.later(seconds=5)
        await world.writes("SM90", keyword="start")
        await world.send_again()
        await world.later(seconds=5)
        await world.admit(await world.claim_one())
        await world.callback("failed", "SMone", effects=STOP)
        assert not await _has_stopped(world)


async def test_a_callback_from_before_its_sid_was_known_is_not_lost_on_a_copy(store: Place) -> None:
    """A callback without our query waits under its SID and takes effect when a later one names
    the attempt.
    """
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("failed", "SMone", message_id=None, attempt=None, effects=STOP)
        assert not await _has_stopped(world)
        await world.callback("sent", "SMone")
        assert await _has_stopped(world)
        await world.settle(second, ENDED)
        assert (await world.row())["st"] == "failed"


@pytest.mark.parametrize("has_first_tag", [True, False])
async def test_only_what_relied_on_the_tag_proves_it(store: Place, has_first_tag: bool) -> None:
    """A status of the first attempt proves no tag that only the second relied on."""
    async with opened(store) as world:
        second = await world.resent(
            tag_before=has_first_tag, tag=not has_first_tag, on_unknown=OnUnknown.RESEND
        )
        await world.callback("queued", "SMone")
        await world.settle(second, ENDED)
        await world.callback("sent", "SMone")
        assert await _tag_state(world) is (TagState.PROVEN if has_first_tag else TagState.UNPROVEN)


async def test_a_tag_is_declared_dead_only_by_an_attempt_that_relied_on_it(store: Place) -> None:
    """A code of an attempt inside the window says nothing about the tag."""
    async with opened(store) as world:
        await world.resent(tag=True)
        dead = (SetTag("dead", "63016"),)
        await world.callback("failed", "SMone", effects=dead)
        assert await _tag_state(world) is TagState.UNPROVEN
        await world.callback("failed", "SMtwo", attempt=2, effects=dead)
        assert await _tag_state(world) is TagState.DEAD


@pytest.mark.parametrize(
    ("rule", "reason", "is_free"),
    [
        (OnUnknown.RESEND, Reason.RESENT_BY_RULE, False),
        (OnUnknown.RESEND_IF_ABSENT, Reason.RESENT_BY_RULE, True),
        (OnUnknown.RESEND, Reason.EVIDENCE_PERSON, True),
    ],
)
async def test_only_proof_of_absence_frees_the_page(
    store: Place, rule: OnUnknown, reason: Reason, is_free: bool
) -> None:
    """A Page with an unproven tagged attempt gets no other one until that attempt lapses.

    Only proof of absence frees it sooner.
    """
    async with opened(store) as world:
        await world.enqueue(on_unknown=rule)
        first = await world.claim_one()
        await world.admit(first, relies_on_tag=True)
        await world.settle(first, UNKNOWN)
        await world.send_again(reason)
        again = await world.claim_one()
        await world.enqueue("m2", expires_at=await world.store.now() + timedelta(days=3))
        other = await world.claim_one()
        assert isinstance(
            await world.admit(other, relies_on_tag=True), Permit if is_free else Later
        )
        assert isinstance(await world.admit(again, relies_on_tag=False), Permit)


async def test_a_refused_resend_does_not_free_the_page(store: Place) -> None:
    """A refused second attempt does not free the Page while the first is unproven."""
    async with opened(store) as world:
        second = await world.resent(tag_before=True, tag=True, on_unknown=OnUnknown.RESEND)
        await world.settle(second, ENDED)
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        assert facts.tag.in_flight


async def test_the_call_that_proves_a_copy_is_answered_so(store: Place) -> None:
    """A callback or reply that proves a second SID reports a copy; a repeated callback does not."""
    async with opened(store) as world:
        second = await world.resent()
        assert not (await world.callback("sent", "SMone")).is_copy
        assert (await world.settle(second, SettleAccepted("SMtwo", "queued"))).has_copy
        assert not (await world.callback("sent", "SMtwo", attempt=2)).is_copy
        assert (await world.callback("sent", "SMthree", attempt=1)).is_copy
        assert not (await world.callback("sent", "SMthree", attempt=1)).is_copy


async def test_a_copy_is_reported_once(store: Place) -> None:
    """A reply that names a copy's SID again reports nothing new, however often it is recorded."""
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("sent", "SMone")
        assert (await world.callback("sent", "SMtwo", attempt=2)).is_copy
        for _ in range(2):
            assert not (await world.settle(second, SettleAccepted("SMtwo", "queued"))).has_copy


async def test_who_proved_a_copy_is_told_again_when_the_answer_was_lost(store: Place) -> None:
    """A settlement repeated after a lost reply reports the copy again and counts it once."""
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("sent", "SMone")
        for _ in range(2):
            assert (await world.settle(second, SettleAccepted("SMtwo", "queued"))).has_copy
        assert await world.count("duplicates") == 1
