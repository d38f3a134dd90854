"""Errors that a backend may get when it uses the queue.

Every error text says what to do, and none contains personal data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sendwindow.contract import SendMessage
    from sendwindow.results import SendSummary


class SendwindowError(Exception):
    """The base class of every error that Sendwindow itself raises."""


class BadStoreUrl(SendwindowError, ValueError):
    """A store URL, partition or durability setting is invalid.

    The error text never repeats the value, because a URL may hold a password.
    """


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a message: the field, the problem and the remedy.

    `field` is dotted, as on the wire.
    """

    field: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}; {self.remedy}"


class InvalidMessage(SendwindowError, ValueError):
    """A message violates the contract and was not queued.

    `faults` lists everything that is wrong with it.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "invalid message: " + " | ".join(str(fault) for fault in self.faults)


UNREADABLE: Final = {
    "pickled": (
        "it is pickled, and a pickled job is never opened; give arq sendwindow.codec.arq_serializer"
    ),
    "too_large": "it is larger than 64 KiB; shorten variables or metadata",
    "not_json": "it is not JSON in UTF-8; give arq sendwindow.codec.arq_serializer",
    "not_a_job": (
        "it lacks the shape of an arq job (f, a, k, t, et); "
        "write it with Sendwindow's producer or with arq"
    ),
    "other_function": (
        "it is for another function than send_message; keep other jobs off this queue"
    ),
    "arguments": "it needs one dictionary, or the message's fields as keyword arguments",
    "invalid": "its message breaks the contract",
}
"""Why a job cannot be read, by the stable code in `UnreadableJob.reason`."""


class UnreadableJob(SendwindowError):
    """A job on the queue cannot be read.

    `reason` is a key of `UNREADABLE`. `faults` is not empty when `reason` is `invalid`.
    """

    def __init__(self, reason: str, faults: Sequence[Fault] = ()) -> None:
        self.reason = reason
        self.faults = tuple(faults)
        super().__init__(reason, self.faults)

    def __str__(self) -> str:
        detail = "".join(f" | {fault}" for fault in self.faults)
        return f"unreadable job ({self.reason}): {UNREADABLE[self.reason]}{detail}"


class IdConflict(SendwindowError):
    """The `message_id` already belongs to another message, so nothing was queued.

    A `message_id` stays taken until 72 hours after its message has ended.
    """

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        super().__init__(message_id)

    def __str__(self) -> str:
        return (
            f"message_id {self.message_id} already belongs to another message; "
            "use one id for each message"
        )


class _QueueError(SendwindowError):
    """The base of the errors of `send` and `send_many` that concern the store.

    `summary` is what `send_many` had done before the error. It is None for a single `send`.
    `unproven` lists the messages that may or may not be queued.
    """

    def __init__(
        self,
        text: str,
        *,
        summary: "SendSummary | None" = None,
        unproven: "Sequence[SendMessage]" = (),
    ) -> None:
        self.summary = summary
        self.unproven = tuple(unproven)
        super().__init__(text)


FULL_AFTER_SILENCE: Final = (
    "the store is nearly out of memory, and an earlier try of this call got no answer; "
    "send the same object again later, which never makes a second message"
)
"""The error text for a store that refuses a repeated call as full.

The store may have accepted the messages in an earlier try whose reply was lost.
"""


class QueueFull(_QueueError):
    """The store is nearly out of memory and accepts no new messages. This one was not queued.

    Send the message again later.
    """


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
            "make one in each loop and after each fork, or use sendwindow.sync.Producer, "
            "which works in all of them"
        )


class NotDurable(StoreUnavailable):
    """The store has queued the message, but too few replicas acknowledged it in time.

    Send the same object again.
    """
