"""How fast messages may go out: the limits that Twilio and Meta document, and what a message costs.

A limit is charged where a permit is granted (`worker/stores/lua/admit.lua`), by the generic cell
rate algorithm. It stores one number, the arrival time: until then, what was charged is not yet
worked off. `Pace` holds the two constants of a limit.

Sources, read 2026-11-30: Twilio, errors 21611, 63017 and 63018, and "WhatsApp FAQ"; Meta, "About
the platform" (pair rate, page of 2025-12-05).
"""

import math
from dataclasses import dataclass
from typing import Final

from sendwindow.addresses import Address, AddressKind
from sendwindow.vocabulary import Channel

ACCOUNT_PER_SECOND: Final = 2000.0
"""Messages that Twilio takes from an account and its subaccounts in a second (63017)."""

MIN_PER_SECOND: Final = 0.1
"""The slowest limit, because no arrival time may lie more than five minutes ahead."""

MAX_PER_SECOND: Final = 10_000

_WHATSAPP_PER_SECOND: Final = 80.0
_SHORT_CODE_PER_SECOND: Final = 100.0
_TOLL_FREE_PER_SECOND: Final = 3.0
_LONG_CODE_PER_SECOND: Final = 1.0
"""Documented for US numbers. The other countries of the prefix +1 share it."""

_NORTH_AMERICA: Final = "+1"
_TOLL_FREE: Final = tuple(f"{_NORTH_AMERICA}{code}" for code in (800, 833, 844, 855, 866, 877, 888))

_SECOND_US: Final = 1_000_000
_MAX_WITHOUT_BURST_PER_SECOND: Final = 12.0
_BURST_SHARE: Final = 0.07
_LATE_US: Final = 30_000
"""How late a message may be, without a burst, before the rate suffers."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What admission needs to know about a limit.

    `interval_us`: how long one unit takes. `tolerance_us`: how far the arrival time may lie ahead
    for a message to go out.
    """

    interval_us: int
    tolerance_us: int


PAIR: Final = Pace(interval_us=6 * _SECOND_US, tolerance_us=44 * 6 * _SECOND_US)
"""The limit of WhatsApp for one sender and one person: a message in 6 seconds, and 45 at once."""


def pace(per_second: float) -> Pace:
    """Return the pace of a limit, so that no sliding second has more than `per_second` units.

    A burst of n and a rate of r let through n + r - 1 units in a second, so the rate is the limit
    less what the burst adds. Without a burst, a worker would have to be back at the very
    microsecond to use a high limit. The burst is 1 up to 12 a second, and above that at most 1 and
    7 % of the limit, so at least 92 % can be used. With a burst of 1, a message may be a little
    late and the next one is on time, for which the rate is as much lower.
    """
    burst = 1
    if per_second > _MAX_WITHOUT_BURST_PER_SECOND:
        burst += math.floor(per_second * _BURST_SHARE)
    if burst == 1:
        return Pace(math.ceil((_SECOND_US + _LATE_US) / per_second), _LATE_US)
    interval = math.ceil(_SECOND_US / (per_second - (burst - 1)))
    return Pace(interval, (burst - 1) * interval)


def default_per_second(address: Address) -> float | None:
    """Return how many units a second Twilio takes from this sender, unless it was raised.

    The units are segments for SMS, and otherwise messages. Returns None for a sender about which
    Twilio documents nothing: a Page, an alphanumeric id, and a number outside +1.
    """
    if address.channel is Channel.WHATSAPP:
        return _WHATSAPP_PER_SECOND
    if address.kind is AddressKind.SHORT_CODE:
        return _SHORT_CODE_PER_SECOND
    if address.text.startswith(_TOLL_FREE):
        return _TOLL_FREE_PER_SECOND
    return _LONG_CODE_PER_SECOND if address.text.startswith(_NORTH_AMERICA) else None


_GSM_SINGLE: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_DOUBLE: Final = frozenset("\f^{}\\[~]|€")
_GSM: Final = _GSM_SINGLE | _GSM_DOUBLE
"""The alphabet of GSM-7 (3GPP TS 23.038). An escape comes before each of the second set."""

_BASIC_PLANE_END: Final = 0xFFFF


def sms_segments(body: str) -> int:
    """Return into how many segments an SMS is split.

    A text in GSM-7 has 160 septets, or 153 in each of several segments. Any other text is sent as
    UCS-2, with 70 units, or 67. A character of two units is never split.
    """
    if _GSM.issuperset(body):
        widths = [2 if character in _GSM_DOUBLE else 1 for character in body]
        return _segments(widths, alone=160, several=153)
    widths = [2 if ord(character) > _BASIC_PLANE_END else 1 for character in body]
    return _segments(widths, alone=70, several=67)


def _segments(widths: list[int], *, alone: int, several: int) -> int:
    if sum(widths) <= alone:
        return 1
    segments, filled = 1, 0
    for width in widths:
        if filled + width > several:
            segments, filled = segments + 1, 0
        filled += width
    return segments
