"""Channel addresses: the forms that Twilio accepts in `To` and `From`.

Uses the standard library only. No error text repeats an address.

Source of the forms: Twilio docs "WhatsApp key concepts" and "Messages resource", read 2026-11-20.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sendwindow.vocabulary import Channel


class AddressError(ValueError):
    """The given text is not a channel address.

    The error text names the expected forms and never repeats the given text.
    """


class AddressKind(StrEnum):
    """What kind of identifier an address holds.

    A BSUID is WhatsApp's id for a user whose phone number is hidden.
    """

    PHONE = "phone"
    BSUID = "bsuid"
    PARENT_BSUID = "parent_bsuid"
    PSID = "psid"
    PAGE = "page"
    SHORT_CODE = "short_code"
    ALPHANUMERIC = "alphanumeric"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address. `text` is exactly what we send to Twilio; the repr leaves it out."""

    text: str = field(repr=False)
    channel: Channel
    kind: AddressKind

    @property
    def is_phone(self) -> bool:
        return self.kind is AddressKind.PHONE


_E164: Final = r"\+[1-9][0-9]{1,14}"
_BSUID: Final = r"[A-Z]{2}\.[A-Za-z0-9]{1,128}"
_PARENT_BSUID: Final = r"[A-Z]{2}\.ENT\.[A-Za-z0-9]{1,128}"
_META_ID: Final = r"[0-9]{1,32}"

_RECIPIENT_FORMS: Final = (
    (re.compile(f"whatsapp:{_E164}"), Channel.WHATSAPP, AddressKind.PHONE),
    (re.compile(f"whatsapp:{_BSUID}"), Channel.WHATSAPP, AddressKind.BSUID),
    (re.compile(f"whatsapp:{_PARENT_BSUID}"), Channel.WHATSAPP, AddressKind.PARENT_BSUID),
    (re.compile(f"messenger:{_META_ID}"), Channel.MESSENGER, AddressKind.PSID),
    (re.compile(_E164), Channel.SMS, AddressKind.PHONE),
)
_SENDER_FORMS: Final = (
    (re.compile(f"whatsapp:{_E164}"), Channel.WHATSAPP, AddressKind.PHONE),
    (re.compile(f"messenger:{_META_ID}"), Channel.MESSENGER, AddressKind.PAGE),
    (re.compile(_E164), Channel.SMS, AddressKind.PHONE),
    (re.compile(r"[0-9]{3,8}"), Channel.SMS, AddressKind.SHORT_CODE),
    (re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &_+-]{1,11}"), Channel.SMS, AddressKind.ALPHANUMERIC),
)

RECIPIENT_FORMS: Final = (
    "whatsapp:+<E.164>, whatsapp:<BSUID>, messenger:<PSID digits> or +<E.164> for SMS"
)
SENDER_FORMS: Final = (
    "whatsapp:+<E.164>, messenger:<page id digits>, or for SMS +<E.164>, a short code or a name"
)

_PREFIX: Final = re.compile(r"(?:whatsapp|messenger|sms|tel|rcs):", re.IGNORECASE)
_SEPARATORS: Final = str.maketrans("", "", " +-._:()/")
_DIGITS: Final = re.compile(r"[0-9]{7,20}")
_USER_ID: Final = re.compile(f"whatsapp:(?:{_BSUID}|{_PARENT_BSUID})")
_ANY_BSUID: Final = re.compile(f"{_BSUID}|{_PARENT_BSUID}")


def parse_address(text: str) -> Address:
    """Parse the address of a recipient.

    Raises AddressError, whose text names the expected forms and never repeats `text`.
    """
    return _parse(text, _RECIPIENT_FORMS, RECIPIENT_FORMS)


def parse_sender_address(text: str) -> Address:
    """Parse the address of a sender, which goes into `From`.

    Raises AddressError, whose text names the expected forms and never repeats `text`.
    """
    return _parse(text, _SENDER_FORMS, SENDER_FORMS)


def is_user_id(text: str) -> bool:
    """Return whether `text` is a WhatsApp address that holds a user id, not a phone number."""
    return bool(_USER_ID.fullmatch(text))


def looks_like_address(text: str) -> bool:
    """Return whether `text` could identify a person.

    That is text with a channel prefix, a BSUID, or 7 to 20 digits with or without separators. We
    use this to keep addresses out of ids, key names and logs, so when in doubt it returns True.
    """
    text = text.strip()
    return bool(
        _PREFIX.match(text)
        or _ANY_BSUID.fullmatch(text)
        or _DIGITS.fullmatch(text.translate(_SEPARATORS))
    )


def _parse(
    text: str, forms: tuple[tuple[re.Pattern[str], Channel, AddressKind], ...], expected: str
) -> Address:
    for pattern, channel, kind in forms:
        if pattern.fullmatch(text):
            return Address(text, channel, kind)
    raise AddressError(f"not an address; write it as {expected}, without spaces")
