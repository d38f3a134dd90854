"""Several SIDs of one message: each is bound at once, a copy is counted once, and storage is
bounded.
"""

import itertools
from datetime import timedelta

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    PAST,
    SENDER,
    UNKNOWN,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.effects import OptOut, PauseSender, SetTag, SuppressAddress
from worker.ports.records import SidLine
from worker.ports.settlements import SettleAccepted, SettleEnd
from worker.ports.unknowns import Resolution

pytestmark = pytest.mark.asyncio

ENDED = SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED)
CANCELLED = SettleEnd(Stage.CANCELLED, Reason.CANCELLED)
STOP = OptOut(sender_only=False, evidence="21610")
THREE = (("SMone", 1), ("SMtwo", 2), ("SMthree", 2))
MANY = 60


async def _attempts(world: World) -> dict[str, int]:
    return {sid: line.attempt for sid, line in (await world.sids()).items()}


async def _kept(world: World) -> dict[str, SidLine]:
    return dict(await world.sids())


async def _paused_until(world: World) -> object:
    return (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).sender.paused_until


async def _withdrawals(world: World) -> int:
    return sum(not line["granted"] for line in await world.store.people.consents(ANNA))


@pytest.mark.parametrize("order", list(itertools.permutations(THREE)))
async def test_three_sids_are_two_copies(store: Place, order: tuple[tuple[str, int], ...]) -> None:
    """In any order, repeated, before or after the reply, three SIDs are bound and count as two
    copies.
    """
    async with opened(store) as world:
        second = await world.resent()
        for sid, attempt in order:
            await world.callback("sent", sid, attempt=attempt)
            assert await world.store.unknowns.owners([sid]) == [("m1", attempt)]
        await world.settle(second, accepted("SMtwo"))
        before = await world.contents()
        for sid, attempt in order:
            await world.callback("sent", sid, attempt=attempt)
        await world.settle(second, accepted("SMtwo"))
        assert await world.contents() == before
        row = await world.row()
        assert (row["s"], row["sid"], row["st"]) == ("accepted", "SMtwo", "sent")
        assert await _attempts(world) == {"SMone": 1, "SMthree": 2}
        assert await world.count("duplicates") == 2


async def test_two_sids_of_a_message_that_ended_are_a_copy(store: Place) -> None:
    """If both attempts of an ended message turn out to be taken, the second SID counts as a copy.

    The person got the message twice.
    """
    async with opened(store) as world:
        second = await world.resent()
        await world.settle(second, ENDED)
        for _ in range(2):
            await world.callback("sent", "SMone")
            assert await world.count("duplicates") == 0
        for _ in range(2):
            await world.callback("sent", "SMtwo", attempt=2)
        assert (await world.count("late_evidence"), await world.count("duplicates")) == (1, 1)
        assert (await world.row())["s"] == "failed"


async def test_a_sid_that_failed_and_was_sent_again_is_no_copy(store: Place) -> None:
    """A SID that failed and was sent again is no copy; a second SID of the new attempt is one."""
    async with opened(store) as world:
        await world.accept()
        assert (await world.callback("failed", reopen_after_ms=0)).reopened
        again = await world.claim_one()
        await world.admit(again)
        await world.callback("failed", reopen_after_ms=0)
        await world.settle(again, accepted("SMtwo"))
        assert await world.count("duplicates") == 0
        await world.callback("sent", "SMthree", attempt=2)
        assert await world.count("duplicates") == 1


async def test_a_message_with_a_copy_that_stands_is_not_sent_a_third_time(store: Place) -> None:
    """A failure that would allow another attempt allows none while the person has, or will get, a
    copy.
    """
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("sent", "SMone")
        await world.settle(second, accepted("SMtwo"))
        applied = await world.callback("failed", "SMtwo", attempt=2, reopen_after_ms=0)
        assert (applied.moved, applied.reopened) == (True, False)
        assert await world.claim() == ()


async def test_a_message_whose_copy_failed_too_is_sent_again(store: Place) -> None:
    """If the copy failed as well, the failure reopens the message as usual."""
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("failed", "SMone")
        await world.settle(second, accepted("SMtwo"))
        assert (await world.callback("failed", "SMtwo", attempt=2, reopen_after_ms=0)).reopened


async def test_what_a_misread_list_showed_gives_way_to_proof(store: Place) -> None:
    """A proven SID of our own replaces a SID that a list search assigned wrongly."""
    async with opened(store) as world:
        await world.park("m1")
        await world.callback("sent", "SMlisted", evidence=Reason.EVIDENCE_LIST)
        await world.callback("delivered", "SMown")
        await world.park("m2")
        applied = await world.callback("sent", "SMlisted", message_id="m2")
        assert (applied.message_id, applied.resolved, applied.unbound) == ("m2", True, None)
        row = await world.row("m1")
        assert (row["s"], row["sid"], row["a"], row["st"]) == (
            "accepted",
            "SMown",
            "1",
            "delivered",
        )
        assert await world.store.unknowns.owners(["SMown", "SMlisted"]) == [("m1", 1), ("m2", 1)]
        assert await world.redis.zcard(world.keys.unknown) == 0


