"""Errors that a backend may get when it uses the queue.

Every error text says what to do, and none contains personal data. The errors about one message live
in `message_errors`, because the contract raises them; this module names them for backends.
"""

from collections.abc import Sequence
from enum import StrEnum

from sendwindow.contract import SendMessage
from sendwindow.message_errors import (
    Fault,
    IdConflict,
    InvalidMessage,
    SendwindowError,
    UnreadableJob,
)
from sendwindow.results import SendSummary

__all__ = [
    "BadStoreUrl",
    "Fault",
    "IdConflict",
    "InvalidMessage",
    "NotDurable",
    "OtherLoop",
    "QueueFull",
    "QueueScope",
    "SendwindowError",
    "StoreUnavailable",
    "UnreadableJob",
]


class BadStoreUrl(SendwindowError, ValueError):
    """A store URL, partition or durability setting is invalid.

    The error text never repeats the value, because a URL may hold a password.
    """


class _QueueError(SendwindowError):
    """The base of the errors of `send` and `send_many` that concern the store.

    `summary` is what `send_many` had done before the error. It is None for a single `send`.
    `unproven` lists the messages that may or may not be queued.
    """

    def __init__(
        self,
        text: str,
        *,
        summary: SendSummary | None = None,
        unproven: Sequence[SendMessage] = (),
    ) -> None:
        self.summary = summary
        self.unproven = tuple(unproven)
        super().__init__(text)


class QueueScope(StrEnum):
    """Whose queue is full.

    `store`: the store is nearly out of memory. `sender`, `campaign`: as many messages are queued
    for the sender, or for the campaign, as the settings allow.
    """

    STORE = "store"
    SENDER = "sender"
    CAMPAIGN = "campaign"


class QueueFull(_QueueError):
    """The store accepts no new message, of anyone or of this sender or campaign (`scope`).

    This one was not queued. Send it again later.
    """

    def __init__(
        self,
        text: str,
        *,
        scope: QueueScope = QueueScope.STORE,
        summary: SendSummary | None = None,
        unproven: Sequence[SendMessage] = (),
    ) -> None:
        self.scope = scope
        super().__init__(text, summary=summary, unproven=unproven)


class StoreUnavailable(_QueueError):
    """The store did not answer in time.

    The messages in `unproven` may or may not be queued. Sending the same objects again is safe,
    because they keep their ids.
    """


class OtherLoop(SendwindowError):
    """An asynchronous producer was used in another event loop or process than before.

    Its connections belong to the loop of its first call. The call was not sent to the store.
    """

    def __str__(self) -> str:
        return (
            "this Producer belongs to another event loop or process, where it was used first; "
            "make one in each loop and after each fork, or use sendwindow.SyncProducer, "
            "which works in all of them"
        )


class NotDurable(StoreUnavailable):
    """The store has queued the message, but too few replicas acknowledged it in time.

    Send the same object again.
    """
