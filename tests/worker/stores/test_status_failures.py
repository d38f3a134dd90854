"""A failure records its code, teaches, and may reopen its message."""

import pytest

from sendwindow.vocabulary import Stage
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    ORDER,
    SENDER,
    UNKNOWN,
    Place,
    accepted,
    opened,
    update,
)
from worker.ports.effects import OptOut, PauseSender, SetTemplate

pytestmark = pytest.mark.asyncio


CORRECTED = "HX" + "6" * 32


async def test_a_failure_records_its_code(store: Place) -> None:
    """A failure that cannot be retried is final and records its code."""
    async with opened(store) as world:
        await world.accept()
        applied = await world.callback("failed", code=63024)
        assert (applied.moved, applied.reopened) == (True, False)
        row = await world.row()
        assert (row["s"], row["st"], row["c"]) == ("accepted", "failed", "63024")
        assert await world.redis.zcard(world.keys.undelivered) == 0


async def test_a_failure_after_delivered_changes_nothing_when_it_ranks_lower(store: Place) -> None:
    """A failure that ranks below the status changes nothing and has no effects."""
    async with opened(store) as world:
        await world.accept()
        await world.callback("delivered")
        applied = await world.callback("failed", effects=(PauseSender(60, "x"),))
        assert not applied.moved
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).sender.paused_until is None


async def test_a_retryable_failure_reopens_the_message(store: Place) -> None:
    """A retryable failure within 24 h and before expiry begins a new attempt, and its
    repetitions do not.
    """
    async with opened(store) as world:
        await world.accept()
        applied = await world.callback("failed", "SM1", reopen_after_ms=60_000)
        assert (applied.moved, applied.reopened) == (True, True)
        assert (await world.row())["s"] == "retrying"
        assert await world.redis.pttl(world.keys.row("m1")) == -1
        assert await world.redis.pttl(world.keys.job("m1")) == -1
        for echo in ("failed", "sent", "undelivered", "queued"):
            assert not (await world.callback(echo, "SM1", reopen_after_ms=60_000)).moved
        assert (await world.row())["s"] == "retrying"
        await world.later(seconds=61)
        again = await world.claim_one()
        assert (again.attempts, again.payload is not None) == (1, True)
        await world.admit(again)
        await world.settle(again, accepted("SM2"))
        row = await world.row()
        assert (row["sid"], row["a"]) == ("SM2", "2")
        assert (await world.sids())["SM1"].was_sent_again
        assert await world.count("duplicates") == 0
        assert await world.count("end:accepted:window_open") == 1
        assert (await world.callback("sent", "SM2", attempt=2)).moved


async def test_only_tries_count_towards_the_number_of_tries(store: Place) -> None:
    """An attempt that was admitted and never posted uses no try, so a failure may still be
    retried.
    """
    async with opened(store) as world:
        claimed = await world.post()
        await world.settle(claimed, AT_ONCE, posted=False)
        for attempt, reopened in ((2, True), (3, False)):
            claimed = await world.claim_one()
            await world.admit(claimed)
            await world.settle(claimed, accepted(f"SM{attempt}"))
            applied = await world.callback(
                "failed", f"SM{attempt}", attempt=attempt, reopen_after_ms=0, most_tries=2
            )
            assert applied.reopened == reopened


async def test_a_failure_after_a_cancel_sends_nothing_again(store: Place) -> None:
    """A message that was cancelled after acceptance stays ended, whatever is reported later."""
    async with opened(store) as world:
        await world.accept()
        assert (await world.cancel(), await world.cancel()) == ("ended", "ended")
        assert (await world.events()).count("cancel_asked") == 1
        applied = await world.callback("failed", reopen_after_ms=0)
        assert (applied.moved, applied.reopened) == (True, False)
        assert (await world.row())["s"] == "accepted"


