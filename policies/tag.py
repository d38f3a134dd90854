"""ACCOUNT_UPDATE on Messenger, a tag that Twilio itself adds outside the window.

Decides whether a message may rely on the tag, and what an outcome proves about it.
"""

from policies.facts import TagFact, TagState
from policies.policy import AccountUpdate, Policy
from policies.status import is_proof_of_sending
from sendwindow.vocabulary import Reason


def tag_problem(tag: TagFact | None, policy: Policy) -> Reason | None:
    """Return the reason why this Page may not rely on the tag now, or None if it may.

    On a Page where the tag is unproven, we risk only one message. No second message is sent until
    the `sent` callback of the first one has arrived. Source: Twilio, "Send a message with Facebook
    Messenger" (read 2026-11-20). Meta announced the end of the tag for 2026-04-27.
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


def tag_after(
    policy: Policy, *, status: str | None = None, code: int | None = None
) -> TagState | None:
    """Return what the outcome of a message that relied on the tag proves about its Page.

    Returns None if it proves nothing. An error code that a dead tag causes opens the breaker. The
    status `sent` or a later one proves that the tag works.
    """
    if code in policy.tag_dead_codes:
        return TagState.DEAD
    if status is not None and is_proof_of_sending(status):
        return TagState.PROVEN
    return None
