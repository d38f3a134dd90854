"""What a producer returns: receipts, the status of a message, and the result of a cancel.

These are plain values without I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sendwindow.message_errors import SendwindowError
from sendwindow.vocabulary import DISPATCH_ENDS, Priority, Stage


@dataclass(frozen=True, slots=True)
class Receipt:
    """The store has the message.

    `duplicate`: the store already had it before this call. `enqueued_at`: when the store, by its
    own clock, accepted the message for the first time.
    """

    message_id: str
    duplicate: bool
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class NotQueued:
    """A message of `send_many` that was not queued.

    `position` counts from 0. `message_id` is None if the message has no usable id. `error` is
    InvalidMessage, IdConflict, or QueueFull with the scope `sender` or `campaign`. A full store
    stops `send_many` instead.
    """

    position: int
    message_id: str | None
    error: SendwindowError


@dataclass(slots=True)
class SendSummary:
    """What `send_many` did.

    Messages are processed in order. `done` counts the processed ones: receipts and rejections
    together.
    """

    receipts: list[Receipt] = field(default_factory=list)
    rejected: list[NotQueued] = field(default_factory=list)

    @property
    def done(self) -> int:
        return len(self.receipts) + len(self.rejected)

    @property
    def duplicates(self) -> int:
        return sum(receipt.duplicate for receipt in self.receipts)


@dataclass(frozen=True, slots=True)
class MessageStatus:
    """Where a message stands.

    `reason` is a stable code of `vocabulary.Reason`. It is text, so that a backend can read a code
    that only a newer worker knows. `status` is the provider's status, verbatim, or None until the
    provider reports one. `ended_at` is None until a worker has recorded the end, which for a
    cancelled message may be a little later. `is_end`: no worker will send the message any more
    unless an operator or a reported failure begins another life.
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


@dataclass(frozen=True, slots=True)
class CampaignStatus:
    """Where a campaign of a sender stands.

    `changed`: whether the call that returned this changed it. `paused_until` is None while the
    campaign is not paused, and for a pause without an end. `cancelled_at`: its messages that were
    queued until then are cancelled. `is_ending`: workers are still recording their ends. `queued`:
    how many messages are queued by priority, None while `is_ending`.
    """

    sender: str
    campaign: str
    changed: bool
    is_paused: bool
    paused_until: datetime | None
    cancelled_at: datetime | None
    is_ending: bool
    queued: Mapping[Priority, int] | None


class CancelAnswer(StrEnum):
    """The result of a cancel.

    `cancelled`: the message was not sent and never will be. `too_late`: the message is at Twilio or
    may be, and no worker sends it again. `ended`: the message had already ended. `unknown_id`: the
    store does not know the id.
    """

    CANCELLED = "cancelled"
    TOO_LATE = "too_late"
    ENDED = "ended"
    UNKNOWN_ID = "unknown_id"
