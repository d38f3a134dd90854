"""Chooses which of Twilio's lists to read, so that one read serves as many attempts as it can."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from structlog.typing import FilteringBoundLogger

from policies.policy import Policy
from policies.unknown import settle_after
from sendwindow.vocabulary import OnUnknown
from worker.dispatch.evidence import DOUBT
from worker.dispatch.kept import Kept
from worker.dispatch.lists import MOST_PAGES, Lists
from worker.dispatch.sought import Case
from worker.settings import Sender
from worker.twilio.client import ReadFailed
from worker.values.unknowns import UnknownAttempt

_MOST_FAILURES: Final = 3
"""Reads that Twilio answers with an error, after which a turn asks no more for that account."""

_TO_PROVE: Final = 3
"""Requests to prove a sender's list and to read the recipient's; more pages go into debt."""


@dataclass(slots=True)
class Turn:
    """What a turn has found out about accounts. `failures`: reads of each that failed."""

    passed_over: set[str] = field(default_factory=set)
    failures: dict[str, int] = field(default_factory=dict)

    def is_mute(self, account: str) -> bool:
        """Whether the account is left alone: each further read may hang as the last ones did."""
        return self.failures.get(account, 0) >= _MOST_FAILURES


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read for an attempt: with `pages`, first all that its sender sent `since`."""

    case: Case
    since: datetime
    pages: int


@dataclass(frozen=True, slots=True)
class Readings:
    """Reads lists for attempts, and keeps apart what each of them may conclude."""

    lists: Lists
    policy: Policy
    log: FilteringBoundLogger

    def kept(self, case: Case) -> Kept | None:
        """Return a list that serves the attempt already.

        One from before its rule decides is not the last word, nor is a recipient's list that
        nothing vouches for.
        """
        if case.sender is None or case.message is None:
            return None
        attempt, to = case.attempt, case.message.address
        kept = self.lists.kept(attempt, case.sender, to)
        decides_at = attempt.latest_at + settle_after(attempt.on_unknown, self.policy)
        if kept is None or kept.read_at < decides_at <= attempt.now:
            return None
        is_vouched_for = kept.is_all or not self._may_conclude(attempt) or self.lists.trusts(attempt, case.sender, to)
        return kept if is_vouched_for else None

    def plan(self, sender: Sender, cases: Sequence[Case]) -> Reading | None:
        """Return what to read for the first of the cases, None when the budget is too small.

        All that the sender sent is read where that may serve others, in no more pages than there are recipients.
        """
        theirs = [case for case in cases if case.sender == sender and case.message and self.kept(case) is None]
        recipients = {case.message.to for case in theirs if case.message}
        pages = min(MOST_PAGES, len(recipients)) if len(recipients) > 1 else 0
        since = min(case.attempt.intent_at for case in theirs) - DOUBT
        if not self.lists.reaches_back(sender, since, cases[0].attempt.now, pages):
            pages = 0
        cost = pages + self._cost(cases[0].attempt)
        return Reading(cases[0], since, pages) if cost <= self.lists.budget.of(sender.account).left else None

    async def read(self, sender: Sender, reading: Reading, turn: Turn) -> Kept | None:
        """Read what shows the attempt; None when that failed."""
        attempt, message = reading.case.attempt, reading.case.message
        if message is None:
            return None
        try:
            if reading.pages:
                await self.lists.read_sender(sender, reading.since, attempt.now, reading.pages)
                if (kept := self.kept(reading.case)) is not None:
                    return kept
            # First the proof, then the list it vouches for.
            if self._may_conclude(attempt):
                await self.lists.prove(attempt, sender, message.address)
            return await self.lists.read_recipient(sender, message.address, attempt.intent_at - DOUBT, attempt.now)
        except ReadFailed as failure:
            self.log.info("evidence_unread", message_id=attempt.message_id, http=failure.status)
            # No answer at all may have cost half a minute: the other accounts must not wait for it again.
            weight = 1 if failure.status is not None else _MOST_FAILURES
            turn.failures[sender.account] = turn.failures.get(sender.account, 0) + weight
            return None

    def _cost(self, attempt: UnknownAttempt) -> int:
        return _TO_PROVE if self._may_conclude(attempt) else 1

    def _may_conclude(self, attempt: UnknownAttempt) -> bool:
        """Whether absence would decide anything yet: proving a list costs requests."""
        since = attempt.now - attempt.latest_at
        return attempt.on_unknown is OnUnknown.RESEND_IF_ABSENT and since >= self.policy.absent_after