async def test_a_proven_attempt_is_no_rival(store: Place) -> None:
    """A proven attempt is no rival for rows of Twilio's list, and the permit of an open POST
    stays.
    """
    async with opened(store) as world:
        second = await world.resent()
        people, unknowns = world.store.people, world.store.unknowns
        digest = second.facts.person_digest
        await world.callback("sent", "SMone")
        assert [one.attempt for one in await unknowns.rivals(digest, "other", PAST) or []] == [2]
        await world.callback("sent", "SMtwo", attempt=2)
        assert await people.permits_left_ms(digest) > 0
        await world.settle(second, UNKNOWN)
        assert await unknowns.rivals(digest, "other", PAST) == []


@pytest.mark.parametrize("late", ["unknown", "posting"])
async def test_a_late_reply_that_is_further_than_the_callbacks_stands(
    store: Place, late: str
) -> None:
    """A late reply that ranks above the callbacks sets the status: `sent` replaces a `queued`
    from before.
    """
    async with opened(store) as world:
        first = await world.post()
        await world.reap()
        reply = SettleAccepted("SMone", "sent")
        if late == "unknown":
            await world.callback("queued", "SMone")
            await world.settle(first, reply)
        else:
            await world.send_again()
            second = await world.claim_one()
            await world.admit(second)
            await world.callback("queued", "SMone")
            await world.settle(first, reply)
            await world.settle(second, ENDED)
        assert not (await world.callback("sending", "SMone")).moved
        assert (await world.row())["st"] == "sent"
        assert (await world.callback("sent", "SMone")).moved
        assert not (await world.callback("sent", "SMone")).moved


@pytest.mark.parametrize("sid", ["SMone", "SMtwo"], ids=["a copy's", "its own"])
async def test_a_stop_behind_delivered_is_a_stop(store: Place, sid: str) -> None:
    """An opt-out reported after `delivered` counts once; it moves no status and pauses nothing."""
    async with opened(store) as world:
        second = await world.resent()
        await world.settle(second, accepted("SMtwo"))
        attempt = 1 if sid == "SMone" else 2
        await world.callback("delivered", sid, attempt=attempt)
        for _ in range(2):
            applied = await world.callback(
                "failed", sid, attempt=attempt, effects=(STOP, PauseSender(60, "x"))
            )
            assert not applied.moved
        assert await _withdrawals(world) == 1
        assert await _paused_until(world) is None


async def test_each_status_of_a_copy_teaches_once(store: Place) -> None:
    """Each status of a copy applies its pause once, and not again when it is repeated."""
    async with opened(store) as world:
        second = await world.resent()
        await world.settle(second, accepted("SMtwo"))
        paused = []
        for status in ("sent", "failed"):
            for _ in range(2):
                await world.later(minutes=1)
                await world.callback(status, "SMone", effects=(PauseSender(3600, "x"),))
                paused.append(await _paused_until(world))
        assert paused[0] == paused[1] != paused[2] == paused[3]


async def test_what_was_kept_for_the_rows_own_sid_goes_when_the_row_has_it(store: Place) -> None:
    """The callback kept for the row's own SID is removed once the row has its status.

    Of a copy only the furthest callback stays, without effects.
    """
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("delivered", "SMtwo", attempt=2)
        await world.callback("failed", "SMone", effects=(STOP,))
        assert (await _kept(world)).keys() == {"SMone", "SMtwo"}
        await world.settle(second, accepted("SMtwo"))
        assert (await _kept(world)).keys() == {"SMone"}
        assert (await world.row())["st"] == "delivered"


@pytest.mark.parametrize("is_posting", [True, False])
async def test_a_row_does_not_grow_with_the_sids_a_provider_names(
    store: Place, is_posting: bool
) -> None:
    """Hundreds of SIDs leave few fields: the furthest callbacks, and always the one that proves."""
    async with opened(store) as world:
        second = await world.resent()
        await world.callback("queued", "SMtwo", attempt=2)
        if not is_posting:
            await world.settle(second, accepted("SMtwo"))
        for number in range(MANY):
            await world.callback("queued", f"SMq{number:02}", attempt=1 + number % 2)
        for number in range(3):
            await world.callback("delivered", f"SMd{number}")
        for number in range(MANY):
            await world.callback(
                "sent", f"SMs{number:02}", attempt=1 + (number % 2 if is_posting else number)
            )
        kept = set(await _kept(world))
        assert len(kept) == 8
        assert {"SMd0", "SMd1", "SMd2"} < kept
        assert not any(sid.startswith("SMq") for sid in kept)
        assert any(line.attempt == 2 for line in (await _kept(world)).values())
        assert await world.count("duplicates") == 2 * MANY + 3


