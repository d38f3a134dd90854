"""The forms of address that Twilio accepts.

Source: twilio.com/docs/messaging/api/message-resource, read 2026-11-20.
"""

import hashlib
import re
from functools import lru_cache
from typing import Final

from sandbox.config import Channel

_PHONE: Final = re.compile(r"\+[1-9]\d{1,14}")
_WHATSAPP: Final = re.compile(r"whatsapp:(\+[1-9]\d{1,14}|[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128})")
_MESSENGER: Final = re.compile(r"messenger:\d{1,40}")
_SHORT_CODE: Final = re.compile(r"\d{3,8}")
_ALPHANUMERIC: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")


def channel_of(address: str) -> Channel:
    """Return the channel by prefix. An address without a known prefix counts as SMS."""
    if address.startswith("whatsapp:"):
        return "whatsapp"
    return "messenger" if address.startswith("messenger:") else "sms"


def is_user_id(address: str) -> bool:
    """Return whether an address is a WhatsApp user id (BSUID) and not a phone number."""
    return address.startswith("whatsapp:") and not address.startswith("whatsapp:+")


def is_recipient(address: str) -> bool:
    """Return whether the address is valid in `To`."""
    pattern = {"whatsapp": _WHATSAPP, "messenger": _MESSENGER, "sms": _PHONE}[channel_of(address)]
    return pattern.fullmatch(address) is not None


def is_sender(address: str) -> bool:
    """Return whether the address is valid in `From`."""
    if channel_of(address) != "sms":
        return is_recipient(address)
    return any(pattern.fullmatch(address) for pattern in (_PHONE, _SHORT_CODE, _ALPHANUMERIC))


@lru_cache(maxsize=4096)
def person_label(address: str, seed: int) -> str:
    """Return the label of a person in journals.

    An address gets the same label in every run with the same seed.
    """
    return (
        "person-"
        + hashlib.blake2s(address.encode(), key=str(seed).encode(), digest_size=5).hexdigest()
    )
