"""Guards that stop any message, and what a decision says about itself."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policies import decide as decide_module
from policies.decision import Refuse, SeenRevisions, Send, Wait
from policies.facts import PersonFact
from policies.policy import parse_policy
from sendwindow.vocabulary import Channel, Purpose, Reason, WhenClosed
from tests.policies.given import (
    DAY,
    FROM,
    GRANT,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    STOP,
    TICK,
    TO,
    WISH,
    decided,
    draft,
    facts,
    person,
)
from tests.support.decide_cases import MARGIN, MESSENGER, SMS, WHATSAPP
from tests.support.shipped import shipped


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
