"""The field validators of the contract.

Each returns the valid value, or raises a refusal that never repeats the value.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from sendwindow import ids, limits
from sendwindow.addresses import RECIPIENT_FORMS, AddressError, parse_address
from sendwindow.limits import Complaint
from sendwindow.wire import refusal, refusals

MAX_METADATA_ENTRIES: Final = 16
MAX_METADATA_UNITS: Final = 512
"""Length of the longest metadata value, in UTF-16 units."""

LANGUAGE: Final = re.compile(r"[a-z]{2,3}(_[A-Z]{2,4})?")
"""A template's language in WhatsApp's notation, as the settings and the producer require it."""

# Wider than `LANGUAGE`: queues may hold jobs that say pt-BR. Such a job must stay readable, so that
# a worker can decide it.
_READABLE_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:[_-][A-Za-z0-9]{2,8}){0,2}")

_MIN_INSTANT: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_INSTANT: Final = datetime(2200, 1, 1, tzinfo=UTC)


def address(text: str) -> str:
    """Return a recipient's address unchanged, if it is valid."""
    try:
        return parse_address(text).text
    except AddressError:
        raise refusal(
            "is not a channel address", f"write it as {RECIPIENT_FORMS}, without spaces"
        ) from None


def message_id(text: str) -> str:
    """Return a message id unchanged, if it is valid."""
    return _kept(text, ids.message_id_complaint(text))


def message_id_or_new(value: Any) -> Any:
    """Return a new message id for None, and any other value unchanged."""
    return ids.new_message_id() if value is None else value


def name(text: str) -> str:
    """Return the name of a sender, template, campaign or group unchanged, if it is valid."""
    return _kept(text, ids.name_complaint(text))


def body(text: str) -> str:
    """Return a freeform body unchanged, if it is valid."""
    return _kept(text, limits.body_complaint(text))


def media_url(text: str) -> str:
    """Return a media URL unchanged, if it is valid."""
    return _kept(text, limits.media_url_complaint(text))


def language(text: str) -> str:
    """Return a template's language unchanged, if it is readable."""
    is_readable = _READABLE_LANGUAGE.fullmatch(text)
    return _kept(
        text, None if is_readable else ("is not a language code", "use one such as en or pt_BR")
    )


def variables(values: dict[str, str]) -> dict[str, str]:
    """Return template variables unchanged, if they are valid."""
    complaints = list(limits.variable_complaints(values))
    if complaints:
        raise refusals(complaints)
    return values


def metadata(values: dict[str, str]) -> dict[str, str]:
    """Return metadata unchanged, if it has at most 16 entries with short values."""
    complaints = []
    if len(values) > MAX_METADATA_ENTRIES:
        complaints.append(
            (
                "",
                f"has {len(values)} entries, {MAX_METADATA_ENTRIES} at most",
                "keep the rest with yourself",
            )
        )
    for key, value in values.items():
        if complaint := ids.name_complaint(key):
            complaints.append(("", f"has a name that {complaint[0]}", complaint[1]))
        if complaint := limits.text_complaint(value, MAX_METADATA_UNITS):
            complaints.append((key, *complaint))
    if complaints:
        raise refusals(complaints)
    return values


def instant(value: Any) -> datetime:
    """Return an instant as a datetime in UTC with whole milliseconds.

    `value` is an aware datetime, or ISO 8601 text with an offset.
    """
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
    # Compare before the conversion to UTC, which would overflow close to year 1 or 9999.
    if not _MIN_INSTANT <= value < _MAX_INSTANT:
        raise refusal("is not between the years 2000 and 2199", remedy)
    utc = value.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def _kept(text: str, complaint: Complaint | None) -> str:
    if complaint:
        raise refusal(*complaint)
    return text
