"""What follows when nobody can prove whether an attempt reached the person: the message's rule and the evidence.

Laws: silence never proves "not sent" · only a list that is proven complete, read long enough after the intent, proves
absence · a message whose rule is `never` or `hold` is never sent again by itself, one whose rule is `resend` not often.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from policies.policy import Policy
from sendwindow.vocabulary import OnUnknown, Purpose, Reason


class Evidence(StrEnum):
    """What is known about an attempt now. The list is the provider's list of messages by sender and recipient."""

    NONE = "none"
    """No list has been read since `absent_after` passed, or it could not be read."""
    FOUND = "found"
    """A callback, a late reply or the list shows the message."""
    ABSENT = "absent"
    """The complete list does not show it, and it does show messages whose SIDs we know."""
    UNPROVEN_LIST = "unproven_list"
    """The list does not show it, but nothing shows that the list can be trusted for this sender."""


class UnknownAction(StrEnum):
    """What to do with the message."""

    BIND = "bind"
    """Record it as accepted."""
    LOOK = "look"
    """Look for evidence again after `after`."""
    RESEND = "resend"
    """Decide and send again as a new attempt."""
    HOLD = "hold"
    """List it as unresolved and alert; a person decides."""
    END = "end"
    """End it without another attempt."""


@dataclass(frozen=True, slots=True)
class UnknownStep:
    """The next step. `reason` is None for `bind` (the evidence names it) and `look`; `after` counts from now."""

    action: UnknownAction
    reason: Reason | None = None
    after: timedelta = timedelta(0)


def rule_for(on_unknown: OnUnknown | None, purpose: Purpose, policy: Policy) -> OnUnknown:
    """Answer a message's rule: its own, else the default of its purpose."""
    return on_unknown or policy.purposes[purpose].on_unknown


def settle_after(rule: OnUnknown, policy: Policy) -> timedelta:
    """Return how long after the intent a rule first decides."""
    return policy.resend_after if rule is OnUnknown.RESEND else policy.absent_after


def next_step(
    on_unknown: OnUnknown | None,
    purpose: Purpose,
    evidence: Evidence,
    since_intent: timedelta,
    policy: Policy,
    *,
    unproven: int = 1,
) -> UnknownStep:
    """Answer what to do with an attempt whose intent was written `since_intent` ago.

    `unproven`: how many of the message's attempts nobody has proof of, this one included. Evidence `absent` and
    `unproven_list` must come from a list read at `since_intent`, not from an earlier one.
    """
    if evidence is Evidence.FOUND:
        return UnknownStep(UnknownAction.BIND)
    rule = rule_for(on_unknown, purpose, policy)
    decides_after = settle_after(rule, policy)
    if since_intent < decides_after:
        return UnknownStep(UnknownAction.LOOK, after=decides_after - since_intent)
    if rule is OnUnknown.RESEND and unproven <= policy.most_resends:
        return UnknownStep(UnknownAction.RESEND, Reason.RESENT_BY_RULE)
    if rule is OnUnknown.NEVER:
        return UnknownStep(UnknownAction.END, Reason.NEVER_BY_RULE)
    if rule is OnUnknown.RESEND_IF_ABSENT and evidence is Evidence.ABSENT:
        return UnknownStep(UnknownAction.RESEND, Reason.RESENT_BY_RULE)
    if rule is OnUnknown.RESEND_IF_ABSENT and evidence is Evidence.NONE and since_intent < policy.hold_after:
        return UnknownStep(UnknownAction.LOOK, after=policy.resend_after)
    return UnknownStep(UnknownAction.HOLD, Reason.HELD_BY_RULE)


def restored_step(evidence: Evidence, since_restored: timedelta, policy: Policy) -> UnknownStep:
    """Answer what to do with a message that a restored copy has as not posted, and that may have gone out since.

    Its own rule speaks of attempts that were posted; here only proof sends. `since_restored`: how long ago the store
    was restored. `resend` sends for the first time, as far as anything shows.
    """
    if evidence is Evidence.FOUND:
        return UnknownStep(UnknownAction.BIND)
    if since_restored < policy.absent_after:
        return UnknownStep(UnknownAction.LOOK, after=policy.absent_after - since_restored)
    if evidence is Evidence.ABSENT:
        return UnknownStep(UnknownAction.RESEND, Reason.NOT_SENT)
    if evidence is Evidence.NONE and since_restored < policy.hold_after:
        return UnknownStep(UnknownAction.LOOK, after=policy.resend_after)
    return UnknownStep(UnknownAction.HOLD, Reason.HELD_BY_RULE)
