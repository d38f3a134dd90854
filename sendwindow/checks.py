"""The field checks of the contract: each returns the value to keep or raises a refusal that never repeats it."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from sendwindow import identifiers, lengths
from sendwindow.addresses import RECIPIENT_FORMS, AddressError, parse_address
from sendwindow.lengths import Complaint
from sendwindow.wire import refusal, refusals

METADATA_ENTRIES: Final = 16
METADATA_UNITS: Final = 512
"""Longest metadata value, in UTF-16 units."""

LANGUAGE: Final = re.compile(r"[a-z]{2,3}(_[A-Z]{2,4})?")
"""A template's language, written as WhatsApp does: what is configured, and what a producer takes."""

# Wider than what is taken: jobs that say pt-BR are on queues, and are decided rather than unreadable.
_READABLE_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:[_-][A-Za-z0-9]{2,8}){0,2}")

_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def address(text: str) -> str:
    """Keep a recipient's address."""
    try:
        return parse_address(text).text
    except AddressError:
        raise refusal("is not a channel address", f"write it as {RECIPIENT_FORMS}, without spaces") from None


def message_id(text: str) -> str:
    """Keep a message id."""
    return _kept(text, identifiers.message_id_complaint(text))


def message_id_or_new(value: Any) -> Any:
    """Make an id where None was given."""
    return identifiers.new_message_id() if value is None else value


def name(text: str) -> str:
    """Keep the name of a sender, template, campaign or group."""
    return _kept(text, identifiers.name_complaint(text))


def body(text: str) -> str:
    """Keep a freeform body."""
    return _kept(text, lengths.body_complaint(text))


def media_url(text: str) -> str:
    """Keep a media URL."""
    return _kept(text, lengths.media_url_complaint(text))


def language(text: str) -> str:
    """Keep a template's language."""
    is_readable = _READABLE_LANGUAGE.fullmatch(text)
    return _kept(text, None if is_readable else ("is not a language code", "use one such as en or pt_BR"))


def variables(values: dict[str, str]) -> dict[str, str]:
    """Keep template variables."""
    complaints = list(lengths.variable_complaints(values))
    if complaints:
        raise refusals(complaints)
    return values


def metadata(values: dict[str, str]) -> dict[str, str]:
    """Keep metadata: at most 16 entries with short values."""
    complaints = []
    if len(values) > METADATA_ENTRIES:
        complaints.append(("", f"has {len(values)} entries, {METADATA_ENTRIES} at most", "keep the rest with yourself"))
    for key, value in values.items():
        if complaint := identifiers.name_complaint(key):
            complaints.append(("", f"has a name that {complaint[0]}", complaint[1]))
        if complaint := lengths.text_complaint(value, METADATA_UNITS):
            complaints.append((key, *complaint))
    if complaints:
        raise refusals(complaints)
    return values


def instant(value: Any) -> datetime:
    """Keep an aware datetime, or ISO 8601 text with an offset, as UTC in whole milliseconds."""
    remedy = "give an aware datetime or ISO 8601 text with an offset, such as 2026-11-21T09:00:00Z"
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise refusal("is not an instant", remedy) from None
    if not isinstance(value, datetime):
        raise refusal("is not an instant", remedy)
    if value.utcoffset() is None:
        raise refusal("has no time zone", remedy)
    # Compared before it is converted: next to year 1 or 9999 the conversion itself would overflow.
    if not _FIRST <= value < _LAST:
        raise refusal("is not between the years 2000 and 2199", remedy)
    utc = value.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def _kept(text: str, complaint: Complaint | None) -> str:
    if complaint:
        raise refusal(*complaint)
    return text
