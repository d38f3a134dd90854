"""Parses Twilio's requests into typed values.

Pure: no I/O. An essential parameter must be present and valid; an optional one may hold anything.

Parameters: "Track outbound message status" and "Twilio's request to your incoming message webhook
URL" (twilio.com/docs, read 2026-11-20). Twilio adds parameters without notice, so unknown ones are
ignored.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from sendwindow.addresses import is_user_id
from sendwindow.vocabulary import Channel
from worker.status_updates import StatusReport
from worker.twilio.callback_query import read_id
from worker.twilio.fields import is_status, read_channel_codes, read_code

MAX_FIELDS: Final = 500
"""The most fields that a form may have. Twilio sends a few dozen."""

_MAX_ID_CHARACTERS: Final = 200
_MESSAGE_SID: Final = re.compile(r"[A-Z]{2}[0-9a-zA-Z]{32}")
_ATTEMPT: Final = re.compile(r"[1-9][0-9]{0,5}")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}")


class GarbageError(Exception):
    """A request is not one that Twilio sends. The text names the bad part, never its value."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is missing or unreadable; nothing was written")


def decode_form(text: bytes) -> list[tuple[str, str]]:
    """Decode a form or a query, with blank values and repeated names. Raises GarbageError."""
    try:
        return parse_qsl(
            text.decode(),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise GarbageError("the form") from error


def decode_json(body: bytes) -> list[tuple[str, str]]:
    """Decode a JSON object as the parameters of a form, without its nested values.

    Raises GarbageError.
    """
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise GarbageError("the JSON body") from error
    if not isinstance(decoded, dict):
        raise GarbageError("the JSON body")
    return [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in decoded.items()
        if isinstance(value, str | int | float | bool)
    ]


def first_values(params: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Return each name with its first value. Twilio never repeats a name."""
    return dict(reversed(params))


def read_status(params: Mapping[str, str], query: Mapping[str, str]) -> StatusReport:
    """Parse a status callback.

    `query` is the signed query. It names the message (`m` or `i`), the attempt (`a`) and the life
    (`q`).

    An `ErrorCode` that is not a number is ignored, because the status must not be lost over an
    optional parameter. Raises GarbageError.
    """
    status = params.get("MessageStatus") or params.get("SmsStatus") or ""
    if not is_status(status):
        raise GarbageError("MessageStatus")
    message_id, attempt = _attempt(query)
    return StatusReport(
        message_sid=read_sid(params),
        status=status,
        code=read_code(params.get("ErrorCode", "").strip()),
        channel=_channel(params),
        message_id=message_id,
        attempt=attempt,
        life=_life(query) if message_id is not None else None,
        to_user_id=is_user_id(params.get("To", "")),
        channel_codes=read_channel_codes(params.get("ChannelStatusMessage", "")),
    )


def read_sid(params: Mapping[str, str]) -> str:
    """Return the `MessageSid`, also under its older names. Raises GarbageError."""
    sid = params.get("MessageSid") or params.get("SmsSid") or params.get("SmsMessageSid") or ""
    if not _MESSAGE_SID.fullmatch(sid):
        raise GarbageError("MessageSid")
    return sid


def _attempt(query: Mapping[str, str]) -> tuple[str | None, int | None]:
    message_id, attempt = query.get("m"), query.get("a")
    if "i" in query:
        message_id = read_id(query["i"]) or ""
    if message_id is None and attempt is None:
        return None, None
    if not message_id or len(message_id) > _MAX_ID_CHARACTERS or not message_id.isprintable():
        raise GarbageError("m in the query")
    if attempt is None or not _ATTEMPT.fullmatch(attempt):
        raise GarbageError("a in the query")
    return message_id, int(attempt)


def _life(query: Mapping[str, str]) -> int | None:
    """Parse when the message's life began (ms). A worker of the previous version sent none."""
    life = query.get("q")
    if life is not None and not _MILLISECONDS.fullmatch(life):
        raise GarbageError("q in the query")
    return None if life is None else int(life)


def _channel(params: Mapping[str, str]) -> Channel | None:
    """Return the channel that the prefix of the addresses names.

    An SMS address has no prefix. Returns None for a channel that we do not know.
    """
    prefix, colon, _ = (params.get("From") or params.get("To") or "").partition(":")
    name = (prefix if colon else params.get("ChannelPrefix") or Channel.SMS.value).lower()
    return next((channel for channel in Channel if channel == name), None)
