"""Decides what happens to an unknown message, by its rule and the evidence.

Laws:

* The absence of evidence never proves that a message was not sent.
* Only a list that is proven complete and was read long enough after the intent proves absence.
* A message whose rule is `never` or `hold` is never sent again automatically.
* A message whose rule is `resend` is sent again only a few times.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from policies.policy import Policy
from sendwindow.vocabulary import OnUnknown


class Evidence(StrEnum):
    """What is known about an attempt now.

    "The list" is the provider's list of the messages of one sender to one recipient.
    """

    NONE = "none"
    """The list has not been read since `absent_after` passed, or it could not be read."""
    FOUND = "found"
    """A callback, a late reply or the list shows the message."""
    ABSENT = "absent"
    """The complete list does not show the message, and it does show messages whose SIDs we know."""
    UNPROVEN_LIST = "unproven_list"
    """The list does not show the message, but nothing proves that the list is complete."""


class UnknownAction(StrEnum):
    """What to do with the message."""

    BIND = "bind"
    """Record it as accepted."""
    LOOK = "look"
    """Look for evidence again after `after`."""
    RESEND = "resend"
    """Decide and send again as a new attempt."""
    HOLD = "hold"
    """List it as unresolved and alert, so that an operator decides."""
    END = "end"
    """End it without another attempt."""


@dataclass(frozen=True, slots=True)
class UnknownStep:
    """The next step for a message. `after` counts from now."""

    action: UnknownAction
    after: timedelta = timedelta(0)


def settle_after(rule: OnUnknown, policy: Policy) -> timedelta:
    """Return how long after the intent the rule is first applied."""
    return policy.resend_after if rule is OnUnknown.RESEND else policy.absent_after


def next_step(
    rule: OnUnknown,
    evidence: Evidence,
    since_intent: timedelta,
    policy: Policy,
    *,
    unproven: int = 1,
) -> UnknownStep:
    """Return the next step for an attempt whose intent was written `since_intent` ago.

    `unproven`: how many attempts of the message have no proof, including this one. The evidence
    `absent` or `unproven_list` must come from a list that was read `since_intent` after the intent,
    not from an earlier one.
    """
    if evidence is Evidence.FOUND:
        return UnknownStep(UnknownAction.BIND)
    decides_after = settle_after(rule, policy)
    if since_intent < decides_after:
        return UnknownStep(UnknownAction.LOOK, after=decides_after - since_intent)
    if rule is OnUnknown.RESEND and unproven <= policy.most_resends:
        return UnknownStep(UnknownAction.RESEND)
    if rule is OnUnknown.NEVER:
        return UnknownStep(UnknownAction.END)
    if rule is OnUnknown.RESEND_IF_ABSENT and evidence is Evidence.ABSENT:
        return UnknownStep(UnknownAction.RESEND)
    if (
        rule is OnUnknown.RESEND_IF_ABSENT
        and evidence is Evidence.NONE
        and since_intent < policy.hold_after
    ):
        return UnknownStep(UnknownAction.LOOK, after=policy.resend_after)
    return UnknownStep(UnknownAction.HOLD)


def restored_step(evidence: Evidence, since_restored: timedelta, policy: Policy) -> UnknownStep:
    """Return the next step for a message that is not posted in a restored copy of the store.

    The message may have been sent after the copy was made. The message's own rule does not apply,
    because it concerns attempts that were posted. Here, only proof of absence leads to a send. With
    `resend`, the message is then sent for the first time as far as we know. `since_restored`: how
    long ago the store was restored.
    """
    if evidence is Evidence.FOUND:
        return UnknownStep(UnknownAction.BIND)
    if since_restored < policy.absent_after:
        return UnknownStep(UnknownAction.LOOK, after=policy.absent_after - since_restored)
    if evidence is Evidence.ABSENT:
        return UnknownStep(UnknownAction.RESEND)
    if evidence is Evidence.NONE and since_restored < policy.hold_after:
        return UnknownStep(UnknownAction.LOOK, after=policy.resend_after)
    return UnknownStep(UnknownAction.HOLD)
