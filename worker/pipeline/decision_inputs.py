"""Joins the facts of the store with the settings into the inputs of one decision.

Pure. It decides nothing.
"""

from datetime import UTC, datetime
from typing import Final

from policies.facts import (
    Approval,
    Draft,
    Facts,
    FreeformDraft,
    SenderFact,
    TemplateFact,
    TemplateRef,
)
from policies.rendering import render
from sendwindow.addresses import AddressError, parse_address
from sendwindow.contract import SendMessage
from sendwindow.contract import Template as Wish
from sendwindow.media import media_kind
from worker.ports.stored_facts import StoredFacts, StoredState
from worker.settings.schema import TemplateLanguage, TemplateSettings
from worker.settings.settings import Settings

_NOT_IN_SIGHT: Final = datetime(9999, 1, 1, tzinfo=UTC)


def read_draft(message: SendMessage, expires_at: datetime) -> Draft:
    """Return what a message asks for.

    `expires_at` comes from the ledger, which applies the default of the purpose.
    """
    freeform, template = message.freeform, message.template
    asked = _freeform(freeform.body or "", freeform.media_url) if freeform else None
    try:
        address = parse_address(message.to)
    except AddressError:
        address = None
    return Draft(
        channel=address.channel if address else None,
        to=message.to,
        to_is_phone=address.is_phone if address else False,
        purpose=message.purpose,
        freeform=asked,
        template=TemplateRef(template.name, template.variables) if template else None,
        expires_at=expires_at,
        not_before=message.not_before,
        when_closed=message.when_closed,
    )


def _freeform(body: str, media_url: str | None) -> FreeformDraft:
    return FreeformDraft(body, media_url, media_kind(media_url) if media_url else None)


def join_facts(message: SendMessage, stored: StoredFacts, settings: Settings) -> Facts:
    """Return the stored facts, joined with the sender, account and template of the settings.

    `sender` is None when the settings have no such sender, or have it without its account. The
    message is then refused for that reason.
    """
    sender = settings.senders.get(message.sender)
    return Facts(
        sender=None
        if sender is None or sender.account not in settings.accounts
        else SenderFact(
            name=sender.name,
            channel=sender.channel,
            address=sender.address,
            paused_until=_paused_until(stored.sender),
            account_paused_until=_paused_until(stored.account),
            revision=stored.sender.revision,
            account_revision=stored.account.revision,
        ),
        person=stored.person,
        template=_template(message.template, stored, settings),
        tag=stored.tag,
    )


def content_sid_of(wished: str, language: str | None, settings: Settings) -> str | None:
    """Return the ContentSid that a template is sent with, None when it has none.

    `wished`: the template's name, or one of its ContentSids.
    """
    template = _find(wished, settings)
    configured = _in_language(template, wished, language) if template else None
    return configured.sid if configured else None


def _paused_until(stored: StoredState) -> datetime | None:
    """Return until when a sender or account may not send.

    If only a newer version knows its state, the pause has no end.
    """
    return stored.paused_until if stored.state is None else _NOT_IN_SIGHT


def template_text(wish: Wish, content_sid: str | None, settings: Settings) -> str | None:
    """Return a template's text as the person reads it, None when its approved text is not known.

    `content_sid`: the ContentSid that was sent, None when it is not known. If the settings have
    another ContentSid, their text says nothing about this message.
    """
    template = _find(wish.name, settings)
    configured = _in_language(template, wish.name, wish.language) if template else None
    if configured is None or configured.body is None or content_sid not in (None, configured.sid):
        return None
    return render(configured.body, wish.variables)


def _template(wish: Wish | None, stored: StoredFacts, settings: Settings) -> TemplateFact | None:
    template = _find(wish.name, settings) if wish else None
    if wish is None or template is None:
        return None
    configured = _in_language(template, wish.name, wish.language)
    approval = configured.approval if configured else Approval.UNSUBMITTED
    # The store may have a state for another ContentSid than ours. That state does not apply to the
    # template that we send.
    said = stored.template if configured and configured.sid == stored.content_sid else StoredState()
    return TemplateFact(
        name=template.name,
        content_sid=configured.sid if configured else None,
        category=template.category,
        approval=_stored_approval(said) or approval,
        variables=template.variables,
        needs_phone=template.needs_phone,
        channels=template.channels,
        revision=said.revision,
    )


def _find(wished: str, settings: Settings) -> TemplateSettings | None:
    if wished in settings.templates:
        return settings.templates[wished]
    for template in settings.templates.values():
        if any(language.sid == wished for language in template.languages.values()):
            return template
    return None


def _in_language(
    template: TemplateSettings, wished: str, language: str | None
) -> TemplateLanguage | None:
    """Return the requested language, that of the ContentSid, or the only one there is."""
    if language is not None:
        return template.languages.get(language)
    for configured in template.languages.values():
        if configured.sid == wished:
            return configured
    return next(iter(template.languages.values())) if len(template.languages) == 1 else None


def _stored_approval(stored: StoredState) -> Approval | None:
    """Return the approval that a provider's error reported, None without one.

    It overrides the settings. The store removes it when its time is over.
    """
    if stored.state is None:
        return None
    try:
        return Approval(stored.state)
    except ValueError:
        return Approval.DISABLED
