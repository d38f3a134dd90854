"""Fetches statuses of accepted messages whose callbacks stayed away, on a budget of its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from policies.errors import is_missing
from policies.rules import Rules
from policies.status import describe
from sendwindow.vocabulary import Reason
from worker.dispatch.budget import Budget
from worker.dispatch.lists import Reader
from worker.dispatch.reported import Reported, apply_reported
from worker.dispatch.scribe import Reports
from worker.ports import Statuses, Unknowns
from worker.settings import Sender, Settings
from worker.twilio.client import ReadFailed
from worker.twilio.messages import MessageRow
from worker.values.statuses import MissingStatus

BATCH: Final = 20
"""Messages of one account that are taken at once."""

MOST_FETCHED: Final = 200
"""Messages after which a turn ends, so that a worker that stops need not wait for long."""

_AT_ONCE: Final = 4
"""Fetches under way together: half of the connections, so that searches never wait for them."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """`quiet_for`: how long a callback may stay away before its status is fetched.

    `again_after`: when it is fetched again at the earliest. The store waits five times a message's
    age if that is longer, so that each costs three or four requests in its 48 hours.
    """

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
        """Fetch what is due, as far as the accounts' budgets go; return how many.

        Raises what the store raises.
        """
        quiet, again = _ms(self.patterns.quiet_for), _ms(self.patterns.again_after)
        failing: set[str] = set()
        fetched = 0
        while fetched < MOST_FETCHED:
            left = {name: self.budget.of(name).left for name in self.settings.accounts}
            passed_over = failing | {name for name, requests in left.items() if requests < 1}
            limit = min([BATCH, *(requests for name, requests in left.items() if name not in passed_over)])
            missing = await self.unknowns.missing(limit, quiet, again, passed_over)
            if not missing:
                break
            fetched += await self._fetch_all(missing, failing)
        return fetched

    async def _fetch_all(self, missing: Sequence[MissingStatus], failing: set[str]) -> int:
        """Fetch a few at a time; after a failure leave the account alone and its messages due."""
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            # All of them end before an error is raised, so that none goes on unseen.
            results = await asyncio.gather(*(self._fetch(message) for message in some), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                self.reports.meter.fetched(result)
            if "failed" in results:
                failing.update(self._accounts_of(some))
                await self.unknowns.still_missing([one.message_id for one in missing[start + _AT_ONCE :]])
                return start + len(some)
        return len(missing)

    def _accounts_of(self, missing: Sequence[MissingStatus]) -> set[str]:
        senders = [self.settings.senders.get(one.sender) for one in missing]
        return {sender.account for sender in senders if sender is not None}

    async def _fetch(self, message: MissingStatus) -> str:
        sender = self.settings.senders.get(message.sender)
        if sender is None or sender.account not in self.settings.accounts:
            return "unknown_sender"
        self.budget.of(sender.account).spend(1)
        try:
            row = await self.twilio.fetch(sender.account, message.message_sid)
        except ReadFailed as failure:
            if is_missing(failure.code, failure.status, failure.operation):
                return "gone"
            log = self.reports.log
            log.info("status_unread", message_id=message.message_id, http=failure.status, code=failure.code)
            return "failed"
        return await self._apply(message, sender, row)

    async def _apply(self, message: MissingStatus, sender: Sender, row: MessageRow) -> str:
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
            reopened=applied.reopened,
            ended=applied.is_end,
        )
        if not applied.moved:
            return "unchanged"
        return "final" if describe(row.status, sender.channel).is_final else "moved"


def _ms(period: timedelta) -> int:
    return period // timedelta(milliseconds=1)
