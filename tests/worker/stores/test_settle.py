"""A settlement records an outcome once, with what it teaches."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sendwindow.row_fields import RowField
from sendwindow.vocabulary import Reason, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    DEAD,
    LATER,
    REFUSED,
    SENDER,
    UNKNOWN,
    Place,
    accepted,
    opened,
    settlement,
)
from worker.ports.admissions import Permit
from worker.ports.effects import CloseWindow, OptOut, PauseAccount, PauseSender, SuppressAddress
from worker.ports.settlements import Result

pytestmark = pytest.mark.asyncio


async def test_an_end_leaves_row_and_timeline_for_a_while(store: Place) -> None:
    """An ended message has no lease and no place in a lane, and keeps its job for 72 h for a
    retry.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        settled = await world.settle(claimed, REFUSED, attempt=0, posted=False)
        assert (settled.applied, settled.stage) == (True, Stage.REFUSED)
        assert 0 < await world.redis.pttl(world.keys.job("m1")) <= 72 * 3600 * 1000
        assert 0 < await world.redis.pttl(world.keys.row("m1")) <= 72 * 3600 * 1000
        assert 0 < await world.redis.pttl(world.keys.timeline("m1")) <= 72 * 3600 * 1000
        assert await world.count("end:refused:opted_out") == 1
        assert sum((await world.store.records.depths()).values()) == 0
        assert await world.claim() == ()


async def test_a_dead_letter_keeps_everything(store: Place) -> None:
    """A dead letter keeps job, code and last sentence for an operator and does not expire."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.settle(claimed, DEAD)
        record = await world.store.records.record("m1")
        assert record is not None
        assert record.payload is not None
        assert (record.row["s"], record.row["r"], record.row["c"]) == (
            "dead",
            "retries_exhausted",
            "30500",
        )
        assert record.timeline[-1]["text"] == "it failed too often"
        assert await world.redis.pttl(world.keys.row("m1")) == -1
        assert await world.redis.pttl(world.keys.job("m1")) == -1


async def test_a_retry_comes_back_when_it_is_due(store: Place) -> None:
    """A retry is claimed at its time, with a new fence and the next attempt number."""
    async with opened(store) as world:
        claimed = await world.post()
        settled = await world.settle(claimed, replace(LATER, code=20429, redecided=True))
        assert settled.stage is Stage.RETRYING
        assert await world.claim() == ()
        await world.later(seconds=61)
        again = await world.claim_one()
        assert (again.attempts, again.tries) == (1, 1)
        row = await world.row()
        assert (row["c"], row[RowField.REDECIDED]) == ("20429", "1")
        permit = await world.admit(again)
        assert isinstance(permit, Permit)
        assert permit.attempt == 2


async def test_an_attempt_that_was_never_posted_is_no_try(store: Place) -> None:
    """A lapsed permit costs an attempt number but no try."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.settle(claimed, AT_ONCE, posted=False)
        again = await world.claim_one()
        assert (again.attempts, again.tries) == (1, 0)


async def test_an_instant_and_a_delay_mean_the_same(store: Place) -> None:
    """`due_at` outranks `delay_ms`, and both are on the store's clock."""
    async with opened(store) as world:
        claimed = await world.post()
        due_at = await world.store.now() + timedelta(minutes=3)
        await world.settle(claimed, replace(AT_ONCE, due_at=due_at))
        batch = await world.store.ledger.claim(1)
        assert batch.next_due_at is not None
        assert abs(batch.next_due_at - due_at) <= timedelta(milliseconds=1)


async def test_the_permit_closes_with_the_settlement(store: Place) -> None:
    """A settled POST is no longer open, so a STOP need not wait for it."""
    async with opened(store) as world:
        claimed = await world.post()
        digest = claimed.facts.person_digest
        assert await world.store.people.permits_left_ms(digest) > 0
        await world.settle(claimed, UNKNOWN)
        assert await world.store.people.permits_left_ms(digest) == 0


async def test_the_same_settlement_again_changes_nothing(store: Place) -> None:
    """A settlement repeated after a lost reply returns the same, counts nothing twice, and
    applies effects once.
    """
    async with opened(store) as world:
        results: list[Result] = [accepted("SM5"), REFUSED, LATER, UNKNOWN, DEAD]
        for number, result in enumerate(results):
            claimed = await world.post(f"m{number}")
            one = settlement(claimed, result, effects=(PauseSender(1, "63018"),))
            first = await world.store.ledger.settle([one])
            before = await world.contents()
            assert await world.store.ledger.settle([one]) == first
            assert await world.contents() == before
            await world.later(seconds=2 * (number + 1))


async def test_a_settlement_of_nothing_is_harmless(store: Place) -> None:
    """A settlement of a message that is not in the store writes nothing and invents no stage."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        before = await world.contents()
        settled = await world.settle(replace(claimed, message_id="gone"), accepted())
        assert (settled.applied, settled.stage) == (False, None)
        assert await world.contents() == before


async def test_an_intent_lost_with_a_primary_does_not_lose_the_reply(store: Place) -> None:
    """A SID from the holder counts even if a failover lost the intent."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        settled = await world.settle(claimed, accepted("SM1"), attempt=1)
        assert settled.applied
        row = await world.row()
        assert (row["s"], row["n"], row["a"]) == ("accepted", "1", "1")


