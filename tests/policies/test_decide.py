"""The decision table, row by row, with both sides of every edge."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policies import decide as decide_module
from policies.decision import FreeformContent, Refuse, SeenRevisions, Send, TemplateContent, Wait
from policies.facts import Approval, ConsentFact, PersonFact, TagFact, TagState
from policies.policy import AccountUpdate, parse_policy
from sendwindow.vocabulary import Category, Channel, Purpose, Reason, WhenClosed
from tests.policies.given import (
    DAY,
    FROM,
    GRANT,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    SECOND,
    STOP,
    TICK,
    TO,
    WISH,
    decided,
    draft,
    facts,
    person,
    shipped,
    template,
)

WHATSAPP, MESSENGER, SMS = Channel.WHATSAPP, Channel.MESSENGER, Channel.SMS
MARKETING_GRANT = ConsentFact(granted=True, at=NOW - DAY, purpose=Purpose.MARKETING)
MARGIN = timedelta(minutes=5)


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
    assert decision.content == TemplateContent("order_update", "HX1", {"1": "x"})
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


@pytest.mark.parametrize(
    "expires_at, reason",
    [
        pytest.param(NOW + TICK, Reason.SMS_CONSENT, id="an-instant-left"),
        pytest.param(NOW, Reason.EXPIRED, id="the-instant-itself"),
        pytest.param(NOW - TICK, Reason.EXPIRED, id="past"),
    ],
)
def test_nothing_goes_at_or_after_expiry(expires_at: datetime, reason: Reason) -> None:
    """Expiry is exclusive, like the window's edge."""
    assert decided(draft(SMS, expires_at=expires_at), facts(person(GRANT), SMS)).reason is reason


def test_what_is_not_known_is_refused_with_its_reason() -> None:
    """Deny by default: no sender, no channel, another channel, no person, no content."""
    known = facts(person(GRANT))
    assert decided(draft(), replace(known, sender=None)).reason is Reason.UNKNOWN_SENDER
    assert decided(draft(None), known).reason is Reason.UNKNOWN_CHANNEL
    assert decided(draft(SMS), known).reason is Reason.CHANNEL_MISMATCH
    assert decided(draft(), facts(None)).reason is Reason.MISSING_FACT
    unreadable = replace(person(GRANT, wrote=HOUR), is_readable=False)
    for message in (draft(), draft(is_opt_out_confirmation=True)):
        assert decided(message, facts(unreadable)).reason is Reason.MISSING_FACT
    assert decided(draft(freeform=None), known).reason is Reason.NO_TEMPLATE
    assert decided(draft(to=FROM[WHATSAPP]), known).reason is Reason.SAME_ADDRESS
    assert known.sender is not None
    spelled = replace(known, sender=replace(known.sender, address="whatsapp:+5215555550123"))
    assert decided(draft(to="whatsapp:+525555550123"), spelled).reason is Reason.SAME_ADDRESS
    assert (
        decided(draft(template=WISH, freeform=None), replace(known, template=None)).reason
        is Reason.UNKNOWN_TEMPLATE
    )


