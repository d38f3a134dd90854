"""Builds the form of one POST to the Messages API from a decision to send.

Pure: no I/O. A form contains no credentials.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from policies.decision import Content, FreeformContent, Send, TemplateContent
from sendwindow.timestamps import to_ms
from worker.ports.posts import CreateMessage
from worker.twilio.callback_query import id_parameter

CALLBACK_OVERRIDES: Final = "rc=5&rp=all"
"""Makes Twilio retry a callback five times on any failure.

By default it retries only a failed connect, and only once. Source: Twilio's "Webhooks connection
overrides" page, read 2026-11-20. Twilio neither sends nor signs the fragment of the URL.
"""

MIN_VALIDITY: Final = timedelta(seconds=1)
_MAX_VALIDITY: Final = timedelta(seconds=36_000)


@dataclass(frozen=True, slots=True)
class Route:
    """The sender and the recipient of an attempt, and which attempt of which message it is."""

    account: str
    from_address: str
    to: str
    messaging_service_sid: str | None
    message_id: str
    attempt: int
    enqueued_at: datetime


def build(
    send: Send, route: Route, public_url: str, *, starts_at: datetime | None = None
) -> CreateMessage:
    """Build the form of one POST from a decision.

    `starts_at` is the latest start of the POST by the store's clock (default: when the decision was
    made). Twilio counts `ValidityPeriod` from the start of the POST, so the time before it is
    subtracted.

    `From` is sent on every channel, also next to a messaging service. WhatsApp and Messenger
    windows belong to one sender, and the search for an unproven attempt filters by `To` and `From`.
    """
    late = max(starts_at - send.trace.decided_at, timedelta(0)) if starts_at else timedelta(0)
    validity = _validity_seconds(send.validity_period - late)
    form = [("To", route.to), ("From", route.from_address)]
    if route.messaging_service_sid:
        form.append(("MessagingServiceSid", route.messaging_service_sid))
    form.extend(_content(send.content))
    callback = status_callback(public_url, route.message_id, route.attempt, route.enqueued_at)
    form.extend((("StatusCallback", callback), ("ValidityPeriod", str(validity))))
    return CreateMessage(account=route.account, form=tuple(form))


def status_callback(public_url: str, message_id: str, attempt: int, enqueued_at: datetime) -> str:
    """Return the URL for the status callbacks of one attempt. Twilio signs its query.

    `q` is the instant of the enqueue. It names the message's life, because a message id may be used
    again.
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
            # ContentVariables is a string that holds a JSON object. Twilio refuses numbers and
            # nulls in it with 21656.
            encoded = json.dumps(dict(variables), ensure_ascii=False, separators=(",", ":"))
            return [
                ("ContentSid", content_sid),
                *([("ContentVariables", encoded)] if variables else []),
            ]
        case _:
            assert_never(content)


def _validity_seconds(period: timedelta) -> int:
    return int(max(MIN_VALIDITY, min(period, _MAX_VALIDITY)).total_seconds())
