"""Chooses the form of a message on its channel.

The form is freeform, a template, or freeform that relies on ACCOUNT_UPDATE.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from policies.consent import Standing
from policies.decision import Decision, FreeformContent, TemplateContent
from policies.evaluation import Evaluation
from policies.facts import FreeformDraft
from policies.tag import tag_problem
from policies.templates import pick_template
from sendwindow.vocabulary import Channel, MediaKind, Purpose, Reason, WhenClosed


def check_consent(case: Evaluation) -> Decision | None:
    """Refuse a message without permission.

    On WhatsApp and SMS the permission is a grant. On Messenger it is that the person wrote to the
    Page. On WhatsApp and SMS, an open window implies consent for a freeform `reply`. A reply that
    may wait is kept until the window opens.
    """
    draft = case.draft
    if case.is_confirmation:
        case.skips("consent", "confirmation")
        return None
    if draft.channel is Channel.MESSENGER:
        return _check_wrote(case)
    standing = case.permission.standing
    if standing is Standing.GRANTED:
        case.passes("consent", "granted")
        return None
    if draft.purpose is Purpose.REPLY and draft.freeform is not None:
        if case.window.is_open:
            case.is_implied = True
            case.passes("consent", "implied")
            return None
        if draft.when_closed is WhenClosed.WAIT:
            return _await_inbound(case, "consent")
    if standing is Standing.EXPIRED:
        return case.refuse("consent", Reason.CONSENT_EXPIRED)
    is_marketing = draft.purpose is Purpose.MARKETING
    return case.refuse(
        "consent", Reason.NO_MARKETING_CONSENT if is_marketing else Reason.NO_CONSENT
    )


def _check_wrote(case: Evaluation) -> Decision | None:
    if case.person.last_inbound_at is None:
        return case.refuse("consent", Reason.NEVER_WROTE)
    case.passes("consent", "wrote to the page")
    return None


def choose_content(case: Evaluation) -> Decision | None:
    """Choose the content of the message by the rules of its channel."""
    if case.draft.channel is Channel.SMS:
        case.skips("window", _window_words(case))
    else:
        case.passes("window", _window_words(case))
    if case.is_confirmation:
        return _confirm(case)
    carrier = CARRIERS.get(case.sender.channel)
    return None if carrier is None else carrier(case)


def _window_words(case: Evaluation) -> str:
    if not case.window.is_open:
        return "never opened" if case.person.last_inbound_at is None else "closed"
    return "open, near its edge" if case.window.is_near_edge else "open"


def _confirm(case: Evaluation) -> Decision:
    freeform, stopped_at = case.draft.freeform, case.permission.opted_out_at
    if freeform is None or stopped_at is None:
        return case.refuse("confirmation", Reason.MISSING_FACT, "freeform")
    if case.draft.channel is not Channel.SMS and not case.window.is_open:
        return case.refuse("confirmation", Reason.WINDOW_CLOSED)
    start_by = min(stopped_at, case.now) + case.policy.confirmation
    return case.send(
        "confirmation",
        Reason.OPT_OUT_CONFIRMATION,
        _freeform(freeform),
        ends_at=case.window.closes_at,
        start_by=start_by,
    )


def _carry_whatsapp(case: Evaluation) -> Decision:
    freeform, window = _whole_freeform(case), case.window
    if case.is_implied and freeform is not None:
        return case.send(
            "whatsapp.reply_implied",
            Reason.REPLY_IMPLIED,
            _freeform(freeform),
            ends_at=window.closes_at,
        )
    template = _template(case)
    if window.closes_at is not None and freeform is not None:
        if isinstance(template, TemplateContent):
            if window.is_near_edge:
                return case.send("whatsapp.open.near_edge", Reason.TEMPLATE_NEAR_EDGE, template)
            return _whatsapp_freeform(case, freeform, window.closes_at - case.policy.margin)
        return _whatsapp_freeform(case, freeform, None)
    if isinstance(template, TemplateContent):
        if window.is_open:
            return case.send("whatsapp.open.template", Reason.TEMPLATE_ONLY, template)
        return case.send("whatsapp.closed.template", Reason.TEMPLATE_WINDOW_CLOSED, template)
    if freeform is not None and case.draft.when_closed is WhenClosed.WAIT:
        return _await_inbound(case, "whatsapp.closed.nothing")
    reason = template if freeform is case.draft.freeform else Reason.BODY_LOST_WITH_MEDIA
    return case.refuse(
        "whatsapp.open.nothing" if window.is_open else "whatsapp.closed.nothing", reason
    )


def _whole_freeform(case: Evaluation) -> FreeformDraft | None:
    """Return the freeform content, or None if WhatsApp would not deliver all of it.

    On WhatsApp only an image can carry a text (Twilio, "Guidance on WhatsApp media messages", read
    2026-11-20).
    """
    freeform = case.draft.freeform
    if freeform is None or not freeform.body or freeform.media_kind in (None, MediaKind.IMAGE):
        return freeform
    case.skips("freeform", Reason.BODY_LOST_WITH_MEDIA.value)
    return None


def _whatsapp_freeform(
    case: Evaluation, freeform: FreeformDraft, start_by: datetime | None
) -> Decision:
    return case.send(
        "whatsapp.open.freeform",
        Reason.WINDOW_OPEN,
        _freeform(freeform),
        ends_at=case.window.closes_at,
        start_by=start_by,
    )


def _carry_messenger(case: Evaluation) -> Decision:
    freeform, window = case.draft.freeform, case.window
    if window.is_open:
        if freeform is not None:
            return case.send(
                "messenger.open.freeform",
                Reason.WINDOW_OPEN,
                _freeform(freeform),
                ends_at=window.closes_at,
            )
        template = _template(case)
        if isinstance(template, TemplateContent):
            return case.send(
                "messenger.open.template", Reason.TEMPLATE_ONLY, template, ends_at=window.closes_at
            )
        return case.refuse("messenger.open.nothing", template)
    if freeform is not None and case.draft.purpose is Purpose.ACCOUNT_UPDATE:
        return _carry_account_update(case, freeform)
    return _messenger_closed(case, Reason.WINDOW_CLOSED)


def _carry_account_update(case: Evaluation, freeform: FreeformDraft) -> Decision:
    problem, tag = tag_problem(case.facts.tag, case.policy), case.facts.tag
    if problem is None and tag is not None:
        content = FreeformContent(freeform.body, freeform.media_url, relies_on_tag=True)
        return case.send(
            "messenger.closed.account_update", Reason.ACCOUNT_UPDATE, content, tag=tag.revision
        )
    if problem is Reason.ACCOUNT_UPDATE_UNPROVEN:
        until = case.now + case.policy.tag_recheck
        return case.wait("messenger.closed.unproven", problem, until, on_inbound=True)
    if problem is None or problem is Reason.MISSING_FACT:
        return case.refuse("messenger.closed.nothing", Reason.MISSING_FACT, "tag")
    return _messenger_closed(case, problem)


def _messenger_closed(case: Evaluation, reason: Reason) -> Decision:
    draft = case.draft
    if draft.when_closed is WhenClosed.WAIT and (
        draft.freeform or isinstance(_template(case), TemplateContent)
    ):
        return _await_inbound(case, "messenger.closed.nothing")
    return case.refuse("messenger.closed.nothing", reason)


def _carry_sms(case: Evaluation) -> Decision:
    freeform = case.draft.freeform
    if freeform is not None:
        if case.is_implied:
            return case.send(
                "sms.reply_implied",
                Reason.REPLY_IMPLIED,
                _freeform(freeform),
                ends_at=case.window.closes_at,
            )
        return case.send("sms.consent", Reason.SMS_CONSENT, _freeform(freeform))
    template = _template(case)
    if isinstance(template, TemplateContent):
        return case.send("sms.template", Reason.TEMPLATE_ONLY, template)
    return case.refuse("sms.nothing", template)


def _template(case: Evaluation) -> TemplateContent | Reason:
    found = pick_template(case.draft, case.facts.template, case.policy)
    if isinstance(found, TemplateContent):
        case.passes("template", "usable")
    else:
        case.skips("template", found.value)
    return found


def _freeform(freeform: FreeformDraft) -> FreeformContent:
    return FreeformContent(freeform.body, freeform.media_url)


def _await_inbound(case: Evaluation, rule: str) -> Decision:
    return case.wait(rule, Reason.AWAITING_INBOUND, case.draft.expires_at, on_inbound=True)


CARRIERS: Final[Mapping[Channel, Callable[[Evaluation], Decision]]] = MappingProxyType(
    {
        Channel.WHATSAPP: _carry_whatsapp,
        Channel.MESSENGER: _carry_messenger,
        Channel.SMS: _carry_sms,
    }
)
"""The function that chooses the content for each channel. A channel not listed sends nothing."""
