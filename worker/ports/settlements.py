"""What a worker records about an attempt that ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.decision import Trace
from sendwindow.vocabulary import Reason, Stage
from worker.ports.effects import Effect


@dataclass(frozen=True, slots=True)
class SettleAccepted:
    """The message ends as `accepted`, with Twilio's SID."""

    message_sid: str
    status: str


@dataclass(frozen=True, slots=True)
class SettleEnd:
    """The message ends in any other way."""

    stage: Stage
    reason: Reason
    code: int | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class SettleAgain:
    """The message returns to its lane, due at `due_at` (or `delay_ms` after the store's now).

    `stage`: waiting, retrying or queued. `keeps_place`: it returns to where it was in its lane, due
    at once.

    `on_inbound`: an inbound message of the person releases it earlier. `redecided`: the message has
    used its one new decision after 63016.
    """

    stage: Stage
    reason: Reason
    due_at: datetime | None = None
    delay_ms: int = 0
    on_inbound: bool = False
    redecided: bool = False
    keeps_place: bool = False
    code: int | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class SettleUnknown:
    """The outcome is unknown. The search for evidence begins `look_after_ms` from now."""

    reason: Reason
    detail: str
    look_after_ms: int
    code: int | None = None


Result = SettleAccepted | SettleEnd | SettleAgain | SettleUnknown


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to record for one attempt.

    `attempt`: 0 when no permit was used. `posted`: a POST started, so its tokens and the person's
    cap stay used. `answered`: whether Twilio answered the POST; None when the attempt says nothing
    about that.
    """

    message_id: str
    fence: int
    attempt: int
    result: Result
    person_digest: str
    sender: str
    account: str
    template: str | None = None
    effects: tuple[Effect, ...] = ()
    trace: Trace | None = None
    posted: bool = False
    answered: bool | None = None


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """A breaker of an account that opened or closed. `was_open_for`: zero when it opened."""

    is_open: bool
    was_open_for: timedelta


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a settlement.

    `applied`: False when it came too late, because the message has a newer fence. Redis still keeps
    an accepted SID as evidence. `stage`: None when the store has no such message, so that nothing
    was recorded. `has_copy`: this settlement shows that Twilio took the message twice. `breaker`:
    how this settlement changed the breaker of its account; None when it did not.
    """

    applied: bool
    stage: Stage | None
    has_copy: bool = False
    breaker: BreakerChange | None = None
