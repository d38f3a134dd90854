"""Errors about one message, and the base class of every error.

The contract and the results of a call raise or hold them, so this module knows neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


class SendwindowError(Exception):
    """The base class of every error that Sendwindow itself raises."""


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
        "it is pickled, and a pickled job is never opened; give arq sendwindow.arq_serializer"
    ),
    "too_large": "it is larger than 64 KiB; shorten variables or metadata",
    "not_json": "it is not JSON in UTF-8; give arq sendwindow.arq_serializer",
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
