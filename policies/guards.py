"""Guards: rules that apply to every message before its content is chosen.

They concern the recipient, the sender, the time, the number of messages, what errors of the
provider hold back, and consent.
"""

from datetime import datetime
from typing import Final

from policies.consent import Standing, earliest, permission
from policies.decision import Verdict
from policies.evaluation import PASSES, SKIPS, Delay, Evaluation, Refusal, RuleResult, verdict
from policies.facts import BlockFact, Holds, SenderFact
from policies.window import session_window
from sendwindow.vocabulary import Channel, Purpose, Reason, WhenClosed

_CHANNELS: Final = {one: Verdict("channel", "pass", one.value) for one in Channel}
_GRANTED: Final = Verdict("consent", "pass", "granted")

_BLOCK_REASONS: Final = {
    Holds.MARKETING: Reason.MARKETING_HELD,
    Holds.ALL_BUT_REPLIES: Reason.PROVIDER_BLOCK,
    Holds.GRANTS: Reason.GRANTS_SUSPENDED,
}


def check_expiry(case: Evaluation) -> RuleResult:
    """Refuse an expired message. The instant of expiry itself is already too late.

    The trace names the pause that it ran into, if there is one.
    """
    if case.now >= case.draft.expires_at:
        sender = case.facts.sender
        pause = None if sender is None else _pause(sender, case.now)
        return Refusal("expiry", Reason.EXPIRED, "" if pause is None else pause[0].value)
    return PASSES["expiry"]


def check_sender(case: Evaluation) -> RuleResult:
    """Refuse the message if its sender is not configured."""
    if case.facts.sender is None:
        return Refusal("sender", Reason.UNKNOWN_SENDER)
    case.sender = case.facts.sender
    return PASSES["sender"]


def check_channel(case: Evaluation) -> RuleResult:
    """Refuse an address without a known channel, or with another channel than the sender's."""
    if case.draft.channel is None:
        return Refusal("channel", Reason.UNKNOWN_CHANNEL)
    if case.draft.channel is not case.sender.channel:
        return Refusal("channel", Reason.CHANNEL_MISMATCH)
    return _CHANNELS[case.draft.channel]


def check_addresses(case: Evaluation) -> RuleResult:
    """Refuse a message to the sender itself (Twilio, error 63031)."""
    if case.policy.spellings.is_same_person(case.draft.to, case.sender.address):
        return Refusal("addresses", Reason.SAME_ADDRESS)
    return PASSES["addresses"]


def check_allow_list(case: Evaluation) -> RuleResult:
    """Refuse a recipient that is not on the allow list, if there is one."""
    allowed = case.policy.allow_recipients
    if allowed is None:
        return SKIPS["allow_list"]
    if case.policy.spellings.canonical(case.draft.to) not in allowed:
        return Refusal("allow_list", Reason.NOT_ON_ALLOW_LIST)
    return PASSES["allow_list"]


def check_person(case: Evaluation) -> RuleResult:
    """Establish permission and session window. Refuse if the person's record could not be read."""
    person = case.facts.person
    if person is None or not person.is_readable:
        return Refusal("person", Reason.MISSING_FACT, "person")
    case.person = person
    case.permission = permission(
        person, case.draft.purpose, case.sender.name, case.policy, case.now
    )
    case.window = session_window(person, case.policy, case.now)
    return PASSES["person"]


def check_opt_out(case: Evaluation) -> RuleResult:
    """Refuse a message to a person who opted out.

    Only one confirmation of the stop passes, within five minutes (47 CFR 64.1200(a)).
    """
    stopped_at = case.permission.opted_out_at
    if not case.draft.is_opt_out_confirmation:
        if case.permission.standing is Standing.OPTED_OUT:
            return Refusal("opt_out", Reason.OPTED_OUT)
        return PASSES["opt_out"]
    if stopped_at is None:
        return Refusal("opt_out", Reason.MISSING_FACT, "nothing to confirm")
    if case.now - min(stopped_at, case.now) >= case.policy.confirmation:
        return Refusal("opt_out", Reason.OPTED_OUT, "too late to confirm")
    case.is_confirmation = True
    return verdict("opt_out", "pass", "confirmation")


def check_not_before(case: Evaluation) -> RuleResult:
    """Return a wait until the message's `not_before`, if that is still ahead."""
    not_before = case.draft.not_before
    if not_before is None:
        return SKIPS["not_before"]
    if case.now < not_before:
        return Delay("not_before", Reason.NOT_BEFORE, not_before)
    return PASSES["not_before"]


def check_pauses(case: Evaluation) -> RuleResult:
    """Return a wait until the pause of the account or the sender ends, if one is paused."""
    pause = _pause(case.sender, case.now)
    return PASSES["pauses"] if pause is None else Delay("pauses", *pause)


def check_suppression(case: Evaluation) -> RuleResult:
    """Refuse an address that the provider reported as unusable, until the suppression ends."""
    until = case.person.suppressed_until
    if until is not None and case.now < until:
        return Refusal("suppression", Reason.ADDRESS_SUPPRESSED)
    return PASSES["suppression"]


