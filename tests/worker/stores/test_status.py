"""Status callbacks move only forward, and each one proves that its attempt was accepted."""

import itertools
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.facts import TagState
from policies.status import RANKS, describe
from sendwindow.vocabulary import Reason, Stage
from tests.support.cast import ANNA, BERT
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    ORDER,
    PAST,
    REFUSED,
    SENDER,
    UNKNOWN,
    Place,
    World,
    accepted,
    opened,
    update,
)
from worker.ports.admissions import Lost
from worker.ports.effects import OptOut, PauseSender, SetTag, SetTemplate
from worker.stores.unknowns import MAX_RIVALS

CORRECTED = "HX" + "6" * 32

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


async def test_a_sid_nobody_knows_is_kept_until_its_reply(store: Place) -> None:
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


async def test_a_callback_for_a_message_nobody_has_is_kept_for_a_day(store: Place) -> None:
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
        assert claimed.redecided
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


async def test_a_callback_without_attempt_means_the_last(store: Place) -> None:
    """A query without an attempt means the last attempt of the message."""
    async with opened(store) as world:
        await world.park()
        assert (await world.callback("sent", "SM1", attempt=None)).resolved
        assert (await world.row())["a"] == "1"


async def test_a_callback_proves_an_attempt_whose_intent_was_lost(store: Place) -> None:
    """A signed callback proves an attempt whose intent a failover lost, so the message is not sent
    twice.
    """
    async with opened(store) as world:
        await world.enqueue()
        applied = await world.callback("sent", "SM1")
        assert applied.known
        row = await world.row()
        assert (row["s"], row["n"]) == ("accepted", "1")
        assert await world.claim() == ()


async def test_a_callback_stops_a_claimed_resend(store: Place) -> None:
    """A proof between claim and admission denies the resend its permit."""
    async with opened(store) as world:
        await world.settle(await world.post(), AT_ONCE)
        again = await world.claim_one()
        await world.callback("sent", "SM1")
        assert isinstance(await world.admit(again), Lost)
        assert (await world.row())["a"] == "1"


async def test_a_bound_sid_outranks_the_query(store: Place) -> None:
    """A SID bound by the reply stays bound, whatever a later query says."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        await world.accept("m2", "SM2")
        applied = await world.callback("sent", "SM1", message_id="m2")
        assert applied.message_id == "m1"
        assert (await world.row("m2"))["st"] == "queued"


async def test_a_signed_query_outranks_what_a_list_seemed_to_show(store: Place) -> None:
    """A signed query outranks a list: its message is accepted, and the wrongly bound one is
    unknown again.
    """
    async with opened(store) as world:
        await world.park("m1")
        await world.park("m2")
        await world.callback("sent", "SM1", evidence=Reason.EVIDENCE_LIST)
        assert (await world.row("m1"))["s"] == "accepted"
        applied = await world.callback("delivered", "SM1", message_id="m2")
        assert (applied.message_id, applied.resolved, applied.unbound) == ("m2", True, ("m1", 1))
        assert (await world.row("m2"))["st"] == "delivered"
        row = await world.row("m1")
        assert row["s"] == "unknown"
        assert "sid" not in row
        assert await world.redis.pttl(world.keys.row("m1")) == -1
        assert [one.message_id for one in await world.store.unknowns.due(5, 1000)] == ["m1"]
        again = await world.callback("delivered", "SM1", message_id="m2")
        assert (again.moved, again.unbound) == (False, None)


async def test_another_look_at_the_list_never_takes_a_sid_away(store: Place) -> None:
    """Only a signed callback may correct a binding; a second list may not."""
    async with opened(store) as world:
        await world.park("m1")
        await world.park("m2")
        await world.callback("sent", "SM1", evidence=Reason.EVIDENCE_LIST)
        applied = await world.callback(
            "sent", "SM1", message_id="m2", evidence=Reason.EVIDENCE_LIST
        )
        assert (applied.message_id, applied.unbound) == ("m1", None)
        assert (await world.row("m2"))["s"] == "unknown"


async def test_unproven_attempts_to_a_person_are_rivals_until_they_are_proven(store: Place) -> None:
    """Attempts in flight or unknown to one person are rivals until they have SIDs of their own."""
    async with opened(store) as world:
        digest = (await world.park("m1")).facts.person_digest
        flying = await world.post("m2")
        unknowns = world.store.unknowns
        rivals = await unknowns.rivals(digest, "m1", PAST) or []
        assert [(rival.message_id, rival.attempt, rival.was_template) for rival in rivals] == [
            ("m2", 1, False)
        ]
        assert rivals[0].payload is not None
        await world.settle(flying, accepted("SM2"))
        assert await unknowns.rivals(digest, "m1", PAST) == []
        assert [one.message_id for one in await unknowns.rivals(digest, "m2", PAST) or []] == ["m1"]
        await world.callback("sent", "SM1")
        assert await unknowns.rivals(digest, "m2", PAST) == []


async def test_rivals_are_those_since_an_instant_and_none_are_named_of_a_crowd(
    store: Place,
) -> None:
    """Only rivals since an instant are named, and none of a crowd, so that the reply stays
    bounded.
    """
    async with opened(store) as world:
        unknowns = world.store.unknowns
        digest = (await world.park("m0")).facts.person_digest
        await world.later(hours=1)
        since = await world.store.now()
        for number in range(1, MAX_RIVALS):
            await world.park(f"m{number}")
        assert len(await unknowns.rivals(digest, "m0", since) or []) == MAX_RIVALS - 1
        assert len(await unknowns.rivals(digest, "another", PAST) or []) == MAX_RIVALS
        await world.park("more")
        assert await unknowns.rivals(digest, "m0", PAST) is None
        assert len(await unknowns.rivals(digest, "m0", since) or []) == MAX_RIVALS


async def test_only_an_attempt_that_relied_on_the_tag_speaks_for_the_page(store: Place) -> None:
    """A code of an attempt inside an open window says nothing about ACCOUNT_UPDATE."""
    async with opened(store) as world:
        dead = (SetTag("dead", "code 63016"),)
        await world.accept("m1", "SM1")
        await world.callback("failed", "SM1", effects=dead)
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).tag.state is TagState.UNPROVEN
        await world.enqueue("m2")
        await world.admit(claimed := await world.claim_one(), relies_on_tag=True)
        await world.settle(claimed, accepted("SM2"))
        await world.callback("failed", "SM2", message_id="m2", effects=dead)
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).tag.state is TagState.DEAD


async def test_a_second_sid_of_an_accepted_message_is_a_copy(store: Place) -> None:
    """A second SID is a copy: both are kept, and the row's status follows its own SID."""
    async with opened(store) as world:
        await world.accept()
        for _ in range(2):
            applied = await world.callback("delivered", "SM2", attempt=2)
            assert (applied.known, applied.moved) == (True, False)
        row = await world.row()
        assert (row["sid"], row["st"]) == ("SM1", "queued")
        assert (await world.sids())["SM2"].attempt == 2
        assert await world.count("duplicates") == 1


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


