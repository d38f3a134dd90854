"""Attempts whose outcome nobody proved, and what becomes of them."""

from dataclasses import dataclass, field
from datetime import datetime

from sendwindow.vocabulary import OnUnknown, Reason
from worker.values.settlements import SettleAgain, SettleEnd, SettleUnknown


@dataclass(frozen=True, slots=True)
class UnknownAttempt:
    """An attempt in stage `unknown` whose evidence is due. `now`: the store's clock.

    `looks`: searches made before this one. `reason`: why its outcome is unknown. `was_template`: which form went out,
    None when the store does not say. `content_sid`: the template's, None when that is not known. `listing`: names the
    list at Twilio that would show it. `is_poison`: too many workers crashed with it, so that its rule no longer sends
    it again. `unproven`: how many of the message's attempts may be at Twilio without proof, this one included.
    `account`: whose turn this is, by the store's word. `restored_at`: of a restored copy, when it was restored: until
    then it may have gone out. `was_posted`: False when only that may have been its POST.
    """

    message_id: str
    attempt: int
    intent_at: datetime
    now: datetime
    on_unknown: OnUnknown
    expires_at: datetime
    payload: bytes | None = field(repr=False)
    looks: int = 0
    reason: Reason = Reason.OUTCOME_TIMEOUT
    person_digest: str = ""
    listing: str = ""
    was_template: bool | None = None
    is_poison: bool = False
    unproven: int = 1
    content_sid: str | None = None
    account: str = ""
    restored_at: datetime | None = None
    was_posted: bool = True

    @property
    def latest_at(self) -> datetime:
        """The last instant at which a POST of it may have begun."""
        return max(self.intent_at, self.restored_at or self.intent_at)


@dataclass(frozen=True, slots=True)
class RivalAttempt:
    """Another attempt to the same person that is not proven: what Twilio shows of this person may be its message."""

    message_id: str
    attempt: int
    intent_at: datetime
    payload: bytes | None = field(repr=False)
    was_template: bool | None = None


@dataclass(frozen=True, slots=True)
class SettleUnresolved:
    """Listed as `unresolved` until late evidence or a person resolves it; the job is kept."""

    reason: Reason
    detail: str


Verdict = SettleAgain | SettleEnd | SettleUnknown | SettleUnresolved


@dataclass(frozen=True, slots=True)
class Resolution:
    """What becomes of an unknown attempt.

    SettleAgain: sent again; SettleUnknown: looked at again; else ended or listed.
    """

    message_id: str
    attempt: int
    result: Verdict
