"""Applies the message's rule to an attempt that was searched for and not found. Pure."""

from datetime import timedelta
from typing import Final, assert_never

from policies.policy import Policy
from policies.unknown import Evidence, UnknownAction, UnknownStep, next_step, restored_step
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from worker.pipeline.unknown.matching import Absent, Unclear
from worker.ports.settlements import SettleAgain, SettleEnd, SettleUnknown
from worker.ports.unknowns import SettleUnresolved, UnknownAttempt, Verdict

_MAY_CLEAR: Final = frozenset({"unproven", "contested"})
_MIN_LOOK: Final = timedelta(seconds=5)


def apply_rule(
    attempt: UnknownAttempt, finding: Absent | Unclear, policy: Policy
) -> Verdict | None:
    """Return what becomes of the attempt, None when nothing does."""
    since = attempt.now - attempt.latest_at
    why = finding.why if isinstance(finding, Unclear) else "absent"
    if not attempt.was_posted:
        # The store was restored from a copy, and the message may have gone out only since the copy
        # was made. Its rule is meant for attempts that are known to be posted.
        return _verdict(attempt, restored_step(_restored_evidence(finding), since, policy), why)
    rule = attempt.on_unknown
    if attempt.is_poison and rule is not OnUnknown.HOLD:
        rule = OnUnknown.NEVER
    step = next_step(rule, _evidence(finding), since, policy, unproven=attempt.unproven)
    return _verdict(attempt, step, why)


def _evidence(finding: Absent | Unclear) -> Evidence:
    """Return the finding as the rule's evidence.

    A list that could not be read may be read later. Where doubt remains, an operator has to decide.
    """
    if isinstance(finding, Absent):
        return Evidence.ABSENT
    return Evidence.NONE if finding.why == "incomplete" else Evidence.UNPROVEN_LIST


def _restored_evidence(finding: Absent | Unclear) -> Evidence:
    """Return the finding about a restored message as the rule's evidence.

    Other attempts that are found in the meantime may prove its list, or own its row.
    """
    if isinstance(finding, Unclear) and finding.why in _MAY_CLEAR:
        return Evidence.NONE
    return _evidence(finding)


def _verdict(attempt: UnknownAttempt, step: UnknownStep, why: str) -> Verdict | None:
    match step.action:
        case UnknownAction.LOOK:
            # Soon at first, then at growing intervals: what Twilio took shows within seconds, or
            # not for a long time.
            after = min(step.after, max(_MIN_LOOK, attempt.now - attempt.latest_at))
            return SettleUnknown(attempt.reason, why, int(after / timedelta(milliseconds=1)))
        case UnknownAction.RESEND if not attempt.was_posted:
            return SettleAgain(Stage.QUEUED, Reason.NOT_SENT, sentence=f"evidence: {why}")
        case UnknownAction.RESEND:
            return SettleAgain(Stage.RETRYING, Reason.RESENT_BY_RULE, sentence=f"evidence: {why}")
        case UnknownAction.END if attempt.is_poison:
            sentence = (
                "It may have been sent: each worker that posted it died before the reply came."
            )
            return SettleEnd(Stage.DEAD, Reason.POISON, sentence=sentence)
        case UnknownAction.END:
            sentence = "It may have been sent, and its rule forbids sending it again."
            return SettleEnd(Stage.DEAD, Reason.NEVER_BY_RULE, sentence=sentence)
        case UnknownAction.HOLD:
            return SettleUnresolved(Reason.HELD_BY_RULE, why)
        case UnknownAction.BIND:
            return None
        case _:
            assert_never(step.action)