def test_a_channel_that_nothing_carries_is_refused_in_the_last_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A channel that no rule knows is refused by the last line of `decide`."""
    monkeypatch.setattr("policies.content.CARRIERS", {})
    decision = decided(draft(), facts(person(GRANT, wrote=HOUR)))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.UNKNOWN_CHANNEL
    assert decision.trace.verdicts[-1].rule == "deny_by_default"
    assert decide_module.RULES


def test_the_allow_list_lets_through_only_who_is_on_it() -> None:
    """The allow-list admits only its own addresses, and without a list everyone passes."""
    known = facts(person(GRANT), SMS)
    for allowed, reason in (
        (None, Reason.SMS_CONSENT),
        (frozenset({TO[SMS]}), Reason.SMS_CONSENT),
        (frozenset({"+14165550123"}), Reason.NOT_ON_ALLOW_LIST),
        (frozenset[str](), Reason.NOT_ON_ALLOW_LIST),
    ):
        assert (
            decided(draft(SMS), known, replace(POLICY, allow_recipients=allowed)).reason is reason
        )


@pytest.mark.parametrize(
    "to, reason",
    [
        ("+5215555550123", Reason.SMS_CONSENT),
        ("+525555550123", Reason.SMS_CONSENT),
        ("+447700900124", Reason.SMS_CONSENT),
        ("+525555550124", Reason.NOT_ON_ALLOW_LIST),
    ],
)
def test_the_allow_list_knows_every_spelling(to: str, reason: Reason) -> None:
    """A phone on the allow-list is recognized in every spelling."""
    policy = parse_policy(shipped(), {"allow_recipients": ("+525555550123", "+4407700900124")})
    assert decided(draft(SMS, to=to), facts(person(GRANT), SMS), policy).reason is reason


@pytest.mark.parametrize(
    "cap, sent, reason",
    [
        pytest.param(0, 1000, Reason.SMS_CONSENT, id="no-cap"),
        pytest.param(3, 2, Reason.SMS_CONSENT, id="below"),
        pytest.param(3, 3, Reason.PERSON_CAP, id="reached"),
    ],
)
def test_a_person_gets_no_more_than_the_cap_in_a_day(cap: int, sent: int, reason: Reason) -> None:
    """A message over the cap is refused even if it may wait, and zero means no cap."""
    known = facts(person(GRANT, sent_last_day=sent), SMS)
    decision = decided(
        draft(SMS, when_closed=WhenClosed.WAIT), known, replace(POLICY, person_cap=cap)
    )
    assert decision.reason is reason
    assert isinstance(decision, Refuse) is (reason is Reason.PERSON_CAP)


@pytest.mark.parametrize(
    "is_account, reason",
    [(True, Reason.ACCOUNT_PAUSED), (False, Reason.SENDER_PAUSED)],
)
def test_a_pause_makes_messages_wait_until_it_ends(is_account: bool, reason: Reason) -> None:
    """A paused account outranks its sender, a pause's end is exclusive, and no wait outlasts the
    message.
    """
    known = facts(person(GRANT), SMS)
    assert known.sender is not None
    for pause, until, expected in (
        (HOUR, NOW + HOUR, reason),
        (5 * DAY, NOW + 2 * DAY, reason),
        (timedelta(0), None, Reason.SMS_CONSENT),
    ):
        account, sender_only = (NOW + pause, None) if is_account else (None, NOW + pause)
        sender = replace(known.sender, account_paused_until=account, paused_until=sender_only)
        decision = decided(draft(SMS), replace(known, sender=sender))
        assert decision.reason is expected
        if isinstance(decision, Wait):
            assert (decision.until, decision.on_inbound) == (until, False)


@pytest.mark.parametrize(
    "not_before, reason",
    [
        pytest.param(NOW + TICK, Reason.NOT_BEFORE, id="not-yet"),
        pytest.param(NOW, Reason.SMS_CONSENT, id="the-instant-itself"),
        pytest.param(NOW + 9 * DAY, Reason.NOT_BEFORE, id="after-expiry"),
    ],
)
def test_a_message_waits_for_its_own_time(not_before: datetime, reason: Reason) -> None:
    """`not_before` is inclusive, and consent is checked only then."""
    for someone in (person(GRANT), person()):
        decision = decided(draft(SMS, not_before=not_before), facts(someone, SMS))
        if isinstance(decision, Wait):
            assert decision.until == min(not_before, NOW + 2 * DAY)
            assert decision.reason is reason
        else:
            assert reason is Reason.SMS_CONSENT


@pytest.mark.parametrize("channel", Channel)
def test_marketing_waits_while_a_stop_is_suspected(channel: Channel) -> None:
    """Marketing waits for an operator until its expiry, whatever window is open.

    Other purposes go on.
    """
    marketing = replace(GRANT, purpose=Purpose.MARKETING)
    someone = person(GRANT, marketing, wrote=HOUR, suspected_at=NOW - 30 * DAY)
    decision = decided(draft(channel, Purpose.MARKETING), facts(someone, channel))
    assert isinstance(decision, Wait)
    assert (decision.reason, decision.on_inbound) == (Reason.STOP_SUSPECTED, True)
    assert decision.until == NOW + 2 * DAY
    for purpose in (Purpose.REPLY, Purpose.UTILITY, Purpose.AUTHENTICATION, Purpose.ACCOUNT_UPDATE):
        assert isinstance(decided(draft(channel, purpose), facts(someone, channel)), Send)


def test_what_may_not_go_anyhow_does_not_wait_for_a_suspected_stop() -> None:
    """A stop, or no consent to marketing, refuses at once.

    The decision about a suspected stop would not change that.
    """
    for consents, reason in (
        ((GRANT, STOP), Reason.OPTED_OUT),
        ((GRANT,), Reason.NO_MARKETING_CONSENT),
    ):
        someone = person(*consents, suspected_at=NOW)
        assert decided(draft(SMS, Purpose.MARKETING), facts(someone, SMS)).reason is reason


def test_a_suppressed_address_gets_nothing_for_its_term() -> None:
    """The end of a suppression's term is exclusive."""
    for left, reason in ((TICK, Reason.ADDRESS_SUPPRESSED), (timedelta(0), Reason.SMS_CONSENT)):
        assert (
            decided(draft(SMS), facts(person(GRANT, suppressed_until=NOW + left), SMS)).reason
            is reason
        )


