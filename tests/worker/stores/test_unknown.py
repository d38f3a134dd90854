"""Unknown outcomes: parked, searched for, and resolved by any proof, however late."""

from datetime import timedelta

import pytest

from sendwindow.vocabulary import OnUnknown, Reason, Stage
from tests.support.stores_world import (
    AT_ONCE,
    SENDER,
    UNKNOWN,
    Place,
    accepted,
    opened,
    update,
)
from worker.ports.admissions import Lost
from worker.ports.settlements import SettleAgain, SettleEnd, SettleUnknown
from worker.ports.unknowns import Resolution, SettleUnresolved
from worker.stores.script_arguments import resolve_argument
from worker.stores.unknowns import _RESOLVE

pytestmark = pytest.mark.asyncio


async def test_an_unproven_outcome_is_parked(store: Place) -> None:
    """An unknown message is in no lane, is listed, and is handed out to one searcher at a time
    when due.
    """
    async with opened(store) as world:
        await world.park(on_unknown=OnUnknown.HOLD)
        assert await world.claim() == ()
        assert [record.message_id async for record in world.store.records.listed("unknown")] == [
            "m1"
        ]
        assert await world.store.unknowns.due(10, 60_000) == []
        await world.later(seconds=6)
        (found,) = await world.store.unknowns.due(10, 60_000)
        assert (found.message_id, found.attempt, found.on_unknown) == (
            "m1",
            1,
            OnUnknown.HOLD,
        )
        assert found.payload is not None
        assert timedelta(seconds=5) < found.now - found.intent_at < timedelta(seconds=60)
        assert await world.store.unknowns.due(10, 60_000) == []
        await world.later(seconds=61)
        assert len(await world.store.unknowns.due(10, 60_000)) == 1
        assert (await world.row())["lo"] == "2"


async def test_an_attempt_tells_how_many_are_in_doubt(store: Place) -> None:
    """Attempts that were never posted, or are proven since, do not count as unproven."""
    async with opened(store) as world:
        claimed = await world.post(on_unknown=OnUnknown.RESEND)
        await world.settle(claimed, AT_ONCE, posted=False)
        for doubts in (1, 2):
            claimed = await world.claim_one()
            await world.admit(claimed)
            await world.settle(claimed, UNKNOWN)
            await world.later(seconds=6)
            (found,) = await world.store.unknowns.due(10, 60_000)
            assert (found.attempt, found.unproven) == (doubts + 1, doubts)
            again = SettleAgain(Stage.RETRYING, Reason.RESENT_BY_RULE)
            await world.store.unknowns.resolve([Resolution("m1", found.attempt, again)])


async def test_a_late_reply_ends_its_unknown_attempt(store: Place) -> None:
    """A worker whose lease was reaped still accepts its attempt with the SID of a late reply."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.reap()
        settled = await world.settle(claimed, accepted("SM3"))
        assert (settled.applied, settled.stage) == (True, Stage.ACCEPTED)
        assert (await world.row())["sid"] == "SM3"
        assert await world.count("resolved:evidence_late_reply") == 1
        assert await world.store.unknowns.owners(["SM3", "SM4"]) == [("m1", 1), None]


async def test_a_late_rejection_is_proof_too(store: Place) -> None:
    """A late rejection proves that the parked attempt was not processed, so its settlement
    decides.
    """
    async with opened(store) as world:
        claimed = await world.post()
        await world.reap()
        settled = await world.settle(claimed, AT_ONCE)
        assert (settled.applied, settled.stage) == (True, Stage.RETRYING)
        assert (await world.claim_one()).attempts == 1
        assert await world.redis.zcard(world.keys.unknown) == 0


async def test_a_late_doubt_changes_nothing(store: Place) -> None:
    """A late reply without proof leaves the message unknown."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.reap()
        settled = await world.settle(claimed, UNKNOWN)
        assert (settled.applied, settled.stage) == (False, Stage.UNKNOWN)
        assert await world.count("unknown") == 1


