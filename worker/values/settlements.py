"""What is recorded of an attempt that ended."""

from dataclasses import dataclass
from datetime import datetime

from policies.decision import Trace
from sendwindow.vocabulary import Reason, Stage
from worker.values.effects import Effect


@dataclass(frozen=True, slots=True)
class SettleAccepted:
    """Dispatch end `accepted`, with Twilio's SID."""

    message_sid: str
    status: str


@dataclass(frozen=True, slots=True)
class SettleEnd:
    """Any other dispatch end."""

    stage: Stage
    reason: Reason
    code: int | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class SettleAgain:
    """Back to its lane, due at `due_at` (or `delay_ms` from the store's now). `stage` is waiting, retrying or queued.

    `on_inbound`: also released when the person writes. `redecided`: the one re-decision after 63016 is used up.
    """

    stage: Stage
    reason: Reason
    due_at: datetime | None = None
    delay_ms: int = 0
    on_inbound: bool = False
    redecided: bool = False
    code: int | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class SettleUnknown:
    """Parked as `unknown`; evidence is looked for at `look_after_ms` from now."""

    reason: Reason
    detail: str
    look_after_ms: int
    code: int | None = None


Result = SettleAccepted | SettleEnd | SettleAgain | SettleUnknown


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to record for one attempt.

    `attempt` 0: no permit was used. `posted`: a POST started (tokens and cap stay used).
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


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of it.

    `applied` False: late (another fence took over); an accepted SID was still kept as evidence. `stage` None: the store
    has no such message, so nothing was recorded. `has_copy`: with this, Twilio is known to have taken it twice.
    """

    applied: bool
    stage: Stage | None
    has_copy: bool = False
