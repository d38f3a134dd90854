"""An unknown attempt as the unknown search sees it. Pure."""

from dataclasses import dataclass

from sendwindow.codec import decode_job
from sendwindow.contract import SendMessage
from sendwindow.errors import UnreadableJob
from worker.pipeline.decision_inputs import template_text
from worker.pipeline.unknown.matching import ExpectedMessage, listing_of
from worker.ports.unknowns import RivalAttempt, UnknownAttempt
from worker.settings.schema import SenderSettings
from worker.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class SearchCase:
    """An attempt to look for, and where to look.

    `message`: None when its job cannot be read. `sender`: None when no list that we can read would
    show the message.
    """

    attempt: UnknownAttempt
    message: SendMessage | None
    sender: SenderSettings | None


def open_search_case(attempt: UnknownAttempt, settings: Settings) -> SearchCase:
    """Read an attempt's job, and find the sender whose list shows the message.

    There is no such sender if, as far as we know, the attempt went out from another account or
    address. What our list shows or lacks is then not about it.
    """
    message = read_job(attempt)
    sender = settings.senders.get(message.sender) if message else None
    account = settings.accounts.get(sender.account) if sender else None
    is_ours = (
        sender and account and attempt.listing == listing_of(account.account_sid, sender.address)
    )
    return SearchCase(attempt, message, sender if is_ours else None)


def read_job(attempt: UnknownAttempt | RivalAttempt) -> SendMessage | None:
    """Return the message of an attempt, None when its job cannot be read."""
    try:
        return decode_job(attempt.payload or b"", attempt.message_id)
    except UnreadableJob:
        return None


def describe_attempt(
    attempt: UnknownAttempt | RivalAttempt, message: SendMessage | None, settings: Settings
) -> ExpectedMessage:
    """Return what an attempt looks like at Twilio. Without a readable job it could be anything."""
    freeform, template = (message.freeform, message.template) if message else (None, None)
    was_template = attempt.was_template
    may_be_template = message is None or (
        was_template if was_template is not None else template is not None
    )
    content_sid = attempt.content_sid if isinstance(attempt, UnknownAttempt) else None
    return ExpectedMessage(
        message_id=attempt.message_id,
        attempt=attempt.attempt,
        to=message.to if message else "",
        intent_at=attempt.intent_at,
        body=freeform.body if freeform and not was_template else None,
        may_be_template=may_be_template,
        template_text=template_text(template, content_sid, settings)
        if template and may_be_template
        else None,
        may_have_media=freeform is None or freeform.media_url is not None,
        latest_at=attempt.latest_at if isinstance(attempt, UnknownAttempt) else None,
    )