@pytest.mark.parametrize(
    "wrote, wish, valid_for",
    [
        pytest.param(HOUR, None, 23 * HOUR, id="until-the-edge"),
        pytest.param(HOUR, WISH, 23 * HOUR - MARGIN, id="until-the-template-is-preferred"),
    ],
)
def test_a_freeform_decision_is_valid_until_another_would_be_made(
    wrote: timedelta, wish: object, valid_for: timedelta
) -> None:
    """Freeform is valid until another decision would be made.

    Twilio's own queue may hold it until the window's edge.
    """
    decision = decided(draft(template=wish), facts(person(GRANT, wrote=wrote)))
    assert isinstance(decision, Send)
    assert decision.valid_until == NOW + valid_for
    assert decision.validity_period == timedelta(hours=10)
    soon = decided(draft(template=wish), facts(person(GRANT, wrote=22 * HOUR + HOUR / 2)))
    assert isinstance(soon, Send)
    assert soon.validity_period == 1.5 * HOUR


def test_a_decision_names_the_revisions_it_rests_on() -> None:
    """A decision names the revisions that it used, and no others.

    A permit is refused when one of them has changed.
    """
    freeform = decided(draft(template=WISH), facts(person(GRANT, wrote=HOUR)))
    assert isinstance(freeform, Send)
    assert freeform.seen == SeenRevisions(person=7, sender=3, account=4)
    tagged = decided(
        draft(MESSENGER, Purpose.ACCOUNT_UPDATE), facts(person(wrote=2 * DAY), MESSENGER)
    )
    assert isinstance(tagged, Send)
    assert tagged.seen == SeenRevisions(person=7, sender=3, account=4, tag=6)


def test_every_decision_tells_each_rule_it_looked_at_in_order() -> None:
    """The trace ends with the deciding rule, and names policy version and instant."""
    decision = decided(draft(template=WISH), facts(person(GRANT, wrote=HOUR)))
    assert decision.trace.policy_version == POLICY.version
    assert decision.trace.decided_at == NOW
    assert [f"{verdict.rule}:{verdict.verdict}" for verdict in decision.trace.verdicts] == [
        "expiry:pass",
        "sender:pass",
        "channel:pass",
        "addresses:pass",
        "allow_list:skip",
        "person:pass",
        "opt_out:pass",
        "not_before:skip",
        "pauses:pass",
        "suppression:pass",
        "blocks:pass",
        "person_cap:skip",
        "consent:pass",
        "window:pass",
        "template:pass",
        "whatsapp.open.freeform:choose",
    ]


@pytest.mark.parametrize(
    "someone, words",
    [
        (person(GRANT), "never opened"),
        (person(GRANT, wrote=2 * DAY), "closed"),
        (person(GRANT, wrote=HOUR), "open"),
        (person(GRANT, wrote=DAY - MINUTE), "open, near its edge"),
    ],
)
def test_the_trace_says_what_the_window_was(someone: PersonFact, words: str) -> None:
    """The trace states the window, so that a reader sees why a template went out."""
    decision = decided(draft(template=WISH), facts(someone))
    assert [verdict.detail for verdict in decision.trace.verdicts if verdict.rule == "window"] == [
        words
    ]
