"""Attempts whose outcome is not proven, and what becomes of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sendwindow.vocabulary import OnUnknown, Reason, Stage
from worker.ports.settlements import SettleAgain, SettleEnd, SettleUnknown
from worker.ports.statuses import MissingStatus


@dataclass(frozen=True, slots=True)
class UnknownAttempt:
    """An attempt in the stage unknown whose search is due. `now`: the store's clock.

    `reason`: why the outcome is unknown.
    `was_template`: whether a template went out, None when the store does not say. `content_sid`:
    the template's, None when it is not known. `listing`: names the list at Twilio that would show
    the message. `is_poison`: too many workers crashed with the message, so its rule no longer sends
    it again. `unproven`: how many of the message's attempts may be at Twilio without proof,
    including this one. `account`: whose turn it is, according to the store.

    `restored_at`: when the store was restored from a copy; the attempt may have gone out until
    then. None when the attempt is not from a copy. `was_posted`: False when the only possible POST
    is one that the copy does not show.
    """

    message_id: str
    attempt: int
    intent_at: datetime
    now: datetime
    on_unknown: OnUnknown
    payload: bytes | None = field(repr=False)
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
        """The last instant at which a POST of the attempt may have begun."""
        return max(self.intent_at, self.restored_at or self.intent_at)


@dataclass(frozen=True, slots=True)
class RivalAttempt:
    """Another unproven attempt to the same person.

    What Twilio shows of this person may be the message of this attempt.
    """

    message_id: str
    attempt: int
    intent_at: datetime
    payload: bytes | None = field(repr=False)
    was_template: bool | None = None


@dataclass(frozen=True, slots=True)
class SettleUnresolved:
    """The message becomes `unresolved` until late evidence or an operator resolves it.

    Redis keeps the job.
    """

    reason: Reason
    detail: str


Verdict = SettleAgain | SettleEnd | SettleUnknown | SettleUnresolved


@dataclass(frozen=True, slots=True)
class Resolution:
    """What becomes of an unknown attempt.

    SettleAgain sends the message again, and SettleUnknown searches again later. The others end it
    or list it as unresolved.
    """

    message_id: str
    attempt: int
    result: Verdict


class Unknowns(Protocol):
    """Hands out unknown attempts, and accepted messages whose callbacks are missing.

    `Store.unknowns` implements it.
    """

    async def due(
        self, limit: int, again_after_ms: int, passing_over: Collection[str] = ()
    ) -> list[UnknownAttempt]:
        """Take up to `limit` unknown attempts whose search is due, the most urgent ones.

        They are of one purpose and account. The store hands out no attempt again before
        `again_after_ms`, whichever worker asks. Accounts take turns, except those in
        `passing_over`.
        """
        ...

    async def give_back(self, message_ids: Sequence[str]) -> None:
        """Make unknown attempts due again that were taken but not searched for."""
        ...

    async def resolve(self, resolutions: Sequence[Resolution]) -> list[Stage | None]:
        """Apply the verdicts of the messages' rules.

        Returns the stage that each message moved to, None when the attempt is no longer unknown. A
        message whose cancellation was requested ends as cancelled instead of going out again.
        """
        ...

    async def owners(self, message_sids: Sequence[str]) -> list[tuple[str, int] | None]:
        """Return the (message id, attempt) that each SID is bound to, None for an unknown SID."""
        ...

    async def rivals(
        self, person_digest: str, message_id: str, since: datetime
    ) -> list[RivalAttempt] | None:
        """Return the other unproven attempts to a person, None when they are too many to name.

        The result has at least those that began at or after `since`. Ask after a list was read: an
        attempt that is admitted later cannot be in that list.
        """
        ...

    async def missing(
        self, limit: int, quiet_for_ms: int, again_after_ms: int, passing_over: Collection[str] = ()
    ) -> list[MissingStatus]:
        """Take up to `limit` accepted messages of one account that have no final status.

        Twilio accepted them at least `quiet_for_ms` ago. The store hands out no message again
        before `again_after_ms`, and an old message later than that. Accounts take turns, except
        those in `passing_over`. The store drops and counts messages older than 48 h.
        """
        ...

    async def still_missing(self, message_ids: Sequence[str]) -> None:
        """Make accepted messages due again that were taken but whose status was not fetched."""
        ...
