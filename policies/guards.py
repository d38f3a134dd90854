"""Guards: rules that apply to every message before its content is chosen.

They concern the recipient, the sender, the time and the number of messages.
"""

from policies.consent import Standing, permission
from policies.decision import Decision
from policies.evaluation import Evaluation
from policies.window import session_window
from sendwindow.vocabulary import Purpose, Reason


def check_expiry(case: Evaluation) -> Decision | None:
    """Refuse an expired message. The instant of expiry itself is already too late."""
    if case.now >= case.draft.expires_at:
        return case.refuse("expiry", Reason.EXPIRED)
    case.passes("expiry")
    return None


def check_sender(case: Evaluation) -> Decision | None:
    """Refuse the message if its sender is not configured."""
    if case.facts.sender is None:
        return case.refuse("sender", Reason.UNKNOWN_SENDER)
    case.sender = case.facts.sender
    case.passes("sender")
    return None


def check_channel(case: Evaluation) -> Decision | None:
    """Refuse an address without a known channel, or with another channel than the sender's."""
    if case.draft.channel is None:
        return case.refuse("channel", Reason.UNKNOWN_CHANNEL)
    if case.draft.channel is not case.sender.channel:
        return case.refuse("channel", Reason.CHANNEL_MISMATCH)
    case.passes("channel", case.draft.channel.value)
    return None


def check_addresses(case: Evaluation) -> Decision | None:
    """Refuse a message to the sender itself (Twilio, error 63031)."""
    if case.policy.spellings.is_same_person(case.draft.to, case.sender.address):
        return case.refuse("addresses", Reason.SAME_ADDRESS)
    case.passes("addresses")
    return None


def check_allow_list(case: Evaluation) -> Decision | None:
    """Refuse a recipient that is not on the allow list, if there is one."""
    allowed = case.policy.allow_recipients
    if allowed is None:
        case.skips("allow_list")
        return None
    if case.policy.spellings.canonical(case.draft.to) not in allowed:
        return case.refuse("allow_list", Reason.NOT_ON_ALLOW_LIST)
    case.passes("allow_list")
    return None


def check_person(case: Evaluation) -> Decision | None:
    """Establish permission and session window. Refuse if the person's record could not be read."""
    person = case.facts.person
    if person is None or not person.is_readable:
        return case.refuse("person", Reason.MISSING_FACT, "person")
    case.person = person
    case.permission = permission(
        person, case.draft.purpose, case.sender.name, case.policy, case.now
    )
    case.window = session_window(person, case.policy, case.now)
    case.passes("person")
    return None


def check_opt_out(case: Evaluation) -> Decision | None:
    """Refuse a message to a person who opted out.

    Only one confirmation of the stop passes, within five minutes (47 CFR 64.1200(a)).
    """
    stopped_at = case.permission.opted_out_at
    if not case.draft.is_opt_out_confirmation:
        if case.permission.standing is Standing.OPTED_OUT:
            return case.refuse("opt_out", Reason.OPTED_OUT)
        case.passes("opt_out")
        return None
    if stopped_at is None:
        return case.refuse("opt_out", Reason.MISSING_FACT, "nothing to confirm")
    if case.now - min(stopped_at, case.now) >= case.policy.confirmation:
        return case.refuse("opt_out", Reason.OPTED_OUT, "too late to confirm")
    case.is_confirmation = True
    case.passes("opt_out", "confirmation")
    return None


def check_suspected_stop(case: Evaluation) -> Decision | None:
    """Return a wait for marketing while a suspected stop of the person waits for an operator.

    Other purposes are not affected, and only a marketing message has this rule in its trace. The
    message waits and is not refused, so that nothing is lost if the text was not a stop. The wait
    ends at the message's expiry and not earlier by time alone. Source: 47 CFR 64.1200(a)(10),
    revocation by "any reasonable means" (read 2026-11-30).
    """
    if case.draft.purpose is not Purpose.MARKETING:
        return None
    if case.person.suspected_at is None:
        case.passes("suspected_stop")
        return None
    return case.wait(
        "suspected_stop", Reason.STOP_SUSPECTED, case.draft.expires_at, on_inbound=True
    )


def check_not_before(case: Evaluation) -> Decision | None:
    """Return a wait until the message's `not_before`, if that is still ahead."""
    not_before = case.draft.not_before
    if not_before is None:
        case.skips("not_before")
        return None
    if case.now < not_before:
        return case.wait("not_before", Reason.NOT_BEFORE, not_before)
    case.passes("not_before")
    return None


def check_pauses(case: Evaluation) -> Decision | None:
    """Return a wait until the pause of the account or the sender ends, if one is paused."""
    sender = case.sender
    if sender.account_paused_until is not None and case.now < sender.account_paused_until:
        return case.wait("pauses", Reason.ACCOUNT_PAUSED, sender.account_paused_until)
    if sender.paused_until is not None and case.now < sender.paused_until:
        return case.wait("pauses", Reason.SENDER_PAUSED, sender.paused_until)
    case.passes("pauses")
    return None


def check_suppression(case: Evaluation) -> Decision | None:
    """Refuse an address that the provider reported as unusable, until the suppression ends."""
    until = case.person.suppressed_until
    if until is not None and case.now < until:
        return case.refuse("suppression", Reason.ADDRESS_SUPPRESSED)
    case.passes("suppression")
    return None


def check_person_cap(case: Evaluation) -> Decision | None:
    """Refuse the message if the person already got as many messages in 24 h as the cap allows.

    The message is refused rather than kept waiting: messages that waited would arrive in a burst a
    day later unless they expired. If a message reaches the cap only at admission, it is decided
    again and refused here.
    """
    cap = case.policy.person_cap
    if cap == 0:
        case.skips("person_cap")
        return None
    if case.person.sent_last_day >= cap:
        return case.refuse("person_cap", Reason.PERSON_CAP)
    case.passes("person_cap")
    return None
