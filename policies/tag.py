"""ACCOUNT_UPDATE on Messenger: whether a message may rely on Twilio adding the tag, and what an outcome proves."""

from policies.facts import TagFact, TagState
from policies.policy import AccountUpdate, Policy
from policies.status import is_proof_of_sending
from sendwindow.vocabulary import Reason


def tag_problem(tag: TagFact | None, policy: Policy) -> Reason | None:
    """Answer the reason why this Page may not rely on the tag now, None when it may.

    An unproven Page risks one message: until its `sent` callback came, no second one goes.
    Source: Twilio, "Send a message with Facebook Messenger" (read 2026-11-20); Meta announced its end for 2026-04-27.
    """
    if policy.account_update is AccountUpdate.REFUSE:
        return Reason.ACCOUNT_UPDATE_REFUSED
    if tag is None:
        return Reason.MISSING_FACT
    if tag.state is TagState.DEAD:
        return Reason.ACCOUNT_UPDATE_DEAD
    if tag.state is TagState.UNPROVEN and tag.in_flight:
        return Reason.ACCOUNT_UPDATE_UNPROVEN
    return None


def tag_after(policy: Policy, *, status: str | None = None, code: int | None = None) -> TagState | None:
    """Tell what the outcome of a message that relied on the tag says about its Page; None when it says nothing.

    An error code that a dead tag produces opens the breaker; a status from `sent` on proves the tag.
    """
    if code in policy.tag_dead_codes:
        return TagState.DEAD
    if status is not None and is_proof_of_sending(status):
        return TagState.PROVEN
    return None