async def test_a_claim_lost_with_a_primary_does_not_lose_the_reply(store: Place) -> None:
    """A SID counts even if a failover lost the claim, so that the message is not sent twice."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.store.ledger.release([("m1", claimed.fence)])
        settled = await world.settle(replace(claimed, fence=claimed.fence + 7), accepted("SM1"))
        assert (settled.applied, settled.stage) == (False, Stage.ACCEPTED)
        assert await world.claim() == ()


async def test_a_settlement_without_attempt_covers_an_intent_whose_answer_was_lost(
    store: Place,
) -> None:
    """If the reply to admission was lost, the worker releases the message, and no POST happened."""
    async with opened(store) as world:
        claimed = await world.post()
        settled = await world.settle(claimed, AT_ONCE, attempt=0, posted=False)
        assert settled.applied
        again = await world.claim_one()
        assert (again.attempts, again.tries) == (1, 0)


async def test_effects_change_what_is_known(store: Place) -> None:
    """Each effect changes the thing that it is about."""
    async with opened(store) as world:
        await world.writes()
        await world.later(seconds=1)
        claimed = await world.post()
        given = (
            CloseWindow(),
            OptOut(sender_only=True, evidence="21610"),
            PauseSender(60, "63018"),
            PauseAccount(120, "63038"),
            SuppressAddress(3600, "63024"),
        )
        await world.settle(claimed, REFUSED, effects=given)
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        now = await world.store.now()
        person = facts.person
        assert person.closed_at is not None
        assert person.last_inbound_at is not None
        assert person.last_inbound_at <= person.closed_at <= now
        (consent,) = person.consents
        assert (consent.granted, consent.purpose, consent.sender) == (False, None, SENDER)
        assert person.suppressed_until is not None
        assert person.suppressed_until > now + timedelta(minutes=59)
        assert facts.sender.paused_until is not None
        assert facts.sender.reason == "63018"
        assert facts.account.paused_until is not None
        assert facts.account.paused_until > facts.sender.paused_until
        (line,) = await world.store.people.consents(ANNA)
        assert (line["granted"], line["source"], line["evidence"]) == (False, "provider", "21610")


async def test_a_shorter_pause_does_not_end_a_longer_one(store: Place) -> None:
    """A shorter pause does not end a longer one; only an operator ends it earlier."""
    async with opened(store) as world:
        claimed = await world.post()
        long = (PauseSender(600, "a"), SuppressAddress(600, "a"))
        await world.settle(
            claimed, REFUSED, effects=(*long, PauseSender(60, "b"), SuppressAddress(60, "b"))
        )
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        later = await world.store.now() + timedelta(minutes=9)
        assert facts.sender.paused_until is not None
        assert facts.sender.paused_until > later
        assert facts.person.suppressed_until is not None
        assert facts.person.suppressed_until > later
        assert facts.sender.reason == "a"


async def test_what_the_person_does_after_the_post_outranks_its_error(store: Place) -> None:
    """An inbound after the intent keeps its window open, because 63016 is about the time of the
    POST.
    """
    async with opened(store) as world:
        claimed = await world.post()
        await world.later(seconds=1)
        await world.writes()
        await world.settle(claimed, AT_ONCE, effects=(CloseWindow(),))
        person = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person
        assert person.closed_at is not None
        assert person.last_inbound_at is not None
        assert person.closed_at < person.last_inbound_at


async def test_a_reply_with_another_messages_sid_proves_nothing(store: Place) -> None:
    """A reply with another message's SID leaves its own attempt unknown, and the first binding
    stays.
    """
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        claimed = await world.accept("m2", "SM1")
        row = await world.row("m2")
        assert (row["s"], row["r"], row.get("sid")) == ("unknown", "outcome_unreadable", None)
        assert await world.store.unknowns.owners(["SM1"]) == [("m1", 1)]
        assert (await world.settle(claimed, accepted("SM1"))).stage is Stage.UNKNOWN
        assert (await world.count("unknown"), await world.count("duplicates")) == (1, 0)
        await world.callback("sent", "SM2", message_id="m2")
        assert (await world.row("m2"))["sid"] == "SM2"


async def test_a_late_reply_with_another_attempts_sid_proves_nothing(store: Place) -> None:
    """A late reply with a SID of another message or attempt proves nothing.

    The worker that has the message now goes on.
    """
    async with opened(store) as world:
        await world.accept("m0", "SM0")
        first = await world.post()
        await world.reap()
        await world.send_again()
        await world.settle(first, accepted("SM0"))
        assert (await world.row())["s"] == "retrying"
        second = await world.claim_one()
        await world.admit(second)
        await world.callback("sent", "SM1")
        await world.settle(second, accepted("SM1"))
        row = await world.row()
        assert (row["s"], row["a"], row["sid"], row["r"]) == (
            "accepted",
            "1",
            "SM1",
            "evidence_callback",
        )


async def test_a_reply_outranks_a_list_that_was_misread(store: Place) -> None:
    """A reply outranks a list that was misread, because a list only suggests an owner."""
    async with opened(store) as world:
        await world.park("m1")
        await world.callback("sent", "SM2", evidence=Reason.EVIDENCE_LIST)
        await world.accept("m2", "SM2")
        row = await world.row("m2")
        assert (row["s"], row["sid"]) == ("accepted", "SM2")