async def test_a_day_is_the_limit_even_for_a_message_that_lives_longer(store: Place) -> None:
    """A failure after 25 hours is not retried, even if the message lives three more days."""
    async with opened(store) as world:
        await world.accept(expires_at=await world.store.now() + timedelta(days=3))
        await world.later(hours=25)
        assert not (await world.callback("failed", reopen_after_ms=1000)).reopened


async def _lives_again(world: World, *, keeps_sid: bool = False) -> int:
    """Deliver m1 as SMold, forget it after 72 hours, use its id again, and return the first
    life.
    """
    await world.accept("m1", "SMold")
    await world.callback("delivered", "SMold")
    life = int((await world.row())["q"])
    await world.later(hours=73)
    await world.redis.delete(world.keys.row("m1"), world.keys.timeline("m1"))
    if not keeps_sid:
        await world.redis.delete(world.keys.sid("SMold"))
    assert await world.enqueue("m1") == b"new"
    return life


@pytest.mark.parametrize("keeps_sid", [True, False])
@pytest.mark.parametrize("status", ["read", "failed"])
async def test_a_callback_of_an_earlier_life_says_nothing_of_this_one(
    store: Place, status: str, keeps_sid: bool
) -> None:
    """A callback of an earlier life of a reused id proves nothing and has no effect."""
    async with opened(store) as world:
        life = await _lives_again(world, keeps_sid=keeps_sid)
        before = await world.row()
        applied = await world.callback(
            status, "SMold", life=life, reopen_after_ms=0, effects=(PauseSender(60, "x"),)
        )
        assert (applied.known, applied.message_id) == (False, None)
        assert await world.row() == before
        claimed = await world.claim_one()
        await world.admit(claimed)
        assert not (await world.callback(status, "SMold", life=life)).known
        await world.settle(claimed, accepted("SMnew"))
        row = await world.row()
        assert (row["sid"], row["st"]) == ("SMnew", "queued")
        assert await world.count("duplicates") == 0
        assert (await world.callback("sent", "SMnew", life=int(row["q"]))).moved


async def test_an_earlier_life_takes_no_sid_from_what_a_list_showed(store: Place) -> None:
    """A callback of an earlier life takes no SID away that a list gave.

    Only a message that still exists can be wronged by a list.
    """
    async with opened(store) as world:
        life = await _lives_again(world)
        await world.claim_one()
        await world.park("m2", to=BERT)
        await world.callback("sent", "SMlisted", message_id="m2", evidence=Reason.EVIDENCE_LIST)
        applied = await world.callback("delivered", "SMlisted", life=life)
        assert (applied.message_id, applied.moved, applied.unbound) == ("m2", True, None)


async def test_a_row_written_anew_after_a_failover_is_the_same_life(store: Place) -> None:
    """A row that was enqueued again after a failover lost it is the same life, so the first
    POST's callback proves it.
    """
    async with opened(store) as world:
        await world.enqueue()
        life = int((await world.row())["q"])
        await world.redis.delete(world.keys.row("m1"), world.keys.timeline("m1"))
        await world.later(minutes=10)
        assert await world.enqueue() == b"new"
        assert (await world.callback("sent", "SM1", life=life)).known
        assert (await world.row())["sid"] == "SM1"


async def test_a_callback_that_names_no_life_is_of_this_one(store: Place) -> None:
    """A callback without a life belongs to the present life, as the previous version wrote no
    life.
    """
    async with opened(store) as world:
        await _lives_again(world)
        claimed = await world.claim_one()
        await world.admit(claimed)
        await world.settle(claimed, UNKNOWN)
        assert (await world.callback("sent", "SMnew")).resolved
