"""The provider's word on a message it has, what it moved, and messages it has not spoken of yet."""

from dataclasses import dataclass

from sendwindow.vocabulary import Reason
from worker.values.effects import Effect


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One status callback, parsed and verified. `message_id` and `attempt` come from the signed query, None without it.

    `rank` and `final` come from `policies.status`; `status` is verbatim. `evidence`: what resolves an unknown attempt
    when this proves it (a callback, or a row of Twilio's list). `redecides`: the failure says that the window is
    closed, which allows one new decision. `most_tries`: after how many POSTs no failure makes another (0: no limit).
    `life`: when the message was enqueued (ms), which tells two uses of one id
    apart; None when nobody says, and then it is the message that is there.
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
    """`moved`: the status advanced. `resolved`: it proved an unknown attempt. `known`: a message was found.

    `reopened`: the failure made it a message to send again, as a new attempt. `unbound`: the message id and attempt
    that a list had wrongly been taken to show under this SID; its outcome is unknown again. `is_copy`: Twilio took the
    message a second time, which is told once. `is_end`: it ended this life of the message as accepted.
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
    """An accepted message whose final status has not come."""

    message_id: str
    attempt: int
    message_sid: str
    sender: str
