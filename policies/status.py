"""The provider's message statuses: their rank, which are final, and which are failures.

A status always stays verbatim.

Laws:

* A status stands until a status of a higher rank arrives.
* All failures have the same rank, so the first one stands.
* `delivered` ranks above the failures. A failure that arrives after it is only recorded, and a
  failure that arrived before it was wrong.
* `read` implies `delivered`.
* An unknown status is stored. It ranks below `sent` and is not final.
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
"""The rank of each status.

Source: Twilio, "Outbound message status in status callbacks", page of 2026-07-21.
"""

FAILURES: Final = frozenset({"failed", "undelivered", "canceled"})

_FINAL: Final = FAILURES | {"delivered", "read"}


@dataclass(frozen=True, slots=True)
class StatusStep:
    """One reported status.

    `is_final`: we do not wait for another status, although a `read` may still arrive.
    """

    status: str
    rank: int
    is_final: bool
    is_failure: bool


def describe(status: str, channel: Channel | None = None) -> StatusStep:
    """Return the rank and the kind of any status, known or unknown.

    On Messenger `sent` is final, because Messenger reports nothing after it.
    """
    is_final = status in _FINAL or (status == "sent" and channel is Channel.MESSENGER)
    return StatusStep(status, RANKS.get(status, UNKNOWN_RANK), is_final, status in FAILURES)


def implies_delivered(status: str) -> bool:
    """Return whether a status means that the message reached the person.

    A `read` may arrive without a `delivered` before it.
    """
    return status in ("delivered", "read")


def is_proof_of_sending(status: str) -> bool:
    """Return whether a status means that the channel accepted the message."""
    return status == "sent" or implies_delivered(status)
