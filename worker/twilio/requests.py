"""Forms of the Messages API: a decision to send becomes the parameters of one POST. Pure, without credentials."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from policies.decision import Content, FreeformContent, Send, TemplateContent
from sendwindow.instants import to_ms
from worker.twilio.callback_query import id_parameter
from worker.values.posts import CreateMessage

PARAMETERS: Final = frozenset(
    {
        "To",
        "From",
        "MessagingServiceSid",
        "Body",
        "MediaUrl",
        "ContentSid",
        "ContentVariables",
        "StatusCallback",
        "ValidityPeriod",
    }
)
"""The parameters this service ever sends: a subset of Twilio's "Messages resource" page (read 2026-11-20).

`Attempt` is left out: it deduplicates nothing at Twilio and our attempt number is in the callback's address already.
"""

CALLBACK_OVERRIDES: Final = "rc=5&rp=all"
"""Five more tries of a callback on any failure; by default only a failed connect is tried again, once.

Twilio's "Webhooks connection overrides" page, read 2026-11-20. The fragment is neither sent nor signed.
"""

SHORTEST_VALIDITY: Final = timedelta(seconds=1)
_LONGEST_VALIDITY: Final = timedelta(seconds=36_000)


@dataclass(frozen=True, slots=True)
class Route:
    """From whom to whom an attempt goes, and which attempt of which message it is."""

    account: str
    from_address: str
    to: str
    messaging_service_sid: str | None
    message_id: str
    attempt: int
    enqueued_at: datetime


def build(send: Send, route: Route, public_url: str, *, starts_at: datetime | None = None) -> CreateMessage:
    """Turn a decision into the form of one POST.

    `starts_at`: when the POST starts at the latest, by the store's clock (default: when it was decided). Twilio counts
    its `ValidityPeriod` from then on, so the time until then is taken off.

    `From` is sent on every channel, also beside a messaging service: WhatsApp and Messenger windows belong to one
    sender, and evidence of an unproven attempt is searched by `To` and `From`.
    """
    form = [("To", route.to), ("From", route.from_address)]
    if route.messaging_service_sid:
        form.append(("MessagingServiceSid", route.messaging_service_sid))
    form.extend(_content(send.content))
    callback = status_callback(public_url, route.message_id, route.attempt, route.enqueued_at)
    form.append(("StatusCallback", callback))
    late = max(starts_at - send.trace.decided_at, timedelta(0)) if starts_at else timedelta(0)
    form.append(("ValidityPeriod", str(_validity_seconds(send.validity_period - late))))
    return CreateMessage(account=route.account, form=tuple(form))


def status_callback(public_url: str, message_id: str, attempt: int, enqueued_at: datetime) -> str:
    """Address of the status callbacks of one attempt; its query is part of what Twilio signs.

    When it was enqueued (`q`) names the message's life: its id may be used again.
    """
    base = public_url.rstrip("/")
    query = f"{id_parameter(message_id)}&q={to_ms(enqueued_at)}&a={attempt}"
    return f"{base}/twilio/status?{query}#{CALLBACK_OVERRIDES}"


def _content(content: Content) -> list[tuple[str, str]]:
    match content:
        case FreeformContent(body=body, media_url=media_url):
            fields = [("Body", body)] if body else []
            return [*fields, ("MediaUrl", media_url)] if media_url else fields
        case TemplateContent(content_sid=content_sid, variables=variables):
            # ContentVariables is a string that holds a JSON object; numbers or nulls in it are refused with 21656.
            encoded = json.dumps(dict(variables), ensure_ascii=False, separators=(",", ":"))
            return [("ContentSid", content_sid), *([("ContentVariables", encoded)] if variables else [])]
        case _:
            assert_never(content)


def _validity_seconds(period: timedelta) -> int:
    return int(max(SHORTEST_VALIDITY, min(period, _LONGEST_VALIDITY)).total_seconds())
