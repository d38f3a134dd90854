"""Ids and names: their allowed forms, and new message ids.

An id or a name must not identify a person, because it appears in keys and logs.
"""

import re
import secrets
from typing import Final

from sendwindow.addresses import looks_like_address
from sendwindow.limits import Complaint
from sendwindow.timestamps import now_ms

_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Crockford's base 32 in lower case: text sorts in the order of the numbers, and no letter can be
# mistaken for a digit.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS: Final = 80
# We check only whole ids: a number after a word could be a phone number or an order number.
_NO_PHONE_NUMBER: Final = "use an id that holds no phone number: ids and names are shown in logs"


def new_message_id() -> str:
    """Return a new message id of 26 characters, which sorts by age.

    It holds 48 bits of time (ms) and then 80 random bits.
    """
    number = now_ms() << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def message_id_complaint(text: str) -> Complaint | None:
    """Return what is wrong with a message id, or None if it is valid."""
    return _complaint(text, _MESSAGE_ID, "1 to 64 of the characters A-Z a-z 0-9 . _ : -")


def name_complaint(text: str) -> Complaint | None:
    """Return what is wrong with the name of a sender, campaign or group, or None if it is valid."""
    return _complaint(text, _NAME, "1 to 64 of the characters A-Z a-z 0-9 . _ -")


def _complaint(text: str, pattern: re.Pattern[str], characters: str) -> Complaint | None:
    if not pattern.fullmatch(text):
        return "has a character or a length that is not allowed", f"use {characters}"
    if looks_like_address(text):
        return "is shaped like an address or a phone number", _NO_PHONE_NUMBER
    return None
