"""Joins what the store says with what is configured, so that a decision sees one value. Pure; decides nothing."""

from datetime import UTC, datetime
from typing import Final

from policies.facts import Approval, Draft, Facts, Freeform, SenderFact, TemplateFact, TemplateWish
from policies.rendering import render
from sendwindow.addresses import AddressError, parse_address
from sendwindow.contract import SendMessage
from sendwindow.contract import Template as Wish
from sendwindow.media import media_kind
from worker.settings import Settings, Template, TemplateLanguage
from worker.values.facts import StoredFacts, StoredState

_NOT_IN_SIGHT: Final = datetime(9999, 1, 1, tzinfo=UTC)


def read_draft(message: SendMessage, expires_at: datetime) -> Draft:
    """Say what a message wants. `expires_at` is the ledger's, which knows the default of the purpose."""
    try:
        address = parse_address(message.to)
    except AddressError:
        address = None
    freeform, template = message.freeform, message.template
    return Draft(
        message_id=message.message_id,
        channel=address.channel if address else None,
        to=message.to,
        to_is_phone=address.is_phone if address else False,
        purpose=message.purpose,
        freeform=_freeform(freeform.body or "", freeform.media_url) if freeform else None,
        template=TemplateWish(template.name, template.language, template.variables) if template else None,
        expires_at=expires_at,
        not_before=message.not_before,
        when_closed=message.when_closed,
    )


def _freeform(body: str, media_url: str | None) -> Freeform:
    return Freeform(body, media_url, media_kind(media_url) if media_url else None)


def join_facts(message: SendMessage, stored: StoredFacts, settings: Settings) -> Facts:
    """Join the stored facts with sender, account and template as configured.

    An unknown sender, or one whose account is not configured, is no sender: the message is refused with that reason.
    """
    sender = settings.senders.get(message.sender)
    return Facts(
        sender=None
        if sender is None or sender.account not in settings.accounts
        else SenderFact(
            name=sender.name,
            account=sender.account,
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
    """Say by which ContentSid a template goes out that is asked for by name or by ContentSid; None when by none."""
    template = _find(wished, settings)
    configured = _in_language(template, wished, language) if template else None
    return configured.sid if configured else None


def _paused_until(stored: StoredState) -> datetime | None:
    """Say until when a sender or account may not send: without end in a state that only a newer version knows."""
    return stored.paused_until if stored.state is None else _NOT_IN_SIGHT


def template_text(wish: Wish, content_sid: str | None, settings: Settings) -> str | None:
    """Return what the person reads of a template, None when its approved text is not known.

    `content_sid`: under which it went out, None when that is not known. Text of another one says nothing.
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
    # The store may have been told another ContentSid than ours: what is said of that is not said of what we send.
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


def _find(wished: str, settings: Settings) -> Template | None:
    if wished in settings.templates:
        return settings.templates[wished]
    for template in settings.templates.values():
        if any(language.sid == wished for language in template.languages.values()):
            return template
    return None


def _in_language(template: Template, wished: str, language: str | None) -> TemplateLanguage | None:
    """Find the language: the one asked for, that of the ContentSid, or the only one there is."""
    if language is not None:
        return template.languages.get(language)
    for configured in template.languages.values():
        if configured.sid == wished:
            return configured
    return next(iter(template.languages.values())) if len(template.languages) == 1 else None


def _stored_approval(stored: StoredState) -> Approval | None:
    """What a provider's error said about the template outranks the configuration; the store drops it when it lapsed."""
    if stored.state is None:
        return None
    try:
        return Approval(stored.state)
    except ValueError:
        return Approval.DISABLED
