"""What a message is charged to its limits. Pure."""

from policies.decision import FreeformContent, Send
from policies.rate_limits import sms_segments
from sendwindow.contract import SendMessage
from sendwindow.vocabulary import Channel
from worker.pipeline.decision_inputs import template_text
from worker.ports.admissions import UNLIMITED, Charge
from worker.settings.settings import Settings


def charge_of(message: SendMessage, send: Send, settings: Settings) -> Charge:
    """Return the units of a message and the paces of its limits.

    An SMS is charged in segments. One with media is an MMS, which is not split. A template whose
    text the settings do not have counts as one segment.
    """
    sender = settings.senders[message.sender]
    account = settings.accounts[sender.account]
    if account.pace is None and sender.pace is None and sender.pair_pace is None:
        return UNLIMITED
    return Charge(
        units=_segments(message, send, settings) if sender.channel is Channel.SMS else 1,
        account=account.pace,
        sender=sender.pace,
        pair=sender.pair_pace,
    )


def _segments(message: SendMessage, send: Send, settings: Settings) -> int:
    match send.content:
        case FreeformContent() as content:
            return sms_segments(content.body) if content.media_url is None else 1
        case _:
            wish = message.template
            text = template_text(wish, send.content.content_sid, settings) if wish else None
            return sms_segments(text or "")
