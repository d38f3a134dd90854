"""Parses what Twilio returns about existing messages: list rows and pages of rows.

Pure: no I/O. It accepts incomplete rows where that is safe.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any, Final

from policies.error_catalogue import Operation
from worker.twilio.fields import read_code, read_status

MESSAGE_SID: Final = re.compile(r"(?:SM|MM)[0-9a-fA-F]{32}")
"""Twilio's form of a MessageSid ("Messages resource", read 2026-11-20). Use `fullmatch`."""

_COUNT: Final = re.compile(r"[0-9]{1,3}")


class ReadFailed(Exception):
    """A list or a fetch got no usable response. The caller asks again later.

    `status` is None when there was no response at all.

    `code` is Twilio's error code. It is None when the response was not Twilio's or had no code.
    What the code means depends on `operation`; `policies.error_catalogue` decides it.
    """

    def __init__(
        self, detail: str, operation: Operation, status: int | None = None, code: int | None = None
    ) -> None:
        super().__init__(f"reading from Twilio failed ({detail}); it is tried again later")
        self.operation = operation
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One outbound message as Twilio shows it.

    `body` is the rendered text for a template, and None where Twilio has redacted it.

    `num_media` is the number of media, or None when the row has no such number.
    """

    message_sid: str
    status: str
    to: str = field(repr=False)
    from_address: str | None
    body: str | None = field(repr=False)
    created_at: datetime
    error_code: int | None = None
    num_media: int | None = None


@dataclass(frozen=True, slots=True)
class InboundRow:
    """One message from a person as Twilio's list shows it.

    The list has neither the payload of a button nor the person's profile.
    """

    message_sid: str
    from_address: str = field(repr=False)
    to: str
    body: str = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class InboundListing:
    """What persons wrote to an account, oldest first.

    `is_complete` is whether no message since the requested instant is missing.
    """

    rows: tuple[InboundRow, ...]
    is_complete: bool
    requests: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows of a paged list. `is_whole` is whether every page was read."""

    rows: tuple[MessageRow, ...]
    requests: int
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `next_page` is a path with its query, or None on the last page.

    `rows` are the outbound messages. `has_all_inbounds` is whether every inbound row could be
    parsed. `dates` are the creation times of all messages of the page, inbound ones included, in
    the order of the page.
    """

    rows: tuple[MessageRow, ...]
    next_page: str | None
    inbounds: tuple[InboundRow, ...] = ()
    has_all_inbounds: bool = True
    dates: tuple[datetime, ...] = ()


def read_page(body: bytes) -> Page | None:
    """Parse one page of a list. Returns None when the body is not a usable page.

    An outbound row that cannot be parsed makes the whole page unusable. If the row were skipped, a
    search could conclude that this very message is absent.
    """
    document = _json(body)
    messages = document.get("messages") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(messages, list):
        return None
    rows: list[MessageRow] = []
    inbounds: list[InboundRow] = []
    dates: list[datetime] = []
    all_inbound = True
    for message in messages:
        row, is_inbound = (
            _row(message),
            isinstance(message, dict) and message.get("direction") == "inbound",
        )
        if row is None:
            if not is_inbound:
                return None
            all_inbound = False
            continue
        dates.append(row.created_at)
        if is_inbound:
            inbounds.append(
                InboundRow(
                    row.message_sid, row.from_address or "", row.to, row.body or "", row.created_at
                )
            )
        else:
            rows.append(row)
    next_page = document.get("next_page_uri")
    path = next_page if isinstance(next_page, str) and next_page else None
    return Page(tuple(rows), path, tuple(inbounds), all_inbound, tuple(dates))


def read_message(body: bytes) -> MessageRow | None:
    """Parse one fetched message. Returns None when the body is not a message."""
    return _row(_json(body))


def is_newest_first(rows: Sequence[MessageRow]) -> bool:
    """Return whether the rows are sorted newest first. Only then may paging stop early."""
    return all(first.created_at >= second.created_at for first, second in pairwise(rows))


def _row(message: object) -> MessageRow | None:
    if not isinstance(message, dict):
        return None
    message_sid, status, to = message.get("sid"), message.get("status"), message.get("to")
    if not isinstance(message_sid, str) or not isinstance(status, str) or not isinstance(to, str):
        return None
    if not MESSAGE_SID.fullmatch(message_sid):
        return None
    try:
        created_at = parsedate_to_datetime(str(message.get("date_created") or ""))
    except (ValueError, TypeError, OverflowError):
        return None
    if created_at.tzinfo is None:
        return None
    from_address, body = message.get("from"), message.get("body")
    return MessageRow(
        message_sid=message_sid,
        status=read_status(status),
        to=to,
        from_address=from_address if isinstance(from_address, str) else None,
        body=body if isinstance(body, str) else None,
        created_at=created_at,
        error_code=read_code(message.get("error_code")),
        num_media=_read_count(message.get("num_media")),
    )


def _read_count(value: object) -> int | None:
    """Return a small count. Twilio writes it as text ("Messages resource", read 2026-11-20)."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return int(text) if _COUNT.fullmatch(text) else None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
