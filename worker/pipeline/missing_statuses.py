"""Fetches statuses of accepted messages whose callbacks are missing, with its own token bucket."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from policies.error_catalogue import is_missing
from policies.ruleset import Ruleset
from policies.status import describe
from sendwindow.vocabulary import Reason
from worker.pipeline.recorder import Observers
from worker.pipeline.store_retry import StoreRetry
from worker.pipeline.token_bucket import TokenBucket
from worker.pipeline.unknown.apply import ReportedStatus, apply_reported
from worker.pipeline.unknown.message_lists import MessageReader
from worker.ports.statuses import MissingStatus, Statuses
from worker.ports.unknowns import Unknowns
from worker.settings.schema import SenderSettings
from worker.settings.settings import Settings
from worker.twilio.messages import MessageRow, ReadFailed

MAX_BATCH_MESSAGES: Final = 20
"""How many messages of one account a turn takes at once."""

MAX_FETCHED_MESSAGES: Final = 200
"""A turn ends after this many messages, so that a worker that stops need not wait long for it."""

_MAX_OPEN_FETCHES: Final = 4
"""How many fetches run at once: half of the connections, so that searches never wait for them."""


@dataclass(frozen=True, slots=True)
class FetchSchedule:
    """When a worker fetches the status of a message.

    `quiet_for`: how long a callback may be missing before the first fetch. `again_after`: the
    shortest time until the next fetch. The store waits five times the age of the message if that is
    longer, so that a message costs three or four requests in its 48 hours.
    """

    quiet_for: timedelta = timedelta(minutes=15)
    again_after: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class MissingStatusFetcher:
    """Fetches missing statuses. Any worker may run it: the store hands out each message once."""

    settings: Settings
    rules: Ruleset
    unknowns: Unknowns
    statuses: Statuses
    twilio: MessageReader
    bucket: TokenBucket
    store_retry: StoreRetry
    observers: Observers
    schedule: FetchSchedule

    async def turn(self) -> int:
        """Fetch the statuses that are due, as far as the token buckets allow. Returns how many.

        Raises what the store raises.
        """
        quiet, again = _ms(self.schedule.quiet_for), _ms(self.schedule.again_after)
        failing: set[str] = set()
        fetched = 0
        while fetched < MAX_FETCHED_MESSAGES:
            left = {name: self.bucket.of(name).left for name in self.settings.accounts}
            passed_over = failing | {name for name, requests in left.items() if requests < 1}
            limit = min(
                [
                    MAX_BATCH_MESSAGES,
                    *(requests for name, requests in left.items() if name not in passed_over),
                ]
            )
            missing = await self.unknowns.missing(limit, quiet, again, passed_over)
            if not missing:
                break
            fetched += await self._fetch_all(missing, failing)
        return fetched

    async def _fetch_all(self, missing: Sequence[MissingStatus], failing: set[str]) -> int:
        """Fetch a few at a time. After a failure, skip the account and leave its messages due."""
        for start in range(0, len(missing), _MAX_OPEN_FETCHES):
            some = missing[start : start + _MAX_OPEN_FETCHES]
            # All of them end before an error is raised, so that no fetch continues unobserved.
            results = await asyncio.gather(
                *(self._fetch(message) for message in some), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                self.observers.metrics.fetched(result)
            if "failed" in results:
                failing.update(self._accounts_of(some))
                await self.unknowns.still_missing(
                    [one.message_id for one in missing[start + _MAX_OPEN_FETCHES :]]
                )
                return start + len(some)
        return len(missing)

    def _accounts_of(self, missing: Sequence[MissingStatus]) -> set[str]:
        senders = [self.settings.senders.get(one.sender) for one in missing]
        return {sender.account for sender in senders if sender is not None}

    async def _fetch(self, message: MissingStatus) -> str:
        sender = self.settings.senders.get(message.sender)
        if sender is None or sender.account not in self.settings.accounts:
            return "unknown_sender"
        self.bucket.of(sender.account).spend(1)
        try:
            row = await self.twilio.fetch(sender.account, message.message_sid)
        except ReadFailed as failure:
            if is_missing(failure.code, failure.status, failure.operation):
                return "gone"
            log = self.observers.log
            log.info(
                "status_unread",
                message_id=message.message_id,
                http=failure.status,
                code=failure.code,
            )
            return "failed"
        return await self._apply(message, sender, row)

    async def _apply(self, message: MissingStatus, sender: SenderSettings, row: MessageRow) -> str:
        reported = ReportedStatus(
            row, message.message_id, message.attempt, sender.channel, Reason.EVIDENCE_LIST
        )
        # A message that got its final status is never fetched again, so a lost reply would never be
        # journaled.
        applied = await self.store_retry.outlast(
            "fetch", lambda: apply_reported(self.statuses, reported, self.rules)
        )
        self.observers.journal.write(
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
