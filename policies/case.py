"""One decision in the making: what it looks at, the verdicts so far, and the three ways it can end."""

from datetime import datetime
from functools import cache

from policies.consent import Permission, earliest
from policies.decision import Content, Refuse, Seen, Send, TemplateContent, Trace, Verdict, Wait
from policies.expiry import validity_period
from policies.facts import Draft, Facts, PersonFact, SenderFact
from policies.policy import Policy
from policies.window import Window
from sendwindow.vocabulary import Reason


@cache
def _verdict(rule: str, word: str, detail: str) -> Verdict:
    """Make a verdict once: rules and details come from a small closed set, and a decision has a dozen of them."""
    return Verdict(rule, word, detail)


class Case:
    """Collects verdicts in order. `sender`, `person`, `permission`, `window`: set by the rules that establish them.

    `answer_by`: until when an answer passes a block of the provider's, None where there is none.
    `is_implied`: consent follows from the open window. `is_confirmation`: the one answer to a stop, past the opt-out.
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
        """Note that a rule has nothing against the message."""
        self.verdicts.append(_verdict(rule, "pass", detail))

    def skips(self, rule: str, detail: str = "") -> None:
        """Note that a rule does not concern this message."""
        self.verdicts.append(_verdict(rule, "skip", detail))

    def refuse(self, rule: str, reason: Reason, detail: str = "") -> Refuse:
        """End with a refusal."""
        self.verdicts.append(_verdict(rule, "deny", detail or reason.value))
        return Refuse(reason, self._trace())

    def wait(self, rule: str, reason: Reason, until: datetime, *, on_inbound: bool = False) -> Wait:
        """End with a wait, never beyond expiry."""
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
        """End with a send. `ends_at`: when the content stops being allowed; `start_by`: when another is preferred."""
        self.verdicts.append(_verdict(rule, "choose", reason.value))
        last = earliest(self.draft.expires_at, ends_at, self.permission.until, self.answer_by) or self.draft.expires_at
        template = self.facts.template if isinstance(content, TemplateContent) else None
        seen = Seen(
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
