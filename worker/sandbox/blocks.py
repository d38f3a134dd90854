"""What the provider told of a person by an error: an address that takes no messages, a block, a cap on marketing.

Sources: twilio.com/docs/api/errors/63014, Meta's pages on error codes and per-user marketing limits, read 2026-11-30.
"""

import re
from dataclasses import dataclass
from typing import Final

from worker.sandbox.people import Person, Told

GRACE_MS: Final = 5_000
"""A POST may be under way while the answer before it is told, and the clocks of store and provider differ a little."""

UNUSABLE: Final = frozenset({21211, 21614, 30005, 30006, 63003, 63024})
"""Codes that call the address itself unusable."""

_BLOCKED: Final = frozenset({63014, 63033})
_CAPPED: Final = 63049
_STOPPED_MARKETING: Final = re.compile(r"(?<!\d)131050(?!\d)")
_CAP_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that the sender was told. `sent_ms`: when its POST came. `words`: the channel's own."""

    to: str
    sender: str
    account: str
    code: int
    category: str | None
    sent_ms: int
    words: str = ""


def note_failure(person: Person, failure: Failure, now_ms: int, now_t: float) -> None:
    """Remember what a failure told its sender. What the person wrote since proves the opposite of some."""
    wrote_ms = max(person.wrote.values(), default=-1)
    if _STOPPED_MARKETING.search(failure.words):
        _add(person, Told("marketing", failure.account, None, now_ms, now_t, ends_by_inbound=False))
    elif failure.code == _CAPPED:
        ends_ms = failure.sent_ms + _CAP_MS
        cap = Told("marketing", failure.account, failure.sender, now_ms, now_t, ends_by_inbound=False, ends_ms=ends_ms)
        _add(person, cap)
    elif wrote_ms >= failure.sent_ms:
        return
    elif failure.code in _BLOCKED:
        what = "marketing" if failure.category == "MARKETING" else "all"
        _add(person, Told(what, failure.account, None, now_ms, now_t, ends_by_inbound=True))
    elif failure.code in UNUSABLE and not (failure.code == 21211 and _is_user_id(failure.to)):
        person.unusable.setdefault(failure.to, now_ms)


def held_back(person: Person, account: str, sender: str | None, now_ms: int) -> Told | None:
    """Return the strictest thing the sender was told that still holds; None when nothing does."""
    holding = [
        told
        for told in person.told
        if told.account == account
        and told.sender in (None, sender)
        and now_ms - told.at_ms > GRACE_MS
        and (told.ends_ms is None or now_ms < told.ends_ms - GRACE_MS)
    ]
    return min(holding, key=lambda told: (told.what != "all", told.at_ms), default=None)


def _add(person: Person, told: Told) -> None:
    if not any((one.what, one.sender, one.account) == (told.what, told.sender, told.account) for one in person.told):
        person.told.append(told)


def _is_user_id(address: str) -> bool:
    return address.startswith("whatsapp:") and not address.startswith("whatsapp:+")
