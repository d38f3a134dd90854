"""The evaluation of one message: its inputs, the verdicts so far, and the three ways to end."""

from datetime import datetime
from functools import cache

from policies.consent import Permission, earliest
from policies.decision import (
    Content,
    Refuse,
    SeenRevisions,
    Send,
    TemplateContent,
    Trace,
    Verdict,
    Wait,
)
from policies.expiry import validity_period
from policies.facts import Draft, Facts, PersonFact, SenderFact
from policies.policy import Policy
from policies.window import Window
from sendwindow.vocabulary import Reason


@cache
def _verdict(rule: str, word: str, detail: str) -> Verdict:
    """Return a verdict, creating each one only once.

    Rules and details come from a small closed set, and every decision has about a dozen verdicts.
    """
    return Verdict(rule, word, detail)


class Evaluation:
    """Collects the verdicts of one decision in order.

    `sender`, `person`, `permission`, `window`: set by the rules that establish them. `answer_by`:
    until when a reply may pass a block; None if no block concerns it. `is_implied`: the consent
    follows from the open window. `is_confirmation`: the message is the one confirmation of a stop,
    which may pass the opt-out.
    """

    __slots__ = (
        "answer_by",
        "draft",
        "facts",
        "is_confirmation",
        "is_implied",
        "now",
        "permission",
        "person",
        "policy",
        "sender",
        "verdicts",
        "window",
    )

    sender: SenderFact
    person: PersonFact
    permission: Permission
    window: Window

    def __init__(self, draft: Draft, facts: Facts, policy: Policy, now: datetime) -> None:
        self.draft = draft
        self.facts = facts
        self.policy = policy
        self.now = now
        self.answer_by: datetime | None = None
        self.is_implied = False
        self.is_confirmation = False
        self.verdicts: list[Verdict] = []

    def passes(self, rule: str, detail: str = "") -> None:
        """Record that a rule permits the message."""
        self.verdicts.append(_verdict(rule, "pass", detail))

    def skips(self, rule: str, detail: str = "") -> None:
        """Record that a rule does not apply to this message."""
        self.verdicts.append(_verdict(rule, "skip", detail))

    def refuse(self, rule: str, reason: Reason, detail: str = "") -> Refuse:
        """Record the verdict and return a refusal."""
        self.verdicts.append(_verdict(rule, "deny", detail or reason.value))
        return Refuse(reason, self._trace())

    def wait(self, rule: str, reason: Reason, until: datetime, *, on_inbound: bool = False) -> Wait:
        """Record the verdict and return a wait, which never lasts longer than expiry."""
        self.verdicts.append(_verdict(rule, "wait", reason.value))
        return Wait(reason, min(until, self.draft.expires_at), on_inbound, self._trace())

    def send(
        self,
        rule: str,
        reason: Reason,
        content: Content,
        *,
        ends_at: datetime | None = None,
        start_by: datetime | None = None,
        tag: int | None = None,
    ) -> Send:
        """Record the verdict and return a `Send`.

        `ends_at`: when the content is no longer permitted. `start_by`: from when on the rules would
        prefer another form, so the POST must start before that.
        """
        self.verdicts.append(_verdict(rule, "choose", reason.value))
        last = (
            earliest(self.draft.expires_at, ends_at, self.permission.until, self.answer_by)
            or self.draft.expires_at
        )
        template = self.facts.template if isinstance(content, TemplateContent) else None
        seen = SeenRevisions(
            person=self.person.revision,
            sender=self.sender.revision,
            account=self.sender.account_revision,
            template=None if template is None else template.revision,
            tag=tag,
        )
        return Send(
            reason=reason,
            content=content,
            seen=seen,
            valid_until=earliest(last, start_by) or last,
            validity_period=validity_period(self.policy, last, self.now),
            trace=self._trace(),
        )

    def _trace(self) -> Trace:
        return Trace(self.policy.version, self.now, tuple(self.verdicts))
