"""An unknown attempt as the search for its evidence sees it. Pure."""

from dataclasses import dataclass

from sendwindow.codec import decode_job
from sendwindow.contract import SendMessage
from sendwindow.errors import UnreadableJob
from worker.dispatch.evidence import Sought, listing_of
from worker.dispatch.facts import template_text
from worker.settings import Sender, Settings
from worker.values.unknowns import RivalAttempt, UnknownAttempt


@dataclass(frozen=True, slots=True)
class Case:
    """An attempt to look for, and where.

    `message` None: its job cannot be read. `sender` None: no list that can be read would show it.
    """

    attempt: UnknownAttempt
    message: SendMessage | None
    sender: Sender | None


def open_case(attempt: UnknownAttempt, settings: Settings) -> Case:
    """Read an attempt's job, and find the sender whose list shows it.

    An attempt that went out from elsewhere, as far as anyone knows, has none: what this list shows
    or lacks is not about it.
    """
    message = read_job(attempt)
    sender = settings.senders.get(message.sender) if message else None
    account = settings.accounts.get(sender.account) if sender else None
    is_ours = sender and account and attempt.listing == listing_of(account.account_sid, sender.address)
    return Case(attempt, message, sender if is_ours else None)


def read_job(attempt: UnknownAttempt | RivalAttempt) -> SendMessage | None:
    """Read the message of an attempt, None when that cannot be done."""
    try:
        return decode_job(attempt.payload or b"", attempt.message_id)
    except UnreadableJob:
        return None


def describe_attempt(attempt: UnknownAttempt | RivalAttempt, message: SendMessage | None, settings: Settings) -> Sought:
    """Return what an attempt looks like at Twilio; without a readable job it could be anything."""
    freeform, template = (message.freeform, message.template) if message else (None, None)
    was_template = attempt.was_template
    may_be_template = message is None or (was_template if was_template is not None else template is not None)
    content_sid = attempt.content_sid if isinstance(attempt, UnknownAttempt) else None
    return Sought(
        message_id=attempt.message_id,
        attempt=attempt.attempt,
        to=message.to if message else "",
        intent_at=attempt.intent_at,
        body=freeform.body if freeform and not was_template else None,
        may_be_template=may_be_template,
        template_text=template_text(template, content_sid, settings) if template and may_be_template else None,
        may_have_media=freeform is None or freeform.media_url is not None,
        latest_at=attempt.latest_at if isinstance(attempt, UnknownAttempt) else None,
    )
