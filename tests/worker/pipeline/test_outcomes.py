"""What replies mean, as a table over the catalogue: the message's result and its effects."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.decision import FreeformContent, SeenRevisions, Send, Trace
from sendwindow.vocabulary import Reason, Stage
from tests.support.shipped import rules
from worker.pipeline.outcomes import HELD_BACK, AttemptEnd, Outcomes
from worker.ports.effects import (
    CloseWindow,
    Effect,
    OptOut,
    PauseAccount,
    PauseSender,
    SetTag,
    SetTemplate,
    SuppressAddress,
)
from worker.ports.posts import Accepted, NotSent, Rejected, Unproven
from worker.ports.settlements import SettleAccepted, SettleAgain, SettleEnd, SettleUnknown
from worker.twilio.replies import PERMIT_LAPSED

NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
OUTCOMES: Final = Outcomes(rules(), lambda: 0.5)


def tried(
    *,
    tries: int = 1,
    attempt: int = 1,
    tag: bool = False,
    left: timedelta = timedelta(hours=20),
) -> AttemptEnd:
    send = Send(
        reason=Reason.WINDOW_OPEN,
        content=FreeformContent("hi", relies_on_tag=tag),
        seen=SeenRevisions(1, 1, 1),
        valid_until=NOW,
        validity_period=timedelta(hours=1),
        trace=Trace("v", NOW, ()),
    )
    return AttemptEnd(send, attempt, tries, NOW, NOW + left)


def kinds(effects: tuple[Effect, ...]) -> list[type[Effect]]:
    return [type(effect) for effect in effects]


def test_acceptance_is_the_end_with_twilios_sid() -> None:
    """An acceptance with a SID is the end and has no effects."""
    outcome = OUTCOMES.conclude(Accepted("SM1", "queued"), tried())
    assert outcome.result == SettleAccepted("SM1", "queued")
    assert (outcome.effects, outcome.posted) == ((), True)


def test_a_lapsed_permit_costs_nothing() -> None:
    """A lapsed permit sends the message back to its lane without a try.

    It waits a moment, since a permit close to an edge would lapse again at once.
    """
    outcome = OUTCOMES.conclude(PERMIT_LAPSED, tried())
    assert outcome.result == SettleAgain(Stage.QUEUED, Reason.PERMIT_LAPSED, delay_ms=100)
    assert not outcome.posted


def test_what_is_proven_not_sent_goes_again_with_a_growing_pause_until_it_expires() -> None:
    """An attempt proven not sent is repeated with growing pauses until the message expires."""
    first = OUTCOMES.conclude(NotSent("refused"), tried())
    later = OUTCOMES.conclude(NotSent("refused"), tried(attempt=6))
    assert isinstance(first.result, SettleAgain)
    assert isinstance(later.result, SettleAgain)
    assert first.result.due_at is not None
    assert later.result.due_at is not None
    assert NOW < first.result.due_at < later.result.due_at
    assert not first.posted
    ended = OUTCOMES.conclude(NotSent("refused"), tried(left=timedelta(seconds=0.5)))
    assert isinstance(ended.result, SettleEnd)
    assert (ended.result.stage, ended.result.reason) == (Stage.EXPIRED, Reason.EXPIRED)


def test_a_worker_without_a_connection_puts_its_messages_back_in_their_places() -> None:
    """Then the fault is not the message's, and it needs no pause of its own."""
    outcome = OUTCOMES.conclude(NotSent("refused"), replace(tried(), is_cut_off=True))
    assert isinstance(outcome.result, SettleAgain)
    assert outcome.result.keeps_place
    assert outcome.result.due_at is None
    held_back = OUTCOMES.conclude(HELD_BACK, tried())
    assert held_back.result == SettleAgain(Stage.WAITING, Reason.BREAKER_OPEN, keeps_place=True)


def test_only_a_reply_says_whether_twilio_answers() -> None:
    """A connection that fails says so only where other accounts may reach Twilio another way."""
    refused = NotSent("refused")
    unproven = Unproven(Reason.OUTCOME_TIMEOUT, "no answer")
    several = replace(OUTCOMES, has_many_routes=True)
    said = {
        "accepted": OUTCOMES.conclude(Accepted("SM1", "queued"), tried()),
        "rejected": OUTCOMES.conclude(Rejected(400, 21610), tried()),
        "unproven": OUTCOMES.conclude(unproven, tried()),
        "lapsed": several.conclude(PERMIT_LAPSED, tried()),
        "refused": OUTCOMES.conclude(refused, tried()),
        "refused on one of several routes": several.conclude(refused, tried()),
    }
    assert {name: outcome.answered for name, outcome in said.items()} == {
        "accepted": True,
        "rejected": True,
        "unproven": False,
        "lapsed": None,
        "refused": None,
        "refused on one of several routes": False,
    }


@pytest.mark.parametrize(
    "reply",
    [
        Unproven(Reason.OUTCOME_TIMEOUT, "no answer"),
        Unproven(Reason.OUTCOME_CONNECTION_LOST, "reset"),
        Unproven(Reason.OUTCOME_SERVER_ERROR, "HTTP 500", 500, 20500),
        Unproven(Reason.OUTCOME_UNREADABLE, "HTTP 201", 201, None, "fields: body"),
    ],
    ids=lambda reply: reply.reason.value,
)
def test_an_unproven_attempt_is_parked_and_never_repeated(reply: Unproven) -> None:
    """An unproven attempt is parked and searched for, and its detail keeps the excerpt of the
    answer.
    """
    outcome = OUTCOMES.conclude(reply, tried())
    assert isinstance(outcome.result, SettleUnknown)
    assert outcome.result.reason is reply.reason
    assert outcome.result.code == reply.code
    assert reply.excerpt in outcome.result.detail
    assert 0 < outcome.result.look_after_ms <= 15_000


