"""The evaluation of one message: its inputs, what the rules establish, and what a rule returns.

Values only. A rule returns its result, and `decide` collects the results in order.
"""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Final, NamedTuple

from policies.consent import Permission
from policies.decision import Content, TemplateContent, Verdict
from policies.facts import Draft, Facts, FreeformDraft, PersonFact, SenderFact
from policies.policy import Policy
from policies.window import Window
from sendwindow.vocabulary import Reason


@dataclass(slots=True, eq=False)
class Evaluation:
    """The inputs of one decision, and what its rules have established so far.

    `sender`, `person`, `permission`, `window`, `freeform`, `template`: set by the rules that
    establish them. `freeform`: None if the channel would not deliver all of it. `template`: the
    content, or the reason against it. `answer_by`: until when a reply may pass a block; None if no
    block concerns it. `is_implied`: the consent follows from the open window. `is_confirmation`:
    the message is the one confirmation of a stop, which may pass the opt-out.
    """

    draft: Draft
    facts: Facts
    policy: Policy
    now: datetime
    sender: SenderFact = field(init=False)
    person: PersonFact = field(init=False)
    permission: Permission = field(init=False)
    window: Window = field(init=False)
    freeform: FreeformDraft | None = None
    template: TemplateContent | Reason = Reason.NO_TEMPLATE
    answer_by: datetime | None = None
    is_implied: bool = False
    is_confirmation: bool = False


class Refusal(NamedTuple):
    """Ends the evaluation: the message is refused.

    The verdict's detail is `detail`, or else the reason.
    """

    rule: str
    reason: Reason
    detail: str = ""


class Delay(NamedTuple):
    """Ends the evaluation: the message waits until `until`, and never longer than its expiry."""

    rule: str
    reason: Reason
    until: datetime
    on_inbound: bool = False


class Choice(NamedTuple):
    """Ends the evaluation: `content` is sent.

    `ends_at`: when the content is no longer permitted. `start_by`: from when on the rules would
    prefer another form, so the POST must start before that. `tag`: the revision of the tag on which
    the content relies.
    """

    rule: str
    reason: Reason
    content: Content
    ends_at: datetime | None = None
    start_by: datetime | None = None
    tag: int | None = None


RuleResult = Verdict | Refusal | Delay | Choice | None
"""What a rule returns.

A `Verdict` permits the message or does not apply to it, and the next rule is evaluated. None is the
same without an entry in the trace. Any other result is the last.
"""

PASSES: Final = {
    rule: Verdict(rule, "pass")
    for rule in (
        *("expiry", "sender", "addresses", "allow_list", "person", "opt_out", "not_before"),
        *("pauses", "suppression", "blocks", "person_cap", "suspected_stop"),
    )
}
"""The verdict of each rule that permits a message and has nothing to add."""

SKIPS: Final = {rule: Verdict(rule, "skip") for rule in ("allow_list", "not_before", "person_cap")}
"""The verdict of each rule that the policy or the message does not use."""

verdict: Final = cache(Verdict)
"""Returns a verdict with a detail, created only once: details come from a small closed set."""
