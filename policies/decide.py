"""Decides what happens to one message at one instant.

This module is pure: the same input gives the same decision.

Laws, each proved by a test in tests/policies:

* Deny by default. A message that no rule permits is refused, and an unknown fact permits nothing.
* A person who opted out gets no message. The only exception is one confirmation of the stop, within
  five minutes.
* A person who may have meant stop gets no marketing until an operator has decided.
* A message that a block holds back is not sent. An act of the person can end the block.
* Without consent nothing is sent, except a freeform reply inside the window that the person opened.
* Outside the window, WhatsApp permits only a usable template and Messenger only ACCOUNT_UPDATE.
* Nothing is sent at or after expiry, and no wait lasts longer.
* A `Send` is valid no longer than the window, the consent and the message on which it relies.
* Every decision lists each rule that was evaluated, in order, and contains no personal data.
* No combination of facts makes `decide` raise an error.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from policies.content import check_freeform, check_template, check_window, choose_content
from policies.decision import (
    Decision,
    Refuse,
    SeenRevisions,
    Send,
    TemplateContent,
    Trace,
    Verdict,
    Wait,
)
from policies.evaluation import Choice, Delay, Evaluation, Refusal, RuleResult, verdict
from policies.facts import Draft, Facts
from policies.guards import (
    check_addresses,
    check_allow_list,
    check_blocks,
    check_channel,
    check_consent,
    check_expiry,
    check_not_before,
    check_opt_out,
    check_pauses,
    check_person,
    check_person_cap,
    check_sender,
    check_suppression,
    check_suspected_stop,
)
from policies.policy import Policy
from sendwindow.vocabulary import Reason

Rule = Callable[[Evaluation], RuleResult]

RULES: Final[tuple[Rule, ...]] = (
    check_expiry,
    check_sender,
    check_channel,
    check_addresses,
    check_allow_list,
    check_person,
    check_opt_out,
    check_not_before,
    check_pauses,
    check_suppression,
    check_blocks,
    check_person_cap,
    check_consent,
    check_suspected_stop,
    check_window,
    check_freeform,
    check_template,
    choose_content,
)
"""Every rule, in the order of evaluation.

The first rule that does not let the message go on decides. Later rules rely on what earlier ones
established.
"""

_SECOND: Final = timedelta(seconds=1)


def decide(draft: Draft, facts: Facts, policy: Policy, now: datetime) -> Decision:
    """Return the decision for `draft`: send it, let it wait, or refuse it.

    A `Send` says in which form the message goes and until when. `now` is an aware datetime, read
    from the store's clock for this attempt. Raises nothing.
    """
    case = Evaluation(draft, facts, policy, now)
    verdicts: list[Verdict] = []
    for rule in RULES:
        result = rule(case)
        if isinstance(result, Verdict):
            verdicts.append(result)
        elif result is not None:
            return _decision(case, verdicts, result)
    return _decision(case, verdicts, Refusal("deny_by_default", Reason.UNKNOWN_CHANNEL))


def _decision(
    case: Evaluation, verdicts: list[Verdict], result: Refusal | Delay | Choice
) -> Decision:
    """Return the decision that the last result makes, with its trace."""
    rule, reason = result.rule, result.reason
    if isinstance(result, Choice):
        return _send(case, result, _trace(case, verdicts, verdict(rule, "choose", reason.value)))
    if isinstance(result, Delay):
        until = min(result.until, case.draft.expires_at)
        trace = _trace(case, verdicts, verdict(rule, "wait", reason.value))
        return Wait(reason, until, result.on_inbound, trace)
    last = verdict(rule, "deny", result.detail or reason.value)
    return Refuse(reason, _trace(case, verdicts, last))


def _trace(case: Evaluation, verdicts: list[Verdict], last: Verdict) -> Trace:
    return Trace(case.policy.version, case.now, (*verdicts, last))


def _send(case: Evaluation, choice: Choice, trace: Trace) -> Send:
    """Return the `Send`, valid no longer than everything on which it relies."""
    last = case.draft.expires_at
    for ends_at in (choice.ends_at, case.permission.until, case.answer_by):
        if ends_at is not None and ends_at < last:
            last = ends_at
    start_by = choice.start_by
    template = case.facts.template if isinstance(choice.content, TemplateContent) else None
    seen = SeenRevisions(
        person=case.person.revision,
        sender=case.sender.revision,
        account=case.sender.account_revision,
        template=None if template is None else template.revision,
        tag=choice.tag,
    )
    return Send(
        reason=choice.reason,
        content=choice.content,
        seen=seen,
        valid_until=last if start_by is None else min(last, start_by),
        validity_period=validity_period(case.policy, last, case.now),
        trace=trace,
    )


def validity_period(policy: Policy, ends_at: datetime, now: datetime) -> timedelta:
    """Return the `ValidityPeriod` with which Twilio drops the message from its queue at `ends_at`.

    It is in whole seconds and at most 36,000 s. It is at least 1 s, which is the shortest that
    Twilio accepts, even if less time is left.

    Source: Twilio, "Messages resource" (read 2026-11-20).
    """
    whole = (ends_at - now) // _SECOND
    return min(policy.validity, timedelta(seconds=max(1, whole)))
