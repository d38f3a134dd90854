"""Rules that hold for every message before its content is looked at: who, from where, when, and how often."""

from policies.case import Case
from policies.consent import Standing, permission
from policies.decision import Decision
from policies.window import session_window
from sendwindow.vocabulary import Purpose, Reason


def check_expiry(case: Case) -> Decision | None:
    """Refuse what has expired; the instant of expiry itself is too late."""
    if case.now >= case.draft.expires_at:
        return case.refuse("expiry", Reason.EXPIRED)
    case.passes("expiry")
    return None


def check_sender(case: Case) -> Decision | None:
    """Refuse when no such sender is configured."""
    if case.facts.sender is None:
        return case.refuse("sender", Reason.UNKNOWN_SENDER)
    case.sender = case.facts.sender
    case.passes("sender")
    return None


def check_channel(case: Case) -> Decision | None:
    """Refuse an address of no known channel, or of another channel than the sender's."""
    if case.draft.channel is None:
        return case.refuse("channel", Reason.UNKNOWN_CHANNEL)
    if case.draft.channel is not case.sender.channel:
        return case.refuse("channel", Reason.CHANNEL_MISMATCH)
    case.passes("channel", case.draft.channel.value)
    return None


def check_addresses(case: Case) -> Decision | None:
    """Refuse a message to the sender itself (Twilio, error 63031)."""
    if case.policy.spellings.is_same_person(case.draft.to, case.sender.address):
        return case.refuse("addresses", Reason.SAME_ADDRESS)
    case.passes("addresses")
    return None


def check_allow_list(case: Case) -> Decision | None:
    """Refuse whoever is not on the allow list, when there is one."""
    allowed = case.policy.allow_recipients
    if allowed is None:
        case.skips("allow_list")
        return None
    if case.policy.spellings.canonical(case.draft.to) not in allowed:
        return case.refuse("allow_list", Reason.NOT_ON_ALLOW_LIST)
    case.passes("allow_list")
    return None


def check_person(case: Case) -> Decision | None:
    """Refuse when nothing could be read about the person; establish permission and session window."""
    person = case.facts.person
    if person is None or not person.is_readable:
        return case.refuse("person", Reason.MISSING_FACT, "person")
    case.person = person
    case.permission = permission(person, case.draft.purpose, case.sender.name, case.policy, case.now)
    case.window = session_window(person, case.policy, case.now)
    case.passes("person")
    return None


def check_opt_out(case: Case) -> Decision | None:
    """Refuse whoever opted out. Only the one confirmation of a stop passes, for five minutes (47 CFR 64.1200(a))."""
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


def check_suspected_stop(case: Case) -> Decision | None:
    """Hold marketing while a sentence that may mean stop waits for somebody to look at it; other purposes go on.

    It waits and is not refused: should it have been no stop, nothing is lost. No time ends the wait but the message's
    own expiry. Only marketing's trace names the rule.
    Source: 47 CFR 64.1200(a)(10), revocation by "any reasonable means" (read 2026-11-30).
    """
    if case.draft.purpose is not Purpose.MARKETING:
        return None
    if case.person.suspected_at is None:
        case.passes("suspected_stop")
        return None
    return case.wait("suspected_stop", Reason.STOP_SUSPECTED, case.draft.expires_at, on_inbound=True)


def check_not_before(case: Case) -> Decision | None:
    """Wait until the message may go at the earliest."""
    not_before = case.draft.not_before
    if not_before is None:
        case.skips("not_before")
        return None
    if case.now < not_before:
        return case.wait("not_before", Reason.NOT_BEFORE, not_before)
    case.passes("not_before")
    return None


def check_pauses(case: Case) -> Decision | None:
    """Wait while the account or the sender is paused."""
    sender = case.sender
    if sender.account_paused_until is not None and case.now < sender.account_paused_until:
        return case.wait("pauses", Reason.ACCOUNT_PAUSED, sender.account_paused_until)
    if sender.paused_until is not None and case.now < sender.paused_until:
        return case.wait("pauses", Reason.SENDER_PAUSED, sender.paused_until)
    case.passes("pauses")
    return None


def check_suppression(case: Case) -> Decision | None:
    """Refuse an address that the provider called unusable, for its term."""
    until = case.person.suppressed_until
    if until is not None and case.now < until:
        return case.refuse("suppression", Reason.ADDRESS_SUPPRESSED)
    case.passes("suppression")
    return None


def check_person_cap(case: Case) -> Decision | None:
    """Refuse when the person already got as many messages in 24 h as the cap allows.

    Refused and not kept waiting: what waited would come in a burst a day later, if it had not expired. A message that
    reaches the cap only at admission is decided again, and so refused here too.
    """
    cap = case.policy.person_cap
    if cap == 0:
        case.skips("person_cap")
        return None
    if case.person.sent_last_day >= cap:
        return case.refuse("person_cap", Reason.PERSON_CAP)
    case.passes("person_cap")
    return None