async def test_a_settlement_repeated_after_a_reopening_changes_nothing(store: Place) -> None:
    """A settlement repeated after a failure reopened the message does not accept it again."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.settle(claimed, accepted("SM1"))
        await world.callback("failed", "SM1", reopen_after_ms=60_000)
        settled = await world.settle(claimed, accepted("SM1"))
        assert (settled.applied, settled.stage) == (True, Stage.RETRYING)


async def test_a_failure_before_the_reply_reopens_when_the_reply_comes(store: Place) -> None:
    """A kept callback is applied whole when the reply comes, and its failure reopens the
    message.
    """
    async with opened(store) as world:
        claimed = await world.post()
        await world.callback("failed", "SM1", reopen_after_ms=1000)
        settled = await world.settle(claimed, accepted("SM1"))
        assert settled.stage is Stage.RETRYING


@pytest.mark.parametrize(
    "hours, minutes", [(24, 0), (23, 59)], ids=["a day old", "it would be due after expiry"]
)
async def test_it_is_too_late_to_reopen(store: Place, hours: int, minutes: int) -> None:
    """A failure after 24 h, or with a retry after expiry, ends the message."""
    async with opened(store) as world:
        await world.accept()
        await world.later(hours=hours, minutes=minutes)
        applied = await world.callback("failed", "SM1", reopen_after_ms=120_000)
        assert (applied.moved, applied.reopened) == (True, False)
        assert (await world.row())["s"] == "accepted"


async def test_a_message_without_its_job_is_not_reopened(store: Place) -> None:
    """A failure of a message without a job is final."""
    async with opened(store) as world:
        await world.accept()
        await world.redis.delete(world.keys.job("m1"))
        assert not (await world.callback("failed", reopen_after_ms=1000)).reopened


async def test_failures_teach_like_errors_do(store: Place) -> None:
    """Effects of a callback reach person, sender and template once."""
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        await world.admit(claimed, template=ORDER)
        await world.settle(claimed, accepted())
        given = (
            OptOut(sender_only=False, evidence="63033"),
            PauseSender(60, "x"),
            SetTemplate("paused", "63041", 60),
        )
        await world.callback("failed", effects=given)
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)
        assert [consent.granted for consent in facts.person.consents] == [False]
        assert facts.sender.paused_until is not None
        assert facts.template.state == "paused"
        before = await world.contents()
        await world.callback("failed", effects=given)
        assert await world.contents() == before


async def test_a_template_effect_is_that_of_its_own_attempt(store: Place) -> None:
    """A template effect belongs to the ContentSid of its own attempt, not to a corrected one."""
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        for content_sid in (ORDER, CORRECTED):
            claimed = await world.claim_one()
            await world.admit(claimed, template=content_sid)
            await world.settle(claimed, UNKNOWN)
            if content_sid == ORDER:
                await world.send_again()
        failure = (SetTemplate("rejected", "63040"),)
        await world.callback("failed", "SM1", attempt=1, effects=failure)
        states = [
            (await world.store.people.facts(ANNA, SENDER, ACCOUNT, one)).template.state
            for one in (ORDER, CORRECTED)
        ]
        assert states == ["rejected", None]


async def test_a_template_effect_needs_an_intent_that_names_one(store: Place) -> None:
    """Without an intent that names a template the effect is left out, and the status counts."""
    async with opened(store) as world:
        for number in range(2):
            await world.accept(f"m{number}", f"SM{number}", template="order_update")
            if number:
                await world.redis.hdel(world.keys.row(f"m{number}"), "@1")  # type: ignore[misc]  # redis-py types both flavours
            one = update(
                "failed",
                f"SM{number}",
                message_id=f"m{number}",
                effects=(SetTemplate("paused", "x"),),
            )
            assert (await world.store.statuses.apply([one]))[0].moved
        assert (await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)).template.state is None


async def test_a_failed_tagged_message_frees_the_page(store: Place) -> None:
    """A failure of a tagged message leaves the tag unproven, with room for another try."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.admit(claimed, relies_on_tag=True)
        await world.settle(claimed, accepted())
        assert (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).tag.in_flight
        await world.callback("failed")
        assert not (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).tag.in_flight
