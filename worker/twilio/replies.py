"""Decides what a response of the Messages API proves.

Pure: turns status, headers and body, or the exception's class, into a Reply.

Law: an attempt is `Rejected` or `NotSent` only where that is proven. If bytes may have left, every
other outcome is `Unproven`.
"""

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from errno import errorcode
from typing import Any, Final

import aiohttp

from sendwindow.addresses import AddressError, parse_address
from sendwindow.vocabulary import Reason
from worker.ports.breakers import AccountAnswer
from worker.ports.posts import Accepted, NotSent, Rejected, Reply, Unproven
from worker.twilio.fields import read_code, read_status
from worker.twilio.messages import MESSAGE_SID

MAX_ANSWER_BYTES: Final = 64 * 1024
"""The most bytes of a response that are read. Twilio's own responses have one or two kilobytes."""

PERMIT_LAPSED: Final = NotSent("permit lapsed")
"""The POST did not start, because its permit expired first."""

_SUBSCRIBER_DIGITS: Final = 7
_MAX_EXCERPT_CHARACTERS: Final = 160
_MAYBE_PERSONAL: Final = re.compile(r"\+?\d[\d ().-]{3,}\d|\b[A-Z]{2}\.[A-Za-z0-9.]+|\S+@\S+")
_MARKUP: Final = re.compile(r"<[^>]*>|\s+")
_FIELD_NAME: Final = re.compile(r'"([a-z_]{1,40})"\s*:')


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, complete: bool = True, to: str = ""
) -> Reply:
    """Return what a response proves.

    `complete` is False when the body was longer than `MAX_ANSWER_BYTES`. `to` is the recipient.

    Twilio responds with 201 and the SID when it created a message, and with a `code` when it
    refused. Sources: "Messages resource" and "Error 20500" (a repeated POST may send twice), read
    2026-11-20.
    """
    document = _json_object(body) if complete else None
    if 200 <= status < 300:
        return _read_success(status, document or {}, body, to)
    code = read_code(document.get("code")) if document else None
    if status >= 500:
        return _unproven(Reason.OUTCOME_SERVER_ERROR, f"HTTP {status}", status, code, body)
    if 300 <= status < 400:
        return _unproven(
            Reason.OUTCOME_UNREADABLE,
            f"HTTP {status}, redirects are not followed",
            status,
            None,
            body,
        )
    if 400 <= status < 500 and code is not None:
        return Rejected(status, code, retry_after(headers))
    return _unproven(
        Reason.OUTCOME_UNREADABLE, f"HTTP {status} without a Twilio code", status, None, body
    )


def _read_success(status: int, document: Mapping[str, Any], body: bytes, to: str) -> Reply:
    message_sid, shown = document.get("sid"), document.get("to")
    if not isinstance(message_sid, str) or not MESSAGE_SID.fullmatch(message_sid):
        detail = f"HTTP {status} without a MessageSid"
    elif isinstance(shown, str) and shown != to and _is_somebody_else(to, shown):
        detail = f"HTTP {status} for another address"
    else:
        return Accepted(message_sid, read_status(document.get("status")), status)
    code = read_code(document.get("code"))
    return _unproven(Reason.OUTCOME_UNREADABLE, detail, status, code, body)


def read_error(status: int, body: bytes) -> int | None:
    """Return Twilio's error code, or None when the response is not an error or has no code."""
    document = _json_object(body) if status >= 400 else None
    return read_code(document.get("code")) if document else None


def read_account(status: int, body: bytes) -> AccountAnswer:
    """Return what the response says about an account that was asked for.

    Source: Twilio, "Account resource", `status` is active, suspended or closed (read 2026-11-20).
    """
    if status >= 500:
        return AccountAnswer.NONE
    document = _json_object(body) if status == 200 else None
    is_active = document is not None and document.get("status", "active") == "active"
    return AccountAnswer.ACTIVE if is_active else AccountAnswer.REFUSED


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return `Retry-After` in seconds, or None when it is absent or invalid (RFC 9110, 10.2.3).

    An HTTP date is compared with the response's own `Date`, so no local clock is needed.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at, sent_at = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (at - sent_at).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def read_failure(error: BaseException) -> NotSent | Unproven:
    """Return what a failed exchange proves, from the exception's class alone.

    The texts of exceptions contain addresses and URLs, so they are not used.

    Before it writes a byte, aiohttp raises `ClientConnectorError` (refused, unreachable, DNS, TLS
    handshake, certificate) and `ConnectionTimeoutError` (waiting for the pool, connecting). It
    raises `ClientHttpProxyError` when a proxy refused the tunnel. Source: aiohttp 3.14,
    `ClientSession._request`. Any other exception may come after the write, also on a reused
    connection. `departure.py` adds what the connection itself saw leave.
    """
    name = type(error).__name__
    match error:
        case aiohttp.ClientConnectorDNSError():
            return NotSent("name not resolved")
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError():
            return NotSent(f"TLS handshake failed: {name}")
        case aiohttp.ClientConnectorError(os_error=os_error):
            return NotSent(
                "connection refused or unreachable: "
                f"{errorcode.get(os_error.errno or 0, 'no number')}"
            )
        case aiohttp.ClientHttpProxyError(status=status):
            return NotSent(f"the proxy made no connection: HTTP {status}")
        case aiohttp.ConnectionTimeoutError():
            return NotSent("no connection in time")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return NotSent(f"base_url is not an HTTP address: {name}")
        case TimeoutError():
            return Unproven(Reason.OUTCOME_TIMEOUT, f"no answer in time: {name}")
        case _:
            return Unproven(Reason.OUTCOME_CONNECTION_LOST, f"connection lost: {name}")


def excerpt(body: bytes) -> str:
    """Return the part of an unexpected response that a timeline may keep.

    It contains no addresses, no field values and no markup.
    """
    text = body[:4096].decode("utf-8", "replace").strip()
    if text.startswith(("{", "[")) or _FIELD_NAME.search(text):
        # Twilio's responses repeat the address and the body. So only the field names are kept of
        # any text that looks like JSON.
        return ("fields: " + " ".join(dict.fromkeys(_FIELD_NAME.findall(text))))[
            :_MAX_EXCERPT_CHARACTERS
        ]
    text = _MAYBE_PERSONAL.sub("#", _MARKUP.sub(" ", text))
    return "".join(character for character in text if character.isprintable()).strip()[
        :_MAX_EXCERPT_CHARACTERS
    ]


def _unproven(reason: Reason, detail: str, status: int, code: int | None, body: bytes) -> Unproven:
    return Unproven(reason, detail, status, code, excerpt(body))


def _is_somebody_else(asked: str, shown: str) -> bool:
    """Return whether a response is certainly about another recipient than the requested one.

    Twilio may write a phone number with another prefix or trunk digit than we did, but the last
    digits are the same.
    """
    try:
        ours, theirs = parse_address(asked), parse_address(shown)
    except AddressError:
        return False
    if ours.is_phone and theirs.is_phone:
        return ours.text[-_SUBSCRIBER_DIGITS:] != theirs.text[-_SUBSCRIBER_DIGITS:]
    return ours.kind is theirs.kind and ours.text != theirs.text


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