REJECTIONS: Final = [
    (429, 20429, Stage.RETRYING, Reason.THROTTLED, [PauseAccount]),
    (429, 63017, Stage.RETRYING, Reason.THROTTLED, [PauseAccount]),
    (400, 21611, Stage.RETRYING, Reason.THROTTLED, [PauseSender]),
    (400, 63018, Stage.RETRYING, Reason.THROTTLED, [PauseSender]),
    (401, 20003, Stage.RETRYING, Reason.ACCOUNT_PAUSED, [PauseAccount]),
    (400, 63007, Stage.RETRYING, Reason.SENDER_PAUSED, [PauseSender]),
    (400, 21610, Stage.FAILED, Reason.PROVIDER_REFUSED, [OptOut]),
    (400, 21211, Stage.FAILED, Reason.PROVIDER_REFUSED, [SuppressAddress]),
    (400, 21617, Stage.FAILED, Reason.PROVIDER_REFUSED, []),
    (400, 21655, Stage.FAILED, Reason.PROVIDER_REFUSED, [SetTemplate]),
    (400, 63041, Stage.FAILED, Reason.PROVIDER_REFUSED, [SetTemplate]),
    (400, 63016, Stage.RETRYING, Reason.WINDOW_CLOSED_BY_PROVIDER, [CloseWindow]),
    (400, 99999, Stage.FAILED, Reason.PROVIDER_REFUSED, []),
    (403, 99999, Stage.RETRYING, Reason.ACCOUNT_PAUSED, [PauseAccount]),
    (429, 99999, Stage.RETRYING, Reason.THROTTLED, [PauseAccount]),
]


@pytest.mark.parametrize(
    "http, code, stage, reason, learnt", REJECTIONS, ids=[f"{r[0]}-{r[1]}" for r in REJECTIONS]
)
def test_a_rejection_means_what_the_catalogue_says(
    http: int, code: int, stage: Stage, reason: Reason, learnt: list[type[Effect]]
) -> None:
    """The error class decides about the message, and its scope about effects.

    Unknown codes go by HTTP status.
    """
    outcome = OUTCOMES.conclude(Rejected(http, code), tried())
    assert isinstance(outcome.result, SettleAgain | SettleEnd)
    assert (outcome.result.stage, outcome.result.reason, outcome.result.code) == (
        stage,
        reason,
        code,
    )
    assert kinds(outcome.effects) == learnt
    assert outcome.posted


def test_a_rejection_that_may_have_been_sent_is_parked() -> None:
    """30410 says that the provider timed out, so the message was possibly sent and is parked."""
    assert isinstance(OUTCOMES.conclude(Rejected(400, 30410), tried()).result, SettleUnknown)


def test_a_closed_window_allows_one_more_decision() -> None:
    """63016 closes our record and asks for another decision.

    The store knows whether one is left.
    """
    first = OUTCOMES.conclude(Rejected(400, 63016), tried()).result
    assert isinstance(first, SettleAgain)
    assert first.redecided


@pytest.mark.parametrize("code", [63005, 63013, 63016, 63021, 63023, 63039])
def test_a_dead_tag_is_learnt_only_from_messages_that_relied_on_it(code: int) -> None:
    """These codes open the Page's breaker only for an attempt that relied on ACCOUNT_UPDATE."""
    assert SetTag in kinds(OUTCOMES.conclude(Rejected(400, code), tried(tag=True)).effects)
    assert SetTag not in kinds(OUTCOMES.conclude(Rejected(400, code), tried()).effects)


def test_retry_after_is_honoured() -> None:
    """A retry never comes sooner than Twilio asks, and the scope pauses for as long."""
    outcome = OUTCOMES.conclude(Rejected(429, 20429, retry_after=90.0), tried())
    assert isinstance(outcome.result, SettleAgain)
    assert outcome.result.due_at is not None
    assert outcome.result.due_at >= NOW + timedelta(seconds=90)
    assert outcome.effects == (PauseAccount(90, "code 20429"),)


def test_tries_end_in_a_dead_letter_and_expiry_in_an_end() -> None:
    """A code with a limit of tries ends as a dead letter, and no try is planned after expiry."""
    exhausted = OUTCOMES.conclude(Rejected(400, 63012), tried(tries=20)).result
    assert isinstance(exhausted, SettleEnd)
    assert (exhausted.stage, exhausted.reason) == (Stage.DEAD, Reason.RETRIES_EXHAUSTED)
    late = OUTCOMES.conclude(Rejected(400, 63012), tried(left=timedelta(seconds=0.1))).result
    assert isinstance(late, SettleEnd)
    assert late.stage is Stage.EXPIRED


@given(
    st.integers(400, 499),
    st.one_of(st.sampled_from(sorted(rules().errors.entries)), st.integers(1, 10**8)),
    st.integers(1, 50),
    st.booleans(),
    st.floats(0, 10**6) | st.none(),
    st.timedeltas(timedelta(0), timedelta(days=7)),
)
def test_no_code_breaks_the_conclusion_and_no_retry_is_due_after_expiry(
    http: int, code: int, tries: int, tag: bool, retry_after: float | None, left: timedelta
) -> None:
    """Every code, known or not, gives one outcome, and every retry is due before the message
    expires.
    """
    attempt = tried(tries=tries, tag=tag, left=left)
    outcome = OUTCOMES.conclude(Rejected(http, code, retry_after), attempt)
    assert not isinstance(outcome.result, SettleAccepted)
    if isinstance(outcome.result, SettleAgain) and outcome.result.due_at is not None:
        assert NOW <= outcome.result.due_at < attempt.expires_at