async def test_a_late_sid_stops_a_resend_that_has_not_begun(store: Place) -> None:
    """A late SID stops a resend that is only queued or claimed, so no second copy goes out."""
    async with opened(store) as world:
        for message_id, claim_first in (("m1", False), ("m2", True)):
            late = await world.post(message_id)
            await world.reap()
            await world.send_again(message_id=message_id)
            again = await world.claim_one() if claim_first else None
            settled = await world.settle(late, accepted(f"SM-{message_id}"))
            assert (settled.applied, settled.stage) == (False, Stage.ACCEPTED)
            assert (await world.row(message_id))["a"] == "1"
            if again:
                assert isinstance(await world.admit(again), Lost)
            assert await world.claim() == ()


async def test_a_second_accepted_attempt_is_recorded(store: Place) -> None:
    """Late evidence after a resend keeps both SIDs, and the copy is counted and shown."""
    async with opened(store) as world:
        late = await world.post()
        await world.reap()
        await world.send_again()
        again = await world.claim_one()
        await world.admit(again)
        await world.settle(late, accepted("SM1"))
        assert (await world.row())["s"] == "posting"
        assert await world.count("late_evidence") == 1
        await world.settle(again, accepted("SM2"))
        row = await world.row()
        assert (row["sid"], row["a"]) == ("SM2", "2")
        assert (await world.sids())["SM1"].attempt == 1
        assert await world.count("duplicates") == 1
        assert "duplicate" in await world.events()
        before = await world.contents()
        await world.settle(late, accepted("SM1"))
        assert await world.contents() == before


async def test_evidence_for_the_first_attempt_outweighs_the_seconds_failure(store: Place) -> None:
    """Proof of the first attempt accepts the message although the second was refused."""
    async with opened(store) as world:
        late = await world.post()
        await world.reap()
        await world.send_again()
        again = await world.claim_one()
        await world.admit(again)
        await world.settle(late, accepted("SM1"))
        settled = await world.settle(again, AT_ONCE)
        assert settled.stage is Stage.ACCEPTED
        row = await world.row()
        assert (row["sid"], row["a"]) == ("SM1", "1")
        assert await world.count("duplicates") == 0


async def test_a_late_sid_of_an_ended_message_is_noted(store: Place) -> None:
    """A late SID of an ended message is stored as evidence, and the message stays ended."""
    async with opened(store) as world:
        late = await world.post()
        await world.reap()
        end = SettleEnd(Stage.FAILED, Reason.NEVER_BY_RULE)
        assert await world.store.unknowns.resolve([Resolution("m1", 1, end)]) == [Stage.FAILED]
        settled = await world.settle(late, accepted("SM1"))
        assert (settled.applied, settled.stage) == (False, Stage.FAILED)
        assert (await world.sids())["SM1"].attempt == 1
        assert await world.count("late_evidence") == 1


async def test_resolutions_act_by_rule(store: Place) -> None:
    """A resolution resends, ends, searches again or lists as unresolved, only while the attempt
    is unknown.
    """
    async with opened(store) as world:
        for message_id in ("again", "end", "look", "hold"):
            await world.park(message_id)
        resolutions = [
            Resolution("again", 1, SettleAgain(Stage.QUEUED, Reason.RESENT_BY_RULE)),
            Resolution("end", 1, SettleEnd(Stage.FAILED, Reason.NEVER_BY_RULE)),
            Resolution("look", 1, SettleUnknown(Reason.OUTCOME_TIMEOUT, "", 60_000)),
            Resolution("hold", 1, SettleUnresolved(Reason.HELD_BY_RULE, "its list is not proven")),
            Resolution("again", 2, SettleEnd(Stage.FAILED, Reason.NEVER_BY_RULE)),
        ]
        other_attempt = Resolution("again", 2, SettleEnd(Stage.FAILED, Reason.NEVER_BY_RULE))
        assert await world.store.unknowns.resolve([other_attempt]) == [None]
        came_to = [Stage.QUEUED, Stage.FAILED, Stage.UNKNOWN, Stage.UNRESOLVED, None]
        assert await world.store.unknowns.resolve(resolutions) == came_to
        stages = [
            (await world.row(message_id))["s"] for message_id in ("again", "end", "look", "hold")
        ]
        assert stages == ["queued", "failed", "unknown", "unresolved"]
        assert [record.message_id async for record in world.store.records.listed("unresolved")] == [
            "hold"
        ]
        assert (await world.claim_one()).attempts == 1
        assert await world.store.unknowns.resolve(resolutions[:2]) == [None, None]


