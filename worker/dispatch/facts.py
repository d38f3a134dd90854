"""Joins what the store says with what is configured, so that a decision sees one value. Pure; decides nothing."""

from datetime import datetime

from policies.facts import Approval, Draft, Facts, Freeform, SenderFact, TemplateFact, TemplateWish
from sendwindow.addresses import AddressError, parse_address
from sendwindow.contract import SendMessage
from worker.settings import Settings, Template
from worker.values.facts import StoredFacts, StoredState


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
        freeform=Freeform(freeform.body or "", freeform.media_url) if freeform else None,
        template=TemplateWish(template.name, template.language, template.variables) if template else None,
        expires_at=expires_at,
        not_before=message.not_before,
        when_closed=message.when_closed,
    )


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
            paused_until=stored.sender.paused_until,
            account_paused_until=stored.account.paused_until,
            revision=stored.sender.revision,
            account_revision=stored.account.revision,
        ),
        person=stored.person,
        template=_template(message, stored.template, settings),
        tag=stored.tag,
    )


def _template(message: SendMessage, stored: StoredState, settings: Settings) -> TemplateFact | None:
    wish = message.template
    if wish is None:
        return None
    template = settings.templates.get(wish.name) or _by_content_sid(wish.name, settings)
    if template is None:
        return None
    language = _language(template, wish.name, wish.language)
    configured = template.languages.get(language) if language is not None else None
    approval = configured.approval if configured else Approval.UNSUBMITTED
    return TemplateFact(
        name=template.name,
        content_sid=configured.sid if configured else None,
        category=template.category,
        approval=_stored_approval(stored) or approval,
        variables=template.variables,
        needs_phone=template.needs_phone,
        channels=template.channels,
        revision=stored.revision,
    )


def _by_content_sid(content_sid: str, settings: Settings) -> Template | None:
    for template in settings.templates.values():
        if any(language.sid == content_sid for language in template.languages.values()):
            return template
    return None


def _language(template: Template, wished: str, language: str | None) -> str | None:
    """Find the language: the one asked for, that of the ContentSid, or the only one there is."""
    if language is not None:
        return language
    for name, configured in template.languages.items():
        if configured.sid == wished:
            return name
    return next(iter(template.languages)) if len(template.languages) == 1 else None


def _stored_approval(stored: StoredState) -> Approval | None:
    """What a provider's error said about the template outranks the configuration; the store drops it when it lapsed."""
    if stored.state is None:
        return None
    try:
        return Approval(stored.state)
    except ValueError:
        return Approval.DISABLED
