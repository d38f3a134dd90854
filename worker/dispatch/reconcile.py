"""Fetches the statuses of accepted messages whose callbacks stayed away, on a budget of requests."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from policies.rules import Rules
from policies.status import describe
from sendwindow.vocabulary import Reason
from worker.dispatch.budget import Budget
from worker.dispatch.lists import Reader
from worker.dispatch.reported import Reported, apply_reported
from worker.dispatch.scribe import Reports
from worker.ports import Statuses, Unknowns
from worker.settings import Settings
from worker.twilio.client import ReadFailed
from worker.values.statuses import MissingStatus

BATCH: Final = 20
"""Messages fetched in one turn."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """`quiet_for`: how long a callback may stay away before its status is fetched; `again_after`: then how often."""

    quiet_for: timedelta = timedelta(minutes=15)
    again_after: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Fetches missing statuses. Any worker may run it; the store hands each message out once."""

    settings: Settings
    rules: Rules
    unknowns: Unknowns
    statuses: Statuses
    twilio: Reader
    budget: Budget
    reports: Reports
    patterns: Patterns

    async def turn(self) -> int:
        """Fetch what is due, within the budget; answers how many. Raises what the store raises."""
        limit = min(BATCH, self.budget.left)
        if limit < 1:
            return 0
        missing = await self.unknowns.missing(limit, _ms(self.patterns.quiet_for), _ms(self.patterns.again_after))
        for message in missing:
            self.reports.meter.fetched(await self._fetch(message))
        return len(missing)

    async def _fetch(self, message: MissingStatus) -> str:
        sender = self.settings.senders.get(message.sender)
        if sender is None:
            return "failed"
        self.budget.spend(1)
        try:
            row = await self.twilio.fetch(sender.account, message.message_sid)
        except ReadFailed as failure:
            self.reports.log.info("status_unread", message_id=message.message_id, http=failure.status)
            return "failed"
        if row is None:
            return "gone"
        reported = Reported(row, message.message_id, message.attempt, sender.channel, Reason.EVIDENCE_LIST)
        applied = await apply_reported(self.statuses, reported, self.rules)
        self.reports.journal.write(
            "fetched",
            sid=row.message_sid,
            status=row.status,
            id=message.message_id,
            attempt=message.attempt,
            known=applied.known,
            moved=applied.moved,
            resolved=applied.resolved,
        )
        if not applied.moved:
            return "unchanged"
        return "final" if describe(row.status, sender.channel).is_final else "moved"


def _ms(period: timedelta) -> int:
    return period // timedelta(milliseconds=1)
