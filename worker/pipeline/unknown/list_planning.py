"""Chooses which of Twilio's lists to read, so that one read serves as many attempts as it can."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from structlog.typing import FilteringBoundLogger

from policies.policy import Policy
from policies.unknown import settle_after
from sendwindow.vocabulary import OnUnknown
from worker.pipeline.unknown.list_cache import CachedList
from worker.pipeline.unknown.matching import DOUBT
from worker.pipeline.unknown.message_lists import MAX_PAGES, MessageLists
from worker.pipeline.unknown.search_case import SearchCase
from worker.ports.unknowns import UnknownAttempt
from worker.settings.schema import SenderSettings
from worker.twilio.messages import ReadFailed

_MAX_FAILURES: Final = 3
"""After this many reads that Twilio answered with an error, a turn reads no more of the account."""

_MAX_PROOF_REQUESTS: Final = 3
"""Requests to prove a sender's list and to read the recipient's. More pages overdraw the bucket."""


@dataclass(slots=True)
class SearchTurn:
    """What a turn found out about accounts. `failures`: how many reads of each account failed."""

    passed_over: set[str] = field(default_factory=set)
    failures: dict[str, int] = field(default_factory=dict)

    def is_skipped(self, account: str) -> bool:
        """Return whether the turn skips the account. Another read may hang like the last ones."""
        return self.failures.get(account, 0) >= _MAX_FAILURES


@dataclass(frozen=True, slots=True)
class PlannedRead:
    """What to read for an attempt. With `pages`, first all that its sender sent `since`."""

    case: SearchCase
    since: datetime
    pages: int


@dataclass(frozen=True, slots=True)
class ListPlanner:
    """Chooses and reads lists for attempts, and checks what each attempt may conclude from them."""

    lists: MessageLists
    policy: Policy
    log: FilteringBoundLogger

    def kept(self, case: SearchCase) -> CachedList | None:
        """Return a list that serves the attempt already, None without one.

        A list from before the instant at which the rule decides does not serve: the decision needs
        a later one. A recipient's list that nothing vouches for does not serve either, if absence
        from it would decide.
        """
        if case.sender is None or case.message is None:
            return None
        attempt, to = case.attempt, case.message.address
        kept = self.lists.kept(attempt, case.sender, to)
        decides_at = attempt.latest_at + settle_after(attempt.on_unknown, self.policy)
        if kept is None or kept.read_at < decides_at <= attempt.now:
            return None
        is_vouched_for = (
            kept.is_all
            or not self._may_conclude(attempt)
            or self.lists.trusts(attempt, case.sender, to)
        )
        return kept if is_vouched_for else None

    def plan(self, sender: SenderSettings, cases: Sequence[SearchCase]) -> PlannedRead | None:
        """Return what to read for the first of the cases, None when the token bucket is too low.

        The plan includes all that the sender sent, if that may serve other cases, in no more pages
        than there are recipients.
        """
        theirs = [
            case
            for case in cases
            if case.sender == sender and case.message and self.kept(case) is None
        ]
        recipients = {case.message.to for case in theirs if case.message}
        pages = min(MAX_PAGES, len(recipients)) if len(recipients) > 1 else 0
        since = min(case.attempt.intent_at for case in theirs) - DOUBT
        if not self.lists.reaches_back(sender, since, cases[0].attempt.now, pages):
            pages = 0
        cost = pages + self._cost(cases[0].attempt)
        return (
            PlannedRead(cases[0], since, pages)
            if cost <= self.lists.bucket.of(sender.account).left
            else None
        )

    async def read(
        self, sender: SenderSettings, reading: PlannedRead, turn: SearchTurn
    ) -> CachedList | None:
        """Read a list that shows the attempt. Returns None when the read failed."""
        attempt, message = reading.case.attempt, reading.case.message
        if message is None:
            return None
        try:
            if reading.pages:
                await self.lists.read_sender(sender, reading.since, attempt.now, reading.pages)
                if (kept := self.kept(reading.case)) is not None:
                    return kept
            # First the proof, then the list that it vouches for.
            if self._may_conclude(attempt):
                await self.lists.prove(attempt, sender, message.address)
            return await self.lists.read_recipient(
                sender, message.address, attempt.intent_at - DOUBT, attempt.now
            )
        except ReadFailed as failure:
            self.log.info("evidence_unread", message_id=attempt.message_id, http=failure.status)
            # A read without a reply may have cost half a minute. The other accounts must not wait
            # for that again.
            weight = 1 if failure.status is not None else _MAX_FAILURES
            turn.failures[sender.account] = turn.failures.get(sender.account, 0) + weight
            return None

    def _cost(self, attempt: UnknownAttempt) -> int:
        return _MAX_PROOF_REQUESTS if self._may_conclude(attempt) else 1

    def _may_conclude(self, attempt: UnknownAttempt) -> bool:
        """Return whether absence would decide anything yet. If not, a list needs no proof."""
        since = attempt.now - attempt.latest_at
        return (
            attempt.on_unknown is OnUnknown.RESEND_IF_ABSENT and since >= self.policy.absent_after
        )