def check_blocks(case: Evaluation) -> RuleResult:
    """Refuse a message that a block holds back from the person.

    We hold messages back after an error of the provider. That is independent of the person's
    consent. A block never stops a reply inside the open session window. A block that ends with an
    act of the person stops no message for which they gave a grant since. A block at one sender has
    no effect at another sender.

    Source: Twilio, error 63014, read 2026-11-30: blocked "until they re-engage or restore consent".
    """
    for block in case.person.blocks:
        if not _is_in_force(block, case) or not _is_about(block, case):
            continue
        if (
            block.holds is not Holds.MARKETING
            and case.draft.purpose is Purpose.REPLY
            and case.window.is_open
        ):
            case.answer_by = earliest(case.answer_by, case.window.closes_at)
            continue
        return Refusal("blocks", _BLOCK_REASONS[block.holds], f"code {block.code}")
    return PASSES["blocks"] if case.answer_by is None else verdict("blocks", "pass", "an answer")


def check_person_cap(case: Evaluation) -> RuleResult:
    """Refuse the message if the person already got as many messages in 24 h as the cap allows.

    The message is refused rather than kept waiting: messages that waited would arrive in a burst a
    day later unless they expired. If a message reaches the cap only at admission, it is decided
    again and refused here.
    """
    cap = case.policy.person_cap
    if cap == 0:
        return SKIPS["person_cap"]
    if case.person.sent_last_day >= cap:
        return Refusal("person_cap", Reason.PERSON_CAP)
    return PASSES["person_cap"]


def check_consent(case: Evaluation) -> RuleResult:
    """Refuse a message without permission.

    On WhatsApp and SMS the permission is a grant. On Messenger it is that the person wrote to the
    Page. On WhatsApp and SMS, an open window implies consent for a freeform `reply`. A reply that
    may wait is kept until the window opens.
    """
    draft = case.draft
    if case.is_confirmation:
        return verdict("consent", "skip", "confirmation")
    if draft.channel is Channel.MESSENGER:
        if case.person.last_inbound_at is None:
            return Refusal("consent", Reason.NEVER_WROTE)
        return verdict("consent", "pass", "wrote to the page")
    standing = case.permission.standing
    if standing is Standing.GRANTED:
        return _GRANTED
    if draft.purpose is Purpose.REPLY and draft.freeform is not None:
        if case.window.is_open:
            case.is_implied = True
            return verdict("consent", "pass", "implied")
        if draft.when_closed is WhenClosed.WAIT:
            until = draft.expires_at
            return Delay("consent", Reason.AWAITING_INBOUND, until, on_inbound=True)
    if standing is Standing.EXPIRED:
        return Refusal("consent", Reason.CONSENT_EXPIRED)
    is_marketing = draft.purpose is Purpose.MARKETING
    return Refusal("consent", Reason.NO_MARKETING_CONSENT if is_marketing else Reason.NO_CONSENT)


def check_suspected_stop(case: Evaluation) -> RuleResult:
    """Return a wait for marketing while a suspected stop of the person waits for an operator.

    Other purposes are not affected, and only a marketing message has this rule in its trace. The
    message waits and is not refused, so that nothing is lost if the text was not a stop. The wait
    ends at the message's expiry and not earlier by time alone. Source: 47 CFR 64.1200(a)(10),
    revocation by "any reasonable means" (read 2026-11-30).
    """
    if case.draft.purpose is not Purpose.MARKETING:
        return None
    if case.person.suspected_at is None:
        return PASSES["suspected_stop"]
    return Delay("suspected_stop", Reason.STOP_SUSPECTED, case.draft.expires_at, on_inbound=True)


def _pause(sender: SenderFact, now: datetime) -> tuple[Reason, datetime] | None:
    """Return the pause of an account or a sender and its end, None when neither is paused."""
    if sender.account_paused_until is not None and now < sender.account_paused_until:
        return Reason.ACCOUNT_PAUSED, sender.account_paused_until
    if sender.paused_until is not None and now < sender.paused_until:
        return Reason.SENDER_PAUSED, sender.paused_until
    return None


def _is_in_force(block: BlockFact, case: Evaluation) -> bool:
    if block.sender not in (None, case.sender.name) or (
        block.ends_at is not None and case.now >= block.ends_at
    ):
        return False
    counted = case.policy.purposes[case.draft.purpose].granted_by
    return not block.until_inbound or not any(
        fact.granted
        and fact.purpose in counted
        and fact.sender in (None, case.sender.name)
        and block.at < fact.at <= case.now
        for fact in case.person.consents
    )


def _is_about(block: BlockFact, case: Evaluation) -> bool:
    """Return whether the block concerns this message.

    It is enough to compare the purpose: a marketing template needs the purpose marketing.
    """
    if case.is_confirmation:
        return False
    return block.holds is not Holds.MARKETING or case.draft.purpose is Purpose.MARKETING
