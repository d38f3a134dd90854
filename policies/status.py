"""The provider's message statuses: their rank, which are final, which are failures. Statuses stay verbatim.

Laws: a status stands until one of higher rank comes · failures rank alike, and the first of them stays · `delivered`
ranks above them: a failure behind it is a note, and one before it was mistaken · `read` implies `delivered` · a status
that is not known yet is kept, ranks below `sent` and ends nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sendwindow.vocabulary import Channel

UNKNOWN_RANK: Final = 35

RANKS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "scheduled": 10,
        "accepted": 10,
        "queued": 20,
        "sending": 30,
        "sent": 40,
        "failed": 60,
        "undelivered": 60,
        "canceled": 60,
        "delivered": 65,
        "read": 70,
    }
)
"""Rank of each status (Twilio, "Outbound message status in status callbacks", page of 2026-07-21)."""

FAILURES: Final = frozenset({"failed", "undelivered", "canceled"})

_FINAL: Final = FAILURES | {"delivered", "read"}


@dataclass(frozen=True, slots=True)
class StatusStep:
    """One status as reported. `is_final`: no other status is to be waited for (a later `read` may still come)."""

    status: str
    rank: int
    is_final: bool
    is_failure: bool


@dataclass(frozen=True, slots=True)
class Advance:
    """What a report does. `status`: the one that stands now. `is_contradiction`: a failure reported after delivery."""

    status: str
    has_moved: bool
    is_contradiction: bool = False


def describe(status: str, channel: Channel | None = None) -> StatusStep:
    """Rank one status, whatever it says. Messenger reports nothing after `sent`, so there it is final."""
    is_final = status in _FINAL or (status == "sent" and channel is Channel.MESSENGER)
    return StatusStep(status, RANKS.get(status, UNKNOWN_RANK), is_final, status in FAILURES)


def advance(current: str | None, new: str) -> Advance:
    """Move from `current` to `new` when it ranks higher; otherwise the current one stands."""
    if current is None or describe(new).rank > describe(current).rank:
        return Advance(new, has_moved=True)
    return Advance(current, has_moved=False, is_contradiction=new in FAILURES and implies_delivered(current))


def implies_delivered(status: str) -> bool:
    """Tell whether a status says that the message reached the person; `read` may come without `delivered`."""
    return status in ("delivered", "read")


def is_proof_of_sending(status: str) -> bool:
    """Tell whether a status says that the channel took the message."""
    return status == "sent" or implies_delivered(status)
