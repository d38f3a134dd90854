"""Chooses the form of a message on its channel.

The form is freeform, a template, or freeform that relies on ACCOUNT_UPDATE.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from policies.decision import FreeformContent, TemplateContent
from policies.evaluation import Choice, Delay, Evaluation, Refusal, RuleResult, verdict
from policies.facts import FreeformDraft
from policies.tag import tag_problem
from policies.templates import pick_template
from sendwindow.vocabulary import Channel, MediaKind, Purpose, Reason, WhenClosed


def check_window(case: Evaluation) -> RuleResult:
    """Record whether the session window is open. It decides nothing by itself."""
    if not case.window.is_open:
        words = "never opened" if case.person.last_inbound_at is None else "closed"
    else:
        words = "open, near its edge" if case.window.is_near_edge else "open"
    return verdict("window", "skip" if case.draft.channel is Channel.SMS else "pass", words)


def check_freeform(case: Evaluation) -> RuleResult:
    """Establish the freeform content. WhatsApp would not deliver all of a text with a medium.

    On WhatsApp only an image can carry a text (Twilio, "Guidance on WhatsApp media messages", read
    2026-11-20).
    """
    case.freeform = freeform = case.draft.freeform
    if case.draft.channel is not Channel.WHATSAPP or case.is_confirmation:
        return None
    if freeform is None or not freeform.body or freeform.media_kind in (None, MediaKind.IMAGE):
        return None
    case.freeform = None
    return verdict("freeform", "skip", Reason.BODY_LOST_WITH_MEDIA.value)


def check_template(case: Evaluation) -> RuleResult:
    """Establish the template, if the form of the message may depend on it."""
    if case.is_confirmation or not _needs_template(case):
        return None
    case.template = found = pick_template(case.draft, case.facts.template, case.policy)
    if isinstance(found, TemplateContent):
        return verdict("template", "pass", "usable")
    return verdict("template", "skip", found.value)


def _needs_template(case: Evaluation) -> bool:
    if case.is_implied:
        # What the person wrote permits a freeform answer only.
        return False
    if case.freeform is None:
        may_wait = case.draft.when_closed is WhenClosed.WAIT
        return case.draft.channel is not Channel.MESSENGER or case.window.is_open or may_wait
    return case.draft.channel is Channel.WHATSAPP


def choose_content(case: Evaluation) -> RuleResult:
    """Choose the content of the message by the rules of its channel."""
    if case.is_confirmation:
        return _confirm(case)
    carrier = CARRIERS.get(case.sender.channel)
    return None if carrier is None else carrier(case)


def _confirm(case: Evaluation) -> RuleResult:
    freeform, stopped_at = case.freeform, case.permission.opted_out_at
    if freeform is None or stopped_at is None:
        return Refusal("confirmation", Reason.MISSING_FACT, "freeform")
    if case.draft.channel is not Channel.SMS and not case.window.is_open:
        return Refusal("confirmation", Reason.WINDOW_CLOSED)
    content, ends_at = _freeform(freeform), case.window.closes_at
    start_by = min(stopped_at, case.now) + case.policy.confirmation
    return Choice("confirmation", Reason.OPT_OUT_CONFIRMATION, content, ends_at, start_by)


def _carry_whatsapp(case: Evaluation) -> RuleResult:
    freeform, window, template = case.freeform, case.window, case.template
    if case.is_implied and freeform is not None:
        content = _freeform(freeform)
        return Choice(
            "whatsapp.reply_implied", Reason.REPLY_IMPLIED, content, ends_at=window.closes_at
        )
    if window.closes_at is not None and freeform is not None:
        if isinstance(template, TemplateContent):
            if window.is_near_edge:
                return Choice("whatsapp.open.near_edge", Reason.TEMPLATE_NEAR_EDGE, template)
            return _whatsapp_freeform(case, freeform, window.closes_at - case.policy.margin)
        return _whatsapp_freeform(case, freeform, None)
    if isinstance(template, TemplateContent):
        if window.is_open:
            return Choice("whatsapp.open.template", Reason.TEMPLATE_ONLY, template)
        return Choice("whatsapp.closed.template", Reason.TEMPLATE_WINDOW_CLOSED, template)
    if freeform is not None and case.draft.when_closed is WhenClosed.WAIT:
        return _await_inbound(case, "whatsapp.closed.nothing")
    reason = template if freeform is case.draft.freeform else Reason.BODY_LOST_WITH_MEDIA
    return Refusal("whatsapp.open.nothing" if window.is_open else "whatsapp.closed.nothing", reason)


def _whatsapp_freeform(
    case: Evaluation, freeform: FreeformDraft, start_by: datetime | None
) -> RuleResult:
    return Choice(
        "whatsapp.open.freeform",
        Reason.WINDOW_OPEN,
        _freeform(freeform),
        ends_at=case.window.closes_at,
        start_by=start_by,
    )


def _carry_messenger(case: Evaluation) -> RuleResult:
    freeform, window, template = case.freeform, case.window, case.template
    if window.is_open:
        ends_at = window.closes_at
        if freeform is not None:
            content = _freeform(freeform)
            return Choice("messenger.open.freeform", Reason.WINDOW_OPEN, content, ends_at=ends_at)
        if isinstance(template, TemplateContent):
            return Choice(
                "messenger.open.template", Reason.TEMPLATE_ONLY, template, ends_at=ends_at
            )
        return Refusal("messenger.open.nothing", template)
    if freeform is not None and case.draft.purpose is Purpose.ACCOUNT_UPDATE:
        return _carry_account_update(case, freeform)
    return _messenger_closed(case, Reason.WINDOW_CLOSED)


def _carry_account_update(case: Evaluation, freeform: FreeformDraft) -> RuleResult:
    problem, tag = tag_problem(case.facts.tag, case.policy), case.facts.tag
    if problem is None and tag is not None:
        content = FreeformContent(freeform.body, freeform.media_url, relies_on_tag=True)
        return Choice(
            "messenger.closed.account_update", Reason.ACCOUNT_UPDATE, content, tag=tag.revision
        )
    if problem is Reason.ACCOUNT_UPDATE_UNPROVEN:
        until = case.now + case.policy.tag_recheck
        return Delay("messenger.closed.unproven", problem, until, on_inbound=True)
    if problem is None or problem is Reason.MISSING_FACT:
        return Refusal("messenger.closed.nothing", Reason.MISSING_FACT, "tag")
    return _messenger_closed(case, problem)


def _messenger_closed(case: Evaluation, reason: Reason) -> RuleResult:
    can_wait = case.freeform is not None or isinstance(case.template, TemplateContent)
    if can_wait and case.draft.when_closed is WhenClosed.WAIT:
        return _await_inbound(case, "messenger.closed.nothing")
    return Refusal("messenger.closed.nothing", reason)


def _carry_sms(case: Evaluation) -> RuleResult:
    freeform, template = case.freeform, case.template
    if freeform is not None:
        content = _freeform(freeform)
        if case.is_implied:
            ends_at = case.window.closes_at
            return Choice("sms.reply_implied", Reason.REPLY_IMPLIED, content, ends_at=ends_at)
        return Choice("sms.consent", Reason.SMS_CONSENT, content)
    if isinstance(template, TemplateContent):
        return Choice("sms.template", Reason.TEMPLATE_ONLY, template)
    return Refusal("sms.nothing", template)


def _freeform(freeform: FreeformDraft) -> FreeformContent:
    return FreeformContent(freeform.body, freeform.media_url)


def _await_inbound(case: Evaluation, rule: str) -> Delay:
    return Delay(rule, Reason.AWAITING_INBOUND, case.draft.expires_at, on_inbound=True)


CARRIERS: Final[Mapping[Channel, Callable[[Evaluation], RuleResult]]] = MappingProxyType(
    {
        Channel.WHATSAPP: _carry_whatsapp,
        Channel.MESSENGER: _carry_messenger,
        Channel.SMS: _carry_sms,
    }
)
"""The function that chooses the content for each channel. A channel not listed sends nothing."""