async def test_a_resend_of_what_was_cancelled_ends_it(store: Place) -> None:
    """Resolving a cancelled message as resend reports that it ended, and counts no resend."""
    async with opened(store) as world:
        await world.park()
        await world.cancel()
        again = Resolution("m1", 1, SettleAgain(Stage.RETRYING, Reason.RESENT_BY_RULE))
        assert await world.store.unknowns.resolve([again]) == [Stage.CANCELLED]
        assert await world.count("resolved:resent_by_rule") == 0
        assert await world.count("resolved:cancelled") == 1
        assert "retrying" not in await world.events()


async def test_an_unresolved_message_is_open_to_every_proof(store: Place) -> None:
    """A callback or an operator's word still ends an unresolved message."""
    async with opened(store) as world:
        for message_id in ("m1", "m2"):
            await world.park(message_id)
            await world.store.unknowns.resolve(
                [Resolution(message_id, 1, SettleUnresolved(Reason.HELD_BY_RULE, ""))]
            )
        assert (await world.callback("sent", "SM1")).resolved
        again = Resolution("m2", 1, SettleAgain(Stage.QUEUED, Reason.EVIDENCE_PERSON))
        assert await world.store.unknowns.resolve([again]) == [Stage.QUEUED]
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]
        assert await world.redis.zcard(world.keys.unresolved) == 0


async def test_a_lost_resolve_reply_is_recognised(store: Place) -> None:
    """A resolution repeated after a lost reply returns the same and changes nothing."""
    async with opened(store) as world:
        await world.park()
        arguments = ["r1", resolve_argument(Resolution("m1", 1, AT_ONCE))]
        assert await world.calls.run(_RESOLVE, arguments) == [b"retrying"]
        before = await world.contents()
        assert await world.calls.run(_RESOLVE, arguments) == [b"retrying"]
        assert await world.contents() == before


async def test_missing_statuses_are_fetched_within_a_token_bucket(store: Place) -> None:
    """A missing status is handed out when due, not again at once, and never after 48 h."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        await world.accept("m2", "SM2")
        await world.store.statuses.apply([update("delivered", "SM2", message_id="m2")])
        unknowns = world.store.unknowns
        assert await unknowns.missing(10, 60_000, 600_000) == []
        await world.later(minutes=2)
        (missing,) = await unknowns.missing(10, 60_000, 600_000)
        assert (missing.message_id, missing.attempt, missing.message_sid, missing.sender) == (
            "m1",
            1,
            "SM1",
            SENDER,
        )
        assert await unknowns.missing(10, 60_000, 600_000) == []
        await world.later(minutes=11)
        assert len(await unknowns.missing(10, 60_000, 600_000)) == 1
        await world.later(hours=48)
        assert await unknowns.missing(10, 60_000, 600_000) == []
        assert await world.count("status_never_final") == 1
        assert await world.redis.zcard(world.keys.undelivered) == 0


async def test_a_late_rejection_speaks_for_its_own_attempt_only(store: Place) -> None:
    """A late rejection of the first attempt leaves the unknown second one parked."""
    async with opened(store) as world:
        late = await world.post()
        await world.reap()
        await world.send_again()
        await world.admit(await world.claim_one())
        await world.reap()
        settled = await world.settle(late, AT_ONCE)
        assert (settled.applied, settled.stage) == (False, Stage.UNKNOWN)
        assert await world.claim() == ()


async def test_the_status_of_one_attempt_is_not_shown_for_another(store: Place) -> None:
    """If both attempts are proven, the second's SID and status stand, and the first is a copy."""
    async with opened(store) as world:
        late = await world.post()
        await world.reap()
        await world.send_again()
        again = await world.claim_one()
        await world.admit(again)
        await world.callback("delivered", "SM2", attempt=2)
        for _ in range(2):
            await world.settle(late, accepted("SM1"))
        await world.settle(again, UNKNOWN)
        row = await world.row()
        assert (row["sid"], row["st"]) == ("SM2", "delivered")
        assert (await world.sids())["SM1"].attempt == 1
        await world.callback("delivered", "SM2", attempt=2)
        assert await world.count("duplicates") == 1
