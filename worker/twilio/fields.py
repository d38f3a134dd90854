"""Parses the fields from Twilio that we store, into forms that every store and log can hold.

Pure: no I/O.
"""

import re
from typing import Final

UNSAID: Final = "queued"
"""The status of a message when Twilio's response has no readable status."""

_STATUS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_CODE: Final = re.compile(r"([1-9][0-9]{0,8})(?:\.0{1,9})?")
_MAX_CODE: Final = 999_999_999

_CHANNEL_CODE: Final = re.compile(r"(?<![0-9])1[0-9]{5}(?![0-9])")
_MAX_WORDS: Final = 4000


def is_status(text: str) -> bool:
    """Return whether a text can be stored as a status: a word of up to 40 characters."""
    return _STATUS.fullmatch(text) is not None


def read_status(value: object) -> str:
    """Return a message's status verbatim, or `UNSAID` when it cannot be stored."""
    return value if isinstance(value, str) and is_status(value) else UNSAID


def read_code(value: object) -> int | None:
    """Return an error code (1 to 999999999) from a number or its digits, or None.

    A JSON library may write a whole number as `21610.0`, and a form repeats that as text. A number
    with a fraction is not a code.
    """
    if isinstance(value, str):
        digits = _CODE.fullmatch(value)
        return int(digits[1]) if digits else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX_CODE:
        return None
    return int(value) if int(value) == value else None


def read_channel_codes(text: str) -> frozenset[int]:
    """Return the numbers in a `ChannelStatusMessage` that look like Meta's error codes.

    An example is 131050. The text itself may name a person, so only these numbers are kept. A
    number of six digits cannot be a phone number.
    """
    return frozenset(int(found) for found in _CHANNEL_CODE.findall(text[:_MAX_WORDS]))
