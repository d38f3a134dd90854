"""What a producer answers: receipts, a message's status, and what became of a cancel. Plain values, no I/O."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sendwindow.errors import IdConflict, InvalidMessage
from sendwindow.vocabulary import DISPATCH_ENDS, Stage


@dataclass(frozen=True, slots=True)
class Receipt:
    """The message is kept. `duplicate`: it was before; `enqueued_at` (the store's clock) is the first time's."""

    message_id: str
    duplicate: bool
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message of `send_many` that was not queued. `position` counts from 0; `message_id` None: no usable one."""

    position: int
    message_id: str | None
    error: InvalidMessage | IdConflict


@dataclass(slots=True)
class SendSummary:
    """What `send_many` did. `done` counts the messages answered, in order: receipts and rejections together."""

    receipts: list[Receipt] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def done(self) -> int:
        return len(self.receipts) + len(self.rejected)

    @property
    def duplicates(self) -> int:
        return sum(receipt.duplicate for receipt in self.receipts)


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """Where a message is. `is_end`: its dispatch has ended. `status`: the provider's word, verbatim, None before any.

    `reason` is a stable code of `vocabulary.Reason`, kept as text so that a newer worker's code can be read.
    """

    message_id: str
    stage: Stage
    reason: str | None
    error_code: int | None
    status: str | None
    message_sid: str | None
    attempts: int
    enqueued_at: datetime
    expires_at: datetime
    ended_at: datetime | None

    @property
    def is_end(self) -> bool:
        return self.stage in DISPATCH_ENDS


class CancelAnswer(StrEnum):
    """What became of a cancel. `too_late`: at Twilio, or perhaps, and not sent again. `ended`: nothing was left."""

    CANCELLED = "cancelled"
    TOO_LATE = "too_late"
    ENDED = "ended"
    UNKNOWN_ID = "unknown_id"
