"""Checks the form of a POST on its own: known parameters, presence, shapes, lengths.

Source: twilio.com/docs/messaging/api/message-resource, read 2026-11-20.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from sandbox.address_rules import is_recipient, is_sender
from sandbox.api_errors import ApiError, api_error

MAX_BODY_CHARACTERS: Final = 1600
MAX_MEDIA_URLS: Final = 10
MAX_VALUE_CHARACTERS: Final = 4096
MAX_VALIDITY_SECONDS: Final = 36_000

SEVERAL: Final = frozenset({"MediaUrl", "PersistentAction"})
KNOWN: Final = SEVERAL | {
    "To",
    "From",
    "MessagingServiceSid",
    "Body",
    "ContentSid",
    "ContentVariables",
    "StatusCallback",
    "ApplicationSid",
    "ProvideFeedback",
    "Attempt",
    "ValidityPeriod",
    "MaxPrice",
    "ForceDelivery",
    "ContentRetention",
    "AddressRetention",
    "SmartEncoded",
    "TrafficType",
    "ShortenUrls",
    "ScheduleType",
    "SendAt",
    "SendAsMms",
    "RiskCheck",
    "FallbackFrom",
    "MessageIntent",
}
_CHOICES: Final = {
    "ContentRetention": {"retain", "discard"},
    "AddressRetention": {"retain", "obfuscate"},
    "TrafficType": {"free"},
    "ScheduleType": {"fixed"},
    "RiskCheck": {"enable", "disable"},
}
_CONTENT_SID: Final = re.compile(r"HX[0-9a-fA-F]{32}")
_SERVICE_SID: Final = re.compile(r"MG[0-9a-fA-F]{32}")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]|[0-9a-fA-F:]+")


@dataclass(slots=True)
class PostedForm:
    """A form as it was sent. An empty value counts as missing, and as a violation."""

    values: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: bytes) -> "PostedForm":
        """Parse an urlencoded body. Raises UnicodeDecodeError when it is not UTF-8."""
        form = cls()
        for name, value in parse_qsl(body.decode(), keep_blank_values=True):
            form.values.setdefault(name, []).append(value)
        return form

    def one(self, name: str) -> str | None:
        """Return the first value of a parameter, or None when it is absent or empty."""
        found = self.values.get(name)
        return found[0] or None if found else None

    def all(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return self.values.get(name, [])


def oddities(form: PostedForm) -> list[str]:
    """Return the violations that Twilio would ignore but that a careful sender never commits."""
    found: list[str] = []
    for name, values in form.values.items():
        if name not in KNOWN:
            found.append("unknown_parameter")
        elif len(values) > 1 and name not in SEVERAL:
            found.append("repeated_parameter")
        if any(not value for value in values):
            found.append("empty_parameter")
    return found


def shape_error(form: PostedForm) -> ApiError | None:
    """Return the first error in the form itself, or None when it is well-formed."""
    codes = (_presence(form), _addresses(form), _content(form), _options(form))
    return next((api_error(code) for code in codes if code is not None), None)


def update_error(form: PostedForm) -> int | None:
    """Return the error code for the form of an update, or None.

    Only `Status=canceled` and an empty `Body` are known.
    """
    known = {"Status": ["canceled"], "Body": [""]}
    is_known = all(known.get(name) == values for name, values in form.values.items())
    return None if form.values and is_known else 20422


def _presence(form: PostedForm) -> int | None:
    if form.one("To") is None:
        return 21604
    if form.one("From") is None and form.one("MessagingServiceSid") is None:
        return 21603
    if all(form.one(name) is None for name in ("Body", "MediaUrl", "ContentSid")):
        return 21602
    return None


def _addresses(form: PostedForm) -> int | None:
    to, sender, service = form.one("To") or "", form.one("From"), form.one("MessagingServiceSid")
    if not is_recipient(to):
        return 21211
    if sender is not None and not is_sender(sender):
        return 21212 if ":" in sender or sender.startswith("+") else 21657
    if service is not None and _SERVICE_SID.fullmatch(service) is None:
        return 21705
    return 63031 if sender == to else None


def _content(form: PostedForm) -> int | None:
    if _longer_than(form.all("Body"), MAX_BODY_CHARACTERS):
        return 21617
    media = form.all("MediaUrl")
    if len(media) > MAX_MEDIA_URLS:
        return 21623
    if any(not _is_url(url) for url in media):
        return 21620
    content = form.one("ContentSid")
    if content is None:
        return 21654 if form.one("ContentVariables") is not None else None
    return None if _CONTENT_SID.fullmatch(content) else 21655


def _options(form: PostedForm) -> int | None:
    callback, validity = form.one("StatusCallback"), form.one("ValidityPeriod")
    if callback is not None and not (
        _is_url(callback) and "_" not in (urlsplit(callback).hostname or "")
    ):
        return 21609
    if validity is not None and not (
        validity.isascii() and validity.isdigit() and 1 <= int(validity) <= MAX_VALIDITY_SECONDS
    ):
        return 21624
    if form.one("ScheduleType") is not None and form.one("SendAt") is None:
        return 35111
    if form.one("SendAt") is not None and form.one("MessagingServiceSid") is None:
        return 35118
    if any(form.one(name) not in {None, *choices} for name, choices in _CHOICES.items()):
        return 20422
    # ContentVariables may hold a hundred values of 1,600 characters, and has rules of its own.
    others = (
        values for name, values in form.values.items() if name not in {"Body", "ContentVariables"}
    )
    return 21658 if any(_longer_than(values, MAX_VALUE_CHARACTERS) for values in others) else None


def _longer_than(values: Iterable[str], limit: int) -> bool:
    """Return whether a value is longer than the limit, counted in UTF-16 units.

    An emoji counts as two. This is the stricter reading of Twilio's page on 21617.
    """
    return any(
        len(value) > limit // 2 and len(value.encode("utf-16-le")) // 2 > limit for value in values
    )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = parts.hostname
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and host is not None
        and _HOST.fullmatch(host.replace("_", "-")) is not None
    )
