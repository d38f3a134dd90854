"""What Twilio says of messages it already has: rows of its list and pages of rows, read leniently. Pure."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any, Final

from worker.twilio.fields import read_code, read_status

MESSAGE_SID: Final = re.compile(r"(?:SM|MM)[0-9a-fA-F]{32}")
"""Twilio's form of a MessageSid ("Messages resource", read 2026-11-20); to be matched whole."""

_COUNT: Final = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One outbound message as Twilio shows it. `body`: a template's is the rendered text; None where redacted.

    `num_media`: how many media it has, None when the row does not say.
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
    """One message of a person's as Twilio's list shows it. The list tells no payload of a button, and no profile."""

    message_sid: str
    from_address: str = field(repr=False)
    to: str
    body: str = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class InboundListing:
    """What persons wrote to an account, oldest first. `is_complete`: nothing since the asked instant is missing."""

    rows: tuple[InboundRow, ...]
    is_complete: bool
    requests: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows of a paged list. `is_complete`: every page was read, or the rest is provably older than asked for.

    `is_whole`: every page was read.
    """

    rows: tuple[MessageRow, ...]
    is_complete: bool
    requests: int
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page, and where the next one is: a path with its query, None at the end. `rows` are outbound.

    `has_all_inbounds`: no inbound row was unreadable. `dates`: when each message of the page was created, inbound ones
    included, in the order of the page.
    """

    rows: tuple[MessageRow, ...]
    next_page: str | None
    inbounds: tuple[InboundRow, ...] = ()
    has_all_inbounds: bool = True
    dates: tuple[datetime, ...] = ()


def read_page(body: bytes) -> Page | None:
    """Read one page of a list, None when it is none.

    An outbound row that cannot be read makes the whole page worthless: left out, it could be the one that is called
    absent.
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
        row, is_inbound = _row(message), isinstance(message, dict) and message.get("direction") == "inbound"
        if row is None:
            if not is_inbound:
                return None
            all_inbound = False
            continue
        dates.append(row.created_at)
        if is_inbound:
            inbounds.append(InboundRow(row.message_sid, row.from_address or "", row.to, row.body or "", row.created_at))
        else:
            rows.append(row)
    next_page = document.get("next_page_uri")
    path = next_page if isinstance(next_page, str) and next_page else None
    return Page(tuple(rows), path, tuple(inbounds), all_inbound, tuple(dates))


def read_message(body: bytes) -> MessageRow | None:
    """Read one fetched message, None when it is none."""
    return _row(_json(body))


def is_newest_first(rows: Sequence[MessageRow]) -> bool:
    """Say whether the rows come newest first, which alone allows to stop paging early."""
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
    """Return a small count, which Twilio writes as text ("Messages resource", read 2026-11-20)."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return int(text) if _COUNT.fullmatch(text) else None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
