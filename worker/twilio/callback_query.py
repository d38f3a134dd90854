"""Writes a message id into the query of a callback URL, and reads it back. Pure: no I/O.

A proxy may replace an escape such as `%3A` with the character itself. The query then differs from
the one that Twilio signed, and the callback is lost. So an id is written only with the unreserved
characters of RFC 3986.
"""

import re
from typing import Final

_ID: Final = re.compile(rb"(?:[A-Za-z0-9._-]|~[0-9A-F]{2})+")
_ESCAPED: Final = re.compile(rb"~([0-9A-F]{2})")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]+")
_TO_ESCAPE: Final = re.compile(rb"[^A-Za-z0-9._-]")


def id_parameter(message_id: str) -> str:
    """Return the query parameter that names a message.

    It is `m=` and the id where the id needs no escape; every version reads `m=`. Any other id goes
    into `i=`, with `~` as the escape: `~3A` is a colon.
    """
    if _PLAIN.fullmatch(message_id):
        return f"m={message_id}"
    return "i=" + _TO_ESCAPE.sub(lambda found: b"~%02X" % found[0][0], message_id.encode()).decode(
        "ascii"
    )


def read_id(escaped: str) -> str | None:
    """Return the id that `id_parameter` wrote after `i=`, or None for any other text."""
    try:
        text = escaped.encode("ascii")
        if not _ID.fullmatch(text):
            return None
        return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode("ascii")), text).decode()
    except ValueError:
        return None
