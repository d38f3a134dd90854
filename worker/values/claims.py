"""A message under a lease, and one whose lease ran out."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sendwindow.vocabulary import OnUnknown, Stage
from worker.values.facts import StoredFacts

CRASHES_IN_COMPANY: Final = 2
"""How many workers may crash with a message in hand before it is a suspect; the store's scripts say the same."""


class Suspects(StrEnum):
    """Whether a claim may hand out a suspect: a message that two workers in a row held when they crashed.

    It goes alone, to a worker that holds nothing: never, before everything else, or only while nothing else is due.
    """

    NEVER = "never"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this worker holds under a lease. `payload` is the job in wire form, None when it is gone.

    `attempts`: number of the last attempt; `tries`: those of them whose POST may have started, what retries count.
    """

    message_id: str
    fence: int
    payload: bytes | None
    attempts: int
    expires_at: datetime
    on_unknown: OnUnknown
    redecided: bool
    crashes: int
    cancel_asked: bool
    facts: StoredFacts
    enqueued_at: datetime
    tries: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it is claimed alone, as the claim script sees it."""
        return self.crashes >= CRASHES_IN_COMPANY


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """`now`: the store's clock at the claim. `next_due_at`: when the next timer falls due, None when there is none.

    `is_called`: a suspect is due, and this worker is the one to empty its hands for it. `in_unknown_stage`: messages
    met for the first time in a stage that only a newer version knows; they stay in their lanes.
    """

    claimed: tuple[Claimed, ...]
    now: datetime
    next_due_at: datetime | None
    is_called: bool = False
    in_unknown_stage: tuple[str, ...] = ()

    @property
    def has_suspect(self) -> bool:
        """Whether it is a suspect, which nothing else is claimed beside."""
        return any(one.is_suspect for one in self.claimed)


@dataclass(frozen=True, slots=True)
class Reaped:
    """A message whose lease ran out.

    `stage`: queued again (no intent), unknown (intent, no outcome) or dead (poison).
    """

    message_id: str
    stage: Stage
    attempt: int
