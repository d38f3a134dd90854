"""Consent, and what implies, outranks or ends it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.decision import FreeformContent, Refuse, Send, Wait
from policies.facts import ConsentFact, FreeformDraft, TagFact, TagState
from sendwindow.vocabulary import Category, Channel, MediaKind, Purpose, Reason, WhenClosed
from tests.policies.given import (
    DAY,
    GRANT,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    STOP,
    TICK,
    WISH,
    decided,
    draft,
    facts,
    person,
    template,
)
from tests.support.decide_cases import MESSENGER, SMS, WHATSAPP

MARKETING_GRANT = ConsentFact(granted=True, at=NOW - DAY, purpose=Purpose.MARKETING)


@pytest.mark.parametrize("channel", [WHATSAPP, SMS])
@pytest.mark.parametrize(
    "wrote, reason",
    [
        pytest.param(DAY - TICK, Reason.REPLY_IMPLIED, id="open"),
        pytest.param(DAY, Reason.NO_CONSENT, id="closed"),
        pytest.param(None, Reason.NO_CONSENT, id="never"),
    ],
)
def test_writing_to_us_implies_consent_for_a_reply_while_the_window_is_open(
    channel: Channel, wrote: timedelta | None, reason: Reason
) -> None:
    """Without a record a freeform reply may go inside the person's window, on SMS too, and never
    later.
    """
    decision = decided(draft(channel, Purpose.REPLY), facts(person(wrote=wrote), channel))
    assert decision.reason is reason
    if isinstance(decision, Send):
        assert decision.valid_until == NOW + TICK
        assert decision.validity_period == SECOND


@pytest.mark.parametrize("channel", [WHATSAPP, SMS])
@pytest.mark.parametrize(
    "purpose", [purpose for purpose in Purpose if purpose is not Purpose.REPLY]
)
def test_an_open_window_implies_consent_for_nothing_but_a_reply(
    channel: Channel, purpose: Purpose
) -> None:
    """Every purpose but a reply needs a recorded grant, even a second after the person wrote."""
    decision = decided(draft(channel, purpose), facts(person(wrote=SECOND), channel))
    expected = Reason.NO_MARKETING_CONSENT if purpose is Purpose.MARKETING else Reason.NO_CONSENT
    assert isinstance(decision, Refuse)
    assert decision.reason is expected


def test_implied_consent_carries_freeform_only() -> None:
    """Implied consent covers freeform only: a template needs a recorded grant."""
    decision = decided(
        draft(purpose=Purpose.REPLY, freeform=None, template=WISH), facts(person(wrote=HOUR))
    )
    assert decision.reason is Reason.NO_CONSENT
    near = decided(draft(purpose=Purpose.REPLY, template=WISH), facts(person(wrote=DAY - MINUTE)))
    assert isinstance(near, Send)
    assert near.reason is Reason.REPLY_IMPLIED
    film = FreeformDraft("text", "https://example.com/a.mp4", MediaKind.VIDEO)
    unusable = draft(purpose=Purpose.REPLY, freeform=film, template=WISH)
    assert decided(unusable, facts(person(wrote=HOUR))).reason is Reason.BODY_LOST_WITH_MEDIA


@pytest.mark.parametrize("channel", [WHATSAPP, SMS])
def test_a_reply_without_consent_may_wait_for_the_inbound_that_implies_it(channel: Channel) -> None:
    """A reply without consent may wait for an inbound, because that opens the window and implies
    consent.
    """
    message = draft(channel, Purpose.REPLY, when_closed=WhenClosed.WAIT)
    decision = decided(message, facts(person(wrote=2 * DAY), channel))
    assert isinstance(decision, Wait)
    assert decision.reason is Reason.AWAITING_INBOUND
    utility = decided(
        replace(message, purpose=Purpose.UTILITY), facts(person(wrote=2 * DAY), channel)
    )
    assert utility.reason is Reason.NO_CONSENT


def test_expired_consent_is_told_apart_from_none() -> None:
    """Expired consent has its own reason, which shows that the person once agreed."""
    lapsed = replace(GRANT, expires_at=NOW)
    assert decided(draft(), facts(person(lapsed))).reason is Reason.CONSENT_EXPIRED
    standing = replace(GRANT, expires_at=NOW + TICK)
    decision = decided(draft(template=WISH), facts(person(standing)))
    assert isinstance(decision, Send)
    assert decision.valid_until == NOW + TICK


@pytest.mark.parametrize(
    "grants, reason",
    [
        pytest.param(
            (GRANT,), Reason.NO_MARKETING_CONSENT, id="a-grant-for-everything-is-not-enough"
        ),
        pytest.param((MARKETING_GRANT,), Reason.TEMPLATE_WINDOW_CLOSED, id="named"),
    ],
)
def test_marketing_needs_a_grant_that_names_marketing(
    grants: tuple[ConsentFact, ...], reason: Reason
) -> None:
    """Marketing needs a grant that names it: START grants everything but marketing."""
    known = facts(person(*grants), template=template(Category.MARKETING))
    decision = decided(draft(purpose=Purpose.MARKETING, freeform=None, template=WISH), known)
    assert decision.reason is reason


def test_the_us_marketing_pause_leaves_freeform_in_an_open_window() -> None:
    """Meta withholds marketing templates to US numbers.

    Freeform inside the window is not affected.
    """
    someone = person(MARKETING_GRANT, wrote=DAY - MINUTE)
    known = facts(someone, template=template(Category.MARKETING))
    message = draft(purpose=Purpose.MARKETING, template=WISH, to="whatsapp:+14155550100")
    decision = decided(message, known)
    assert isinstance(decision, Send)
    assert isinstance(decision.content, FreeformContent)
    closed = decided(message, facts(person(MARKETING_GRANT), template=template(Category.MARKETING)))
    assert closed.reason is Reason.US_MARKETING_PAUSED


@pytest.mark.parametrize("channel", [WHATSAPP, MESSENGER, SMS])
@pytest.mark.parametrize("purpose", Purpose)
def test_an_opt_out_outranks_window_consent_and_waiting(channel: Channel, purpose: Purpose) -> None:
    """A person who opted out gets nothing, in an open window or with an older grant.

    The message does not wait either.
    """
    someone = person(GRANT, MARKETING_GRANT, STOP, wrote=SECOND)
    message = draft(
        channel, purpose, template=WISH, when_closed=WhenClosed.WAIT, not_before=NOW + HOUR
    )
    decision = decided(message, facts(someone, channel, tag=TagFact(TagState.PROVEN)))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.OPTED_OUT


@pytest.mark.parametrize(
    "ago, sent",
    [
        pytest.param(timedelta(0), True, id="at-once"),
        pytest.param(5 * MINUTE - TICK, True, id="last-instant"),
        pytest.param(5 * MINUTE, False, id="five-minutes"),
    ],
)
@pytest.mark.parametrize("channel", [WHATSAPP, MESSENGER, SMS])
def test_only_the_confirmation_of_a_stop_passes_it_for_five_minutes(
    channel: Channel, ago: timedelta, sent: bool
) -> None:
    """US law allows one confirmation within 5 minutes (47 CFR 64.1200(a)).

    Later the opt-out holds for it.
    """
    someone = person(replace(STOP, at=NOW - ago), wrote=ago)
    decision = decided(
        draft(channel, Purpose.REPLY, is_opt_out_confirmation=True), facts(someone, channel)
    )
    assert decision.reason is (Reason.OPT_OUT_CONFIRMATION if sent else Reason.OPTED_OUT)
    if isinstance(decision, Send):
        assert decision.valid_until == NOW - ago + 5 * MINUTE


def test_a_confirmation_needs_a_stop_a_text_and_an_open_window() -> None:
    """A confirmation needs a stop, is freeform, and obeys the channel's window."""
    message = draft(purpose=Purpose.REPLY, is_opt_out_confirmation=True)
    assert decided(message, facts(person(GRANT, wrote=HOUR))).reason is Reason.MISSING_FACT
    no_text = replace(message, freeform=None, template=WISH)
    assert decided(no_text, facts(person(STOP, wrote=MINUTE))).reason is Reason.MISSING_FACT
    assert decided(message, facts(person(STOP))).reason is Reason.WINDOW_CLOSED
    sms = draft(SMS, Purpose.REPLY, is_opt_out_confirmation=True)
    assert decided(sms, facts(person(STOP), SMS)).reason is Reason.OPT_OUT_CONFIRMATION
