"""What a message is charged to its limits. Pure."""

from datetime import timedelta
from typing import Final

from policies.decision import FreeformContent, Send
from policies.rate_limits import sms_segments
from sendwindow.contract import SendMessage
from sendwindow.vocabulary import Channel, Priority, Reason
from worker.pipeline.decision_inputs import template_text
from worker.ports.admissions import UNLIMITED, Charge, PortfolioLimit, PostLimit
from worker.settings.accounts import Account
from worker.settings.schema import DispatchSettings
from worker.settings.settings import Settings

_PERMIT: Final = timedelta(seconds=2)
"""How long after its admission a POST may start."""


def charge_of(message: SendMessage, send: Send, settings: Settings) -> Charge:
    """Return the units of a message and the paces of its limits.

    An SMS is charged in segments. One with media is an MMS, which is not split. A template whose
    text the settings do not have counts as one segment.
    """
    sender = settings.senders[message.sender]
    account = settings.accounts[sender.account]
    posts = _post_limit(account.max_open_posts, settings.dispatch)
    portfolio = _portfolio_limit(account, send) if sender.channel is Channel.WHATSAPP else None
    limits = (account.pace, sender.pace, sender.pair_pace, posts, portfolio)
    if all(one is None for one in limits):
        return UNLIMITED
    return Charge(
        units=_segments(message, send, settings) if sender.channel is Channel.SMS else 1,
        account=account.pace,
        sender=sender.pace,
        pair=sender.pair_pace,
        is_urgent=message.priority is Priority.URGENT,
        posts=posts,
        portfolio=portfolio,
    )


def _post_limit(most: int, dispatch: DispatchSettings) -> PostLimit | None:
    """Return the limit of open POSTs. A POST counts for as long as its timeouts let it last."""
    seconds = dispatch.connect_timeout + dispatch.read_timeout
    return PostLimit(most, _PERMIT + timedelta(seconds=seconds)) if most else None


def _portfolio_limit(account: Account, send: Send) -> PortfolioLimit | None:
    """Return the limit of the account's portfolio, if the message goes outside an open window."""
    if not account.people_per_day or send.reason is not Reason.TEMPLATE_WINDOW_CLOSED:
        return None
    return PortfolioLimit(account.portfolio, account.people_per_day)


def _segments(message: SendMessage, send: Send, settings: Settings) -> int:
    match send.content:
        case FreeformContent() as content:
            return sms_segments(content.body) if content.media_url is None else 1
        case _:
            wish = message.template
            text = template_text(wish, send.content.content_sid, settings) if wish else None
            return sms_segments(text or "")