async def test_the_proof_at_hand_finds_room_though_others_got_further(store: Place) -> None:
    """The callback of the attempt itself proves it, even if it came last and others got further.

    The reply proves nothing here.
    """
    async with opened(store) as world:
        second = await world.resent()
        for number in range(MANY):
            await world.callback("sent", f"SMs{number:02}")
        await world.callback("sending", "SMtwo", attempt=2)
        await world.settle(second, UNKNOWN)
        row = await world.row()
        assert (row["sid"], row["st"]) == ("SMtwo", "sending")


async def test_room_that_was_made_lets_nothing_teach_again(store: Place) -> None:
    """A SID that was dropped for lack of room has no second effect when it is named again."""
    async with opened(store) as world:
        second = await world.resent()
        pause = (PauseSender(60, "x"),)
        await world.callback("queued", "SMtwo", attempt=2)
        await world.callback("queued", "SMold", effects=pause)
        paused = await _paused_until(world)
        assert paused is not None
        for number in range(7):
            await world.callback("sent", f"SMs{number}")
        assert "SMold" not in await _kept(world)
        await world.settle(second, accepted("SMtwo"))
        await world.later(seconds=30)
        await world.callback("queued", "SMold", effects=pause)
        assert "SMold" in await _kept(world)
        assert await _paused_until(world) == paused


async def test_what_was_let_go_teaches_nothing_that_may_not_be_said_twice(store: Place) -> None:
    """Of a dropped SID a stop still counts, but a pause does not, since it may have applied
    before.
    """
    async with opened(store) as world:
        await world.accept()
        for number in range(MANY):
            await world.callback("sent", f"SMs{number:02}", effects=(PauseSender(60, "x"),))
        paused = await _paused_until(world)
        await world.later(minutes=5)
        before = await world.contents()
        for number in range(MANY):
            await world.callback("sent", f"SMs{number:02}", effects=(PauseSender(60, "x"),))
        assert await world.contents() == before
        assert await _paused_until(world) in {paused, None}
        for _ in range(2):
            await world.callback(
                "sent",
                "SMlast",
                effects=(STOP, SuppressAddress(3600, "63024"), SetTag("dead", "x")),
            )
        person = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person
        assert await _withdrawals(world) == 1
        assert person.suppressed_until is not None
        assert person.suppressed_until < await world.store.now() + timedelta(minutes=56)


async def test_a_stop_of_a_message_that_a_person_called_sent_is_heard(store: Place) -> None:
    """After an operator bound one SID, a callback of another is bound, counted, and its stop
    applies.
    """
    async with opened(store) as world:
        await world.park()
        await world.store.unknowns.resolve(
            [Resolution("m1", 1, SettleEnd(Stage.DEAD, Reason.NEVER_BY_RULE))]
        )
        await world.callback("sent", "SMone", evidence=Reason.EVIDENCE_PERSON)
        await world.callback("failed", "SMtwo", effects=(STOP,))
        assert await world.store.unknowns.owners(["SMone", "SMtwo"]) == [("m1", 1), ("m1", 1)]
        assert await world.count("duplicates") == 1
        assert await _withdrawals(world) == 1


@pytest.mark.parametrize("statuses", [("failed",), ("sent", "undelivered")])
async def test_a_message_that_was_asked_to_be_cancelled_is_never_sent_again(
    store: Place, statuses: tuple[str, ...]
) -> None:
    """Late evidence accepts a message whose cancel was too late, and no failure reopens it
    afterwards.
    """
    async with opened(store) as world:
        await world.park()
        await world.send_again()
        held = await world.claim_one()
        await world.cancel()
        for status in statuses:
            assert not (await world.callback(status, "SMone", reopen_after_ms=0)).reopened
        assert not (await world.settle(held, CANCELLED, attempt=0, posted=False)).applied
        assert (await world.row())["s"] == "accepted"
        assert await world.claim() == ()


async def test_a_cancel_outlives_what_a_list_misread(store: Place) -> None:
    """A cancel survives evidence that a list search assigned to the wrong message.

    The SID is another message's, so the attempt is unknown again, and no rule sends it again.
    """
    async with opened(store) as world:
        await world.park("m1")
        await world.send_again()
        await world.claim_one()
        await world.cancel()
        await world.callback("sent", "SMlisted", evidence=Reason.EVIDENCE_LIST)
        await world.park("m2")
        await world.callback("sent", "SMlisted", message_id="m2")
        assert (await world.row())["s"] == "unknown"
        await world.send_again()
        assert (await world.row())["s"] == "cancelled"
