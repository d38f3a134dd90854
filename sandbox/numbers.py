"""How WhatsApp and carriers recognise a phone number that is written in another way.

This is the sandbox's own knowledge, not shared with the service.

Sources: https://faq.whatsapp.com/1294841057948784, google/libphonenumber 9.0.43, read 2026-11-30.
"""

import re
from functools import lru_cache
from typing import Final

_TRUNK_ZERO: Final = frozenset(
    [
        "20",
        "27",
        "31",
        "32",
        "33",
        "40",
        "41",
        "43",
        "44",
        "46",
        "49",
        "51",
        "53",
        "54",
        "55",
        "57",
        "58",
        "60",
        "61",
        "62",
        "63",
        "64",
        "66",
        "81",
        "82",
        "84",
        "86",
        "90",
        "91",
        "92",
        "93",
        "94",
        "95",
        "98",
        "211",
        "212",
        "213",
        "218",
        "231",
        "232",
        "233",
        "234",
        "243",
        "249",
        "251",
        "252",
        "254",
        "255",
        "256",
        "260",
        "261",
        "262",
        "263",
        "264",
        "265",
        "291",
        "353",
        "355",
        "358",
        "359",
        "370",
        "373",
        "374",
        "377",
        "380",
        "381",
        "382",
        "383",
        "385",
        "386",
        "387",
        "389",
        "421",
        "423",
        "508",
        "590",
        "591",
        "593",
        "594",
        "595",
        "596",
        "598",
        "686",
        "850",
        "855",
        "856",
        "880",
        "886",
        "961",
        "962",
        "963",
        "964",
        "966",
        "967",
        "970",
        "971",
        "972",
        "976",
        "977",
        "994",
        "995",
        "996",
    ]
)
"""Country codes after which a 0 is not part of the number. In Italy and some others it is."""

_MOBILES: Final = (
    (re.compile(r"(55[0-9]{2})9([6-9][0-9]{7})"), r"\1\2"),
    (re.compile(r"(52)1([2-9][0-9]{9})"), r"\1\2"),
    (re.compile(r"(54)9([123][0-9]{9})"), r"\1\2"),
)
"""Brazil, Mexico and Argentina: old accounts are still known without this digit, or with it."""


@lru_cache(maxsize=4096)
def same_phone(address: str) -> str:
    """Return one spelling for all addresses that reach the same phone on the same channel."""
    channel, plus, number = address.partition("+")
    if not plus or channel not in {"", "whatsapp:"}:
        return address
    for length in (2, 3):
        code, rest = number[:length], number[length:]
        if code in _TRUNK_ZERO and re.match("0[1-9]", rest):
            number = code + rest[1:]
            break
    for pattern, plain in _MOBILES:
        if pattern.fullmatch(number):
            number = pattern.sub(plain, number)
    return f"{channel}+{number}"
