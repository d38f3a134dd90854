"""Which content goes out on each channel: freeform, template or tag."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.decision import FreeformContent, Refuse, SeenRevisions, Send, TemplateContent, Wait
from policies.facts import Approval, TagFact, TagState
from policies.policy import AccountUpdate
from sendwindow.vocabulary import Purpose, Reason, WhenClosed
from tests.policies.given import (
    DAY,
    GRANT,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    SECOND,
    TICK,
    WISH,
    decided,
    draft,
    facts,
    person,
    template,
)
from tests.support.decide_cases import MARGIN, MESSENGER, SMS


@pytest.mark.parametrize(
    "wrote, form, reason",
    [
        pytest.param(timedelta(0), "freeform", Reason.WINDOW_OPEN, id="just-wrote"),
        pytest.param(DAY - MARGIN - TICK, "freeform", Reason.WINDOW_OPEN, id="before-the-margin"),
        pytest.param(DAY - MARGIN, "template", Reason.TEMPLATE_NEAR_EDGE, id="at-the-margin"),
        pytest.param(
            DAY - TICK, "template", Reason.TEMPLATE_NEAR_EDGE, id="last-instant-of-the-window"
        ),
        pytest.param(DAY, "template", Reason.TEMPLATE_WINDOW_CLOSED, id="at-the-edge"),
        pytest.param(None, "template", Reason.TEMPLATE_WINDOW_CLOSED, id="never-wrote"),
    ],
)
def test_whatsapp_prefers_freeform_until_the_margin_and_a_template_from_there(
    wrote: timedelta | None, form: str, reason: Reason
) -> None:
    """Freeform goes until 5 minutes before the window [t, t + 24 h) ends, and from there a
    usable template.
    """
    decision = decided(draft(template=WISH), facts(person(GRANT, wrote=wrote)))
    assert isinstance(decision, Send)
    assert decision.reason is reason
    assert isinstance(decision.content, FreeformContent if form == "freeform" else TemplateContent)


@pytest.mark.parametrize(
    "wrote, sent",
    [
        pytest.param(DAY - MARGIN, True, id="inside-the-margin"),
        pytest.param(DAY - TICK, True, id="last-instant"),
        pytest.param(DAY, False, id="at-the-edge"),
        pytest.param(DAY + TICK, False, id="after-the-edge"),
    ],
)
def test_whatsapp_freeform_without_template_goes_until_the_edge_itself(
    wrote: timedelta, sent: bool
) -> None:
    """Without a usable template freeform goes until the edge itself, which is exclusive."""
    decision = decided(draft(), facts(person(GRANT, wrote=wrote)))
    assert decision.reason is (Reason.WINDOW_OPEN if sent else Reason.NO_TEMPLATE)
    assert isinstance(decision, Send) is sent


def test_whatsapp_freeform_goes_near_the_edge_when_its_template_is_unusable() -> None:
    """A template that may not go does not replace freeform that may."""
    known = facts(person(GRANT, wrote=DAY - MINUTE), template=template(approval=Approval.PAUSED))
    decision = decided(draft(template=WISH), known)
    assert isinstance(decision, Send)
    assert decision.reason is Reason.WINDOW_OPEN
    assert decision.valid_until == NOW + MINUTE


@pytest.mark.parametrize(
    "wrote, reason",
    [
        pytest.param(HOUR, Reason.TEMPLATE_ONLY, id="open"),
        pytest.param(2 * DAY, Reason.TEMPLATE_WINDOW_CLOSED, id="closed"),
    ],
)
def test_a_message_with_only_a_template_sends_it_whatever_the_window(
    wrote: timedelta, reason: Reason
) -> None:
    """A message with a template only sends it in any window.

    The reason says which window it was.
    """
    decision = decided(draft(freeform=None, template=WISH), facts(person(GRANT, wrote=wrote)))
    assert isinstance(decision, Send)
    assert decision.reason is reason
    assert decision.content == TemplateContent("HX1", {"1": "x"})
    assert decision.seen == SeenRevisions(person=7, sender=3, account=4, template=5)


@pytest.mark.parametrize(
    "wrote", [pytest.param(HOUR, id="open"), pytest.param(2 * DAY, id="closed")]
)
def test_an_unusable_template_alone_is_refused_with_its_own_reason(wrote: timedelta) -> None:
    """A message with an unusable template only is refused with the template's own reason.

    Waiting for an inbound does not fix a template, so a message that may wait is refused too.
    """
    known = facts(person(GRANT, wrote=wrote), template=template(approval=Approval.DISABLED))
    message = draft(freeform=None, template=WISH, when_closed=WhenClosed.WAIT)
    decision = decided(message, known)
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.TEMPLATE_DISABLED


def test_freeform_that_may_wait_waits_for_the_person_until_it_expires() -> None:
    """`when_closed = wait` makes a closed window a wait for the next inbound, up to expiry."""
    for known in (
        facts(person(GRANT)),
        facts(person(GRANT), template=template(approval=Approval.PENDING)),
    ):
        message = draft(template=WISH if known.template else None, when_closed=WhenClosed.WAIT)
        message = replace(message, template=None) if known.template == template() else message
        decision = decided(message, known)
        assert isinstance(decision, Wait)
        assert (decision.reason, decision.until, decision.on_inbound) == (
            Reason.AWAITING_INBOUND,
            message.expires_at,
            True,
        )


@pytest.mark.parametrize(
    "wrote, reason",
    [
        pytest.param(None, Reason.NEVER_WROTE, id="never-wrote"),
        pytest.param(DAY - TICK, Reason.WINDOW_OPEN, id="last-instant"),
        pytest.param(DAY, Reason.WINDOW_CLOSED, id="edge"),
    ],
)
@pytest.mark.parametrize("purpose", [Purpose.REPLY, Purpose.UTILITY, Purpose.MARKETING])
def test_messenger_sends_freeform_inside_the_window_only(
    wrote: timedelta | None, reason: Reason, purpose: Purpose
) -> None:
    """On Messenger writing to the Page is the permission, and freeform, also promotional, goes
    inside the window only.
    """
    decision = decided(draft(MESSENGER, purpose), facts(person(wrote=wrote), MESSENGER))
    assert decision.reason is reason
    if isinstance(decision, Send):
        assert decision.content == FreeformContent("text")
        assert decision.valid_until == NOW + TICK


def test_a_grant_does_not_replace_having_written_to_the_page() -> None:
    """Without an inbound, a Messenger message is refused and does not wait.

    A page-scoped id is learned from an inbound only.
    """
    message = draft(MESSENGER, when_closed=WhenClosed.WAIT)
    decision = decided(message, facts(person(GRANT), MESSENGER))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NEVER_WROTE


@pytest.mark.parametrize(
    "tag, when_closed, reason",
    [
        pytest.param(
            TagFact(TagState.UNPROVEN), WhenClosed.REFUSE, Reason.ACCOUNT_UPDATE, id="unproven"
        ),
        pytest.param(
            TagFact(TagState.PROVEN, in_flight=True),
            WhenClosed.REFUSE,
            Reason.ACCOUNT_UPDATE,
            id="proven",
        ),
        pytest.param(
            TagFact(TagState.UNPROVEN, in_flight=True),
            WhenClosed.REFUSE,
            Reason.ACCOUNT_UPDATE_UNPROVEN,
            id="unproven-in-flight",
        ),
        pytest.param(
            TagFact(TagState.DEAD), WhenClosed.REFUSE, Reason.ACCOUNT_UPDATE_DEAD, id="dead"
        ),
        pytest.param(
            TagFact(TagState.DEAD), WhenClosed.WAIT, Reason.AWAITING_INBOUND, id="dead-may-wait"
        ),
        pytest.param(None, WhenClosed.WAIT, Reason.MISSING_FACT, id="not-known"),
    ],
)
def test_account_update_goes_out_only_on_a_page_where_it_may_still_work(
    tag: TagFact | None, when_closed: WhenClosed, reason: Reason
) -> None:
    """Outside the window Twilio tags the message.

    An unproven Page risks one at a time, and a dead one none.
    """
    message = draft(MESSENGER, Purpose.ACCOUNT_UPDATE, when_closed=when_closed)
    decision = decided(message, facts(person(wrote=2 * DAY), MESSENGER, tag=tag))
    assert decision.reason is reason
    if isinstance(decision, Send):
        assert decision.content == FreeformContent("text", relies_on_tag=True)
        assert decision.seen.tag == 0


def test_account_update_waits_a_minute_or_for_the_person_while_another_proves_the_tag() -> None:
    """While another message proves the tag, this one waits a minute, and never beyond its expiry.

    What it says about closed windows does not matter.
    """
    tag = TagFact(TagState.UNPROVEN, in_flight=True)
    for expires_in, until in ((DAY, NOW + MINUTE), (SECOND, NOW + SECOND)):
        message = draft(MESSENGER, Purpose.ACCOUNT_UPDATE, expires_at=NOW + expires_in)
        decision = decided(message, facts(person(wrote=2 * DAY), MESSENGER, tag=tag))
        assert isinstance(decision, Wait)
        assert (decision.until, decision.on_inbound) == (until, True)


def test_account_update_is_never_relied_on_under_the_policy_refuse() -> None:
    """Under the policy `refuse` no message relies on the tag, whatever is known about the Page.

    Inside the window the purpose needs no tag.
    """
    policy = replace(POLICY, account_update=AccountUpdate.REFUSE)
    known = facts(person(wrote=2 * DAY), MESSENGER, tag=TagFact(TagState.PROVEN))
    message = draft(MESSENGER, Purpose.ACCOUNT_UPDATE)
    assert decided(message, known, policy).reason is Reason.ACCOUNT_UPDATE_REFUSED
    inside = decided(message, facts(person(wrote=HOUR), MESSENGER), policy)
    assert isinstance(inside, Send)
    assert inside.content == FreeformContent("text")


def test_messenger_carries_a_template_of_its_own_inside_the_window_only() -> None:
    """Templates go on Messenger inside the window; outside, the message is refused or waits."""
    rich = template(channels=frozenset({MESSENGER}), approval=Approval.UNSUBMITTED)
    message = draft(MESSENGER, freeform=None, template=WISH)
    inside = decided(message, facts(person(wrote=HOUR), MESSENGER, template=rich))
    assert isinstance(inside, Send)
    assert (inside.reason, inside.valid_until) == (Reason.TEMPLATE_ONLY, NOW + 23 * HOUR)
    closed = facts(person(wrote=2 * DAY), MESSENGER, template=rich)
    assert decided(message, closed).reason is Reason.WINDOW_CLOSED
    waiting = replace(message, when_closed=WhenClosed.WAIT)
    assert decided(waiting, closed).reason is Reason.AWAITING_INBOUND
    assert decided(waiting, replace(closed, template=template())).reason is Reason.WINDOW_CLOSED
    foreign = facts(person(wrote=HOUR), MESSENGER)
    assert decided(message, foreign).reason is Reason.TEMPLATE_ON_CHANNEL


def test_sms_sends_its_body_with_consent_and_knows_no_window() -> None:
    """On SMS a grant is enough, and the window matters only where it implies consent."""
    for wrote in (None, HOUR, 2 * DAY):
        decision = decided(draft(SMS), facts(person(GRANT, wrote=wrote), SMS))
        assert isinstance(decision, Send)
        assert (decision.reason, decision.valid_until) == (Reason.SMS_CONSENT, NOW + 2 * DAY)


def test_sms_carries_a_template_made_for_it_when_there_is_no_text() -> None:
    """On SMS a template for SMS goes without a text, and one of another channel is refused."""
    message = draft(SMS, freeform=None, template=WISH)
    rich = template(channels=frozenset({SMS}))
    assert decided(message, facts(person(GRANT), SMS, template=rich)).reason is Reason.TEMPLATE_ONLY
    assert decided(message, facts(person(GRANT), SMS)).reason is Reason.TEMPLATE_ON_CHANNEL
    assert (
        decided(replace(message, template=None), facts(person(GRANT), SMS)).reason
        is Reason.NO_TEMPLATE
    )
