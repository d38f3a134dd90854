"""Length limits of the parts of a message.

Lengths are counted in UTF-16 units. This is the strictest way to count, so a text with emoji never
turns out longer than we counted.

Source of the limits: Twilio docs "Messages resource", "Error 21617", "Using variables with the
Content API", read 2026-11-20.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

MAX_BODY_UNITS: Final = 1600
"""Length of the longest `Body` on every channel, in UTF-16 units.

Twilio does not document how it counts. The number of UTF-16 units is never less than the number of
characters.
"""
MAX_VARIABLES: Final = 100
MAX_VARIABLE_UNITS: Final = 1600
MAX_WHATSAPP_TEMPLATE_UNITS: Final = 1024
"""Length of the longest WhatsApp template with its variables filled in, in UTF-16 units.

Source: Twilio docs, "Error 63021", read 2026-11-20.
"""
MAX_MEDIA_URL_CHARACTERS: Final = 2048

_VARIABLE_KEY: Final = re.compile(r"[A-Za-z0-9]{1,16}")
# The tab, and every character at which str.splitlines() breaks: Twilio answers 63013 for each
# character that Meta treats as a line break.
_BREAKS: Final = re.compile("[\n\r\t\v\f\x1c-\x1e\x85\u2028\u2029]")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
_FIVE_SPACES: Final = " " * 5
_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]+")

Complaint = tuple[str, str]
"""A problem and its remedy."""


def utf16_units(text: str) -> int:
    """Return the number of UTF-16 code units.

    A character outside the basic plane, as most emoji are, counts as 2 and any other as 1.
    """
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def text_complaint(text: str, units_at_most: int) -> Complaint | None:
    """Return what is wrong with a text of a message, or None if it is valid.

    A text is invalid if it is longer than `units_at_most` or cannot be encoded in UTF-8.
    """
    units = utf16_units(text)
    if units > units_at_most:
        return f"has {units} UTF-16 units, {units_at_most} at most", "shorten it"
    if not text.isascii() and _HALF_PAIR.search(text):
        return "holds half of a surrogate pair", "give valid Unicode"
    return None


def body_complaint(body: str) -> Complaint | None:
    """Return what is wrong with a freeform body, or None if it is valid."""
    if not body.strip():
        return "is blank", "give a text, or leave the field out when media goes alone"
    return text_complaint(body, MAX_BODY_UNITS)


def media_url_complaint(url: str) -> Complaint | None:
    """Return what is wrong with a media URL, or None if it is valid.

    The URL must be public http or https, because Twilio fetches the file itself.
    """
    remedy = "give one public http or https URL, percent-encoded"
    if len(url) > MAX_MEDIA_URL_CHARACTERS:
        return f"has {len(url)} characters, {MAX_MEDIA_URL_CHARACTERS} at most", remedy
    if not _VISIBLE_ASCII.fullmatch(url):
        return "holds a space, a control character or a character outside ASCII", remedy
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is not a URL", remedy
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        return "is not an http or https URL with a host", remedy
    return None


def variable_complaints(variables: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (key, problem, remedy) for everything wrong with template variables.

    The key is empty if the problem concerns all variables, or if a key itself is invalid.
    """
    if len(variables) > MAX_VARIABLES:
        yield (
            "",
            f"holds {len(variables)} variables, {MAX_VARIABLES} at most",
            "use a template with fewer variables",
        )
    if not all(_VARIABLE_KEY.fullmatch(key) for key in variables):
        yield (
            "",
            "has a name that is not 1 to 16 letters or digits",
            "use the names that the template declares",
        )
        return
    for key, value in variables.items():
        complaint = _value_complaint(value)
        if complaint:
            yield key, *complaint


def _value_complaint(value: str) -> Complaint | None:
    if not value.strip():
        return "is empty", "Twilio refuses empty variables (21656); give a text, '-' for instance"
    if _BREAKS.search(value):
        return (
            "holds a line break or a tab",
            "WhatsApp refuses those (63013); put the breaks into the template",
        )
    if _FIVE_SPACES in value:
        return "holds more than 4 spaces in a row", "WhatsApp refuses those (63013); use fewer"
    return text_complaint(value, MAX_VARIABLE_UNITS)
