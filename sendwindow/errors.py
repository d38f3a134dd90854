"""What can go wrong between a backend and the queue. Every text says what to do; none holds personal data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sendwindow.answers import SendSummary
    from sendwindow.contract import SendMessage


class SendwindowError(Exception):
    """Anything Sendwindow raises on purpose."""


class BadStoreUrl(SendwindowError, ValueError):
    """A store URL, partition or durability setting cannot be used. The text never repeats it: URLs hold passwords."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a message: the field (dotted, as on the wire), the problem, and what to do about it."""

    field: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}; {self.remedy}"


class InvalidMessage(SendwindowError, ValueError):
    """A message breaks the contract; nothing of it was queued. `faults` lists everything that is wrong."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "invalid message: " + " | ".join(str(fault) for fault in self.faults)


UNREADABLE: Final = {
    "pickled": "it is pickled, and a pickled job is never opened; give arq sendwindow.codec.arq_serializer",
    "too_large": "it is larger than 64 KiB; shorten variables or metadata",
    "not_json": "it is not JSON in UTF-8; give arq sendwindow.codec.arq_serializer",
    "not_a_job": "it lacks the shape of an arq job (f, a, k, t, et); write it with Sendwindow's producer or with arq",
    "other_function": "it is for another function than send_message; keep other jobs off this queue",
    "arguments": "it needs one dictionary, or the message's fields as keyword arguments",
    "invalid": "its message breaks the contract",
}
"""Why a job cannot be read, by the stable word in `UnreadableJob.reason`."""


class UnreadableJob(SendwindowError):
    """A job on the queue cannot be read. `reason` is a key of `UNREADABLE`; `faults` is filled when it is `invalid`."""

    def __init__(self, reason: str, faults: Sequence[Fault] = ()) -> None:
        self.reason = reason
        self.faults = tuple(faults)
        super().__init__(reason, self.faults)

    def __str__(self) -> str:
        detail = "".join(f" | {fault}" for fault in self.faults)
        return f"unreadable job ({self.reason}): {UNREADABLE[self.reason]}{detail}"


class IdConflict(SendwindowError):
    """This message_id was used for another message within the last 72 hours after its end; nothing was queued."""

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        super().__init__(message_id)

    def __str__(self) -> str:
        return f"message_id {self.message_id} already belongs to another message; use one id for each message"


class _QueueError(SendwindowError):
    """Carries what `send_many` had done before: `summary` is None for a single `send`."""

    def __init__(
        self, text: str, *, summary: "SendSummary | None" = None, unproven: "Sequence[SendMessage]" = ()
    ) -> None:
        self.summary = summary
        self.unproven = tuple(unproven)
        super().__init__(text)


FULL_AFTER_SILENCE: Final = (
    "the store is nearly out of memory, and an earlier try of this call got no answer; "
    "send the same object again later, which never makes a second message"
)
"""Said when a store refuses as full what it may have taken before."""


class QueueFull(_QueueError):
    """The store is nearly out of memory and takes no new messages; this one was not queued. Send it again later."""


class StoreUnavailable(_QueueError):
    """The store gave no answer in time.

    The messages in `unproven` may or may not be queued. Sending these very objects again is safe: they keep their ids.
    """


class OtherLoop(SendwindowError):
    """An asynchronous producer was used in another event loop or process than before; nothing was asked of the store.

    Its connections belong to the loop of its first call.
    """

    def __str__(self) -> str:
        return (
            "this Producer belongs to another event loop or process, where it was used first; make one in each loop "
            "and after each fork, or use sendwindow.sync.Producer, which works in all of them"
        )


class NotDurable(StoreUnavailable):
    """The store has the message, but too few replicas acknowledged it in time. Send the same object again."""
