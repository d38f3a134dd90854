"""Messages as an operator asks for them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

IN_A_LANE: Final = frozenset({"queued", "waiting", "retrying"})
"""Stages of messages that are in a lane, or among the suspects, until a worker claims them."""


@dataclass(frozen=True, slots=True)
class SidLine:
    """What the store knows about a SID other than the row's own.

    `status` is empty when Twilio has reported none.
    """

    attempt: int
    status: str
    has_failed: bool
    was_sent_again: bool
    code: int | None


@dataclass(frozen=True, slots=True)
class Record:
    """A message as the store has it: its row, its timeline, and the job as long as it is stored.

    `due_at`: when the message is due, while it is in a lane. `sids`: what is known about its SIDs
    other than the accepted one.
    """

    message_id: str
    row: Mapping[str, str]
    timeline: tuple[Mapping[str, Any], ...]
    payload: bytes | None = field(default=None, repr=False)
    due_at: datetime | None = None
    sids: Mapping[str, SidLine] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """A message that ended, with the fields that an operator selects by.

    `lane`: `<sender>|<priority>|<campaign or nothing>`.
    """

    message_id: str
    stage: str
    reason: str
    lane: str
    ended_at: datetime
    code: int | None = None


class Records(Protocol):
    """Reads what an operator asks about messages."""

    async def record(self, message_id: str) -> Record | None:
        """Return everything about one message, None when the store does not have it."""
        ...

    def listed(self, which: str) -> AsyncIterator[Record]:
        """Yield the messages in `dead`, `unknown` or `unresolved`, oldest first."""
        ...

    async def probe(self) -> None:
        """Raise unless the store answers and accepts a write."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """Return the totals of the whole store."""
        ...

    async def depths(self) -> Mapping[str, int]:
        """Return how many messages are in each lane and in each list."""
        ...

    async def suspected_for(self) -> timedelta | None:
        """Return how long the oldest suspected stop has waited, None when there is none."""
        ...

    async def note_misdirected(self, endpoint: str) -> None:
        """Count a request that came to the wrong one of the gateway's two URLs."""
        ...
