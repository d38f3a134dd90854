"""What Twilio reports about messages, what a report changed, and which reports are missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sendwindow.vocabulary import Reason
from worker.ports.effects import Effect


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """A status of a message, parsed and verified.

    `message_id` and `attempt` come from the signed query; None without it. `rank` and `is_final`
    come from `policies.status`. `status` is verbatim.

    `evidence`: the reason to record when this status proves an unknown attempt (a callback, or a
    row of Twilio's list). `redecides`: the failure means that the window is closed, which allows
    one new decision. `most_tries`: after this many POSTs a failure causes no further one; 0 means
    no limit.

    `life`: when the message was enqueued (ms), which distinguishes two uses of one message id. None
    when the report does not say: the status then belongs to the message that the store has.
    """

    message_sid: str
    status: str
    rank: int
    is_final: bool
    is_failure: bool
    code: int | None
    message_id: str | None
    attempt: int | None
    effects: tuple[Effect, ...] = ()
    reopen_after_ms: int | None = None
    most_tries: int = 0
    evidence: Reason = Reason.EVIDENCE_CALLBACK
    redecides: bool = False
    life: int | None = None


@dataclass(frozen=True, slots=True)
class StatusApplied:
    """What a status changed. `known`: the store has the message. `moved`: its status advanced.

    `resolved`: the status proved an unknown attempt. `reopened`: the message will be sent again, as
    a new attempt, because this one failed. `is_copy`: Twilio took the message a second time; this
    is reported once. `is_end`: the status ended this life of the message as accepted.

    `unbound`: the message id and attempt that a search had wrongly bound to this SID. The outcome
    of that attempt is unknown again.
    """

    known: bool
    moved: bool
    resolved: bool
    message_id: str | None
    reopened: bool = False
    unbound: tuple[str, int] | None = None
    is_copy: bool = False
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class MissingStatus:
    """An accepted message whose final status has not arrived."""

    message_id: str
    attempt: int
    message_sid: str
    sender: str


class Statuses(Protocol):
    """Applies what Twilio reports."""

    async def apply(self, updates: Sequence[StatusUpdate]) -> list[StatusApplied]:
        """Move statuses forward only, and bind SIDs to the attempts that the updates name."""
        ...
