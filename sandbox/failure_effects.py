"""What the provider's errors told a sender about a person.

An address takes no messages, the person blocked the sender, or marketing has reached its cap.

Sources: twilio.com/docs/api/errors/63014, Meta's pages on error codes and per-user marketing
limits, read 2026-11-30.
"""

import re
from dataclasses import dataclass
from typing import Final

from sandbox.address_rules import is_user_id
from sandbox.simulated_people import SimulatedPerson, Told

GRACE_MS: Final = 5_000
"""Tolerance in milliseconds: a POST may be under way while the gateway learns of the error before
it, and the clocks of the store and the provider may differ a little."""

UNUSABLE: Final = frozenset({21211, 21614, 30005, 30006, 63003, 63024})
"""Codes that say the address itself is unusable."""

_BLOCKED: Final = frozenset({63014, 63033})
_CAPPED: Final = 63049
_STOPPED_MARKETING: Final = re.compile(r"(?<!\d)131050(?!\d)")
_CAPPED_FOR_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that the sender was told about.

    `sent_ms`: when its POST came. `words`: the channel's own description.
    """

    to: str
    sender: str
    account: str
    code: int
    category: str | None
    sent_ms: int
    words: str = ""


def note_failure(person: SimulatedPerson, failure: Failure, now_ms: int, now_t: float) -> None:
    """Record what a failure told its sender.

    Some failures are not recorded if the person has written since, which proves the opposite.
    """
    wrote_ms = max(person.wrote.values(), default=-1)
    if _STOPPED_MARKETING.search(failure.words):
        _add(person, Told("marketing", failure.account, None, now_ms, now_t, ends_by_inbound=False))
    elif failure.code == _CAPPED:
        ends_ms = failure.sent_ms + _CAPPED_FOR_MS
        cap = Told(
            "marketing",
            failure.account,
            failure.sender,
            now_ms,
            now_t,
            ends_by_inbound=False,
            ends_ms=ends_ms,
        )
        _add(person, cap)
    elif wrote_ms >= failure.sent_ms:
        return
    elif failure.code in _BLOCKED:
        what = "marketing" if failure.category == "MARKETING" else "all"
        _add(person, Told(what, failure.account, None, now_ms, now_t, ends_by_inbound=True))
    elif failure.code in UNUSABLE and not (failure.code == 21211 and is_user_id(failure.to)):
        person.unusable.setdefault(failure.to, now_ms)


def held_back(
    person: SimulatedPerson, account: str, sender: str | None, now_ms: int
) -> Told | None:
    """Return the strictest restriction that the sender was told about and that holds, or None."""
    holding = [
        told
        for told in person.told
        if told.account == account
        and told.sender in (None, sender)
        and now_ms - told.at_ms > GRACE_MS
        and (told.ends_ms is None or now_ms < told.ends_ms - GRACE_MS)
    ]
    return min(holding, key=lambda told: (told.what != "all", told.at_ms), default=None)


def _add(person: SimulatedPerson, told: Told) -> None:
    if not any(
        (one.what, one.sender, one.account) == (told.what, told.sender, told.account)
        for one in person.told
    ):
        person.told.append(told)
