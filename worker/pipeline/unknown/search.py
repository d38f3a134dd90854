"""Looks for evidence of attempts whose outcome is not proven, and applies the message's rule.

Laws: the most urgent attempt comes next, whatever was claimed before · one read of a list serves
every attempt that it covers · an attempt that the token bucket does not allow a read for stays due:
no rule is applied to it before a search.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from policies.ruleset import Ruleset
from sendwindow.contract import SendMessage
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from worker.pipeline.recorder import Observers
from worker.pipeline.store_retry import StoreRetry, Value
from worker.pipeline.unknown.apply import ReportedStatus, apply_reported
from worker.pipeline.unknown.list_cache import CachedList
from worker.pipeline.unknown.list_planning import ListPlanner, SearchTurn
from worker.pipeline.unknown.matching import (
    REACH,
    Absent,
    ExpectedMessage,
    Finding,
    Found,
    Unclear,
    examine,
    witnesses,
)
from worker.pipeline.unknown.message_lists import MessageLists
from worker.pipeline.unknown.resolution_rule import apply_rule
from worker.pipeline.unknown.search_case import (
    SearchCase,
    describe_attempt,
    open_search_case,
    read_job,
)
from worker.ports.statuses import Statuses
from worker.ports.unknowns import (
    Resolution,
    RivalAttempt,
    SettleUnresolved,
    UnknownAttempt,
    Unknowns,
    Verdict,
)
from worker.settings.schema import SenderSettings
from worker.settings.settings import Settings
from worker.twilio.messages import MessageRow

MAX_BATCH_ATTEMPTS: Final = 32
"""How many attempts are claimed at once. They are of one purpose and account."""

MAX_TURN_ATTEMPTS: Final = 320
"""A turn ends after this many attempts, so that a worker that stops need not wait long for it."""

_AGAIN_AFTER_MS: Final = 30_000
"""An attempt that was taken and not resolved, because its worker died, is due again after this."""


@dataclass(frozen=True, slots=True)
class UnknownSearch:
    """Searches for unknown attempts.

    Any worker may take a turn, because the store hands out each attempt once.
    """

    settings: Settings
    rules: Ruleset
    unknowns: Unknowns
    statuses: Statuses
    lists: MessageLists
    store_retry: StoreRetry
    observers: Observers

    async def turn(self) -> int:
        """Search for the attempts that are due, as far as the token buckets allow.

        Returns how many. Raises what the store raises.

        Attempts that an account's bucket does not allow stay due, and the other accounts continue.
        """
        turn, looked_at = SearchTurn(), 0
        while looked_at < MAX_TURN_ATTEMPTS:
            attempts = await self.unknowns.due(
                MAX_BATCH_ATTEMPTS, _AGAIN_AFTER_MS, turn.passed_over
            )
            if not attempts:
                break
            looked_at += await self._look_at(attempts, turn)
        return looked_at

    async def _look_at(self, attempts: Sequence[UnknownAttempt], turn: SearchTurn) -> int:
        """Look at attempts, most urgent first, with at most one read. Returns how many.

        Attempts that the read does not serve become due again. More urgent ones that became due in
        the meantime therefore come before the next read.
        """
        readings = ListPlanner(self.lists, self.rules.policy, self.observers.log)
        cases = [open_search_case(attempt, self.settings) for attempt in attempts]
        left: list[str] = []
        has_read = False
        for place, case in enumerate(cases):
            kept, requests = readings.kept(case), 0
            if kept is None and case.sender is not None and not self._goes_unread(case, turn):
                is_possible = not has_read and not turn.is_skipped(case.sender.account)
                reading = readings.plan(case.sender, cases[place:]) if is_possible else None
                if reading is None:
                    left.append(case.attempt.message_id)
                    continue
                has_read, before = True, self.lists.bucket.of(case.sender.account).left
                kept = await readings.read(case.sender, reading, turn)
                requests = before - self.lists.bucket.of(case.sender.account).left
            await self._look(case, kept, max(0, requests))
        if not has_read and left:
            turn.passed_over.add(attempts[0].account)
        await self.unknowns.give_back(left)
        return len(cases) - len(left)

    def _goes_unread(self, case: SearchCase, turn: SearchTurn) -> bool:
        """Return whether the rule needs no proof, and the account's lists cannot be read now."""
        is_skipped = case.sender is not None and turn.is_skipped(case.sender.account)
        return is_skipped and case.attempt.on_unknown is OnUnknown.RESEND

    # -- looking -------------------------------------------------------------------------------

    async def _look(self, case: SearchCase, kept: CachedList | None, requests: int) -> None:
        attempt, message = case.attempt, case.message
        if message is None:
            # Without a readable job the message cannot be sent again, so an operator has to look.
            self.observers.metrics.searched(_word(Unclear("unreadable")), requests)
            await self._resolve(attempt, SettleUnresolved(Reason.HELD_BY_RULE, "unreadable"))
            return
        if kept is not None:
            # A list shows what Twilio had when it was read.
            attempt = replace(attempt, now=min(attempt.now, kept.read_at))
        finding = await self._find(attempt, message, case.sender, kept)
        self.observers.metrics.searched(_word(finding), requests)
        if isinstance(finding, Found):
            await self._bind(attempt, message, finding.row)
        elif (verdict := apply_rule(attempt, finding, self.rules.policy)) is not None:
            await self._resolve(attempt, verdict)

    async def _find(
        self,
        attempt: UnknownAttempt,
        message: SendMessage,
        sender: SenderSettings | None,
        kept: CachedList | None,
    ) -> Finding:
        if sender is None or kept is None:
            return Unclear("sender" if sender is None else "incomplete")
        to, rows = message.address, kept.rows_to(message.address)
        # In this order: an attempt that is proven in between is bound before its SID is looked up.
        rivals = await self.unknowns.rivals(
            attempt.person_digest, attempt.message_id, attempt.intent_at - REACH
        )
        owners = await self.lists.owners(rows)
        return examine(
            describe_attempt(attempt, message, self.settings),
            rows,
            owners,
            rivals=None if rivals is None else [self._rival(rival, attempt) for rival in rivals],
            is_complete=kept.covers(attempt),
            is_proven=self.lists.trusts(attempt, sender, to)
            or kept.vouches_for(attempt, to)
            or bool(witnesses(rows, owners, attempt.intent_at, to)),
        )

    def _rival(self, rival: RivalAttempt, attempt: UnknownAttempt) -> ExpectedMessage:
        sought = describe_attempt(rival, read_job(rival), self.settings)
        # In a restored copy, the rival may have gone out as late as this attempt.
        return (
            sought if attempt.restored_at is None else replace(sought, latest_at=attempt.latest_at)
        )

    # -- recording -----------------------------------------------------------------------------

    async def _bind(self, attempt: UnknownAttempt, message: SendMessage, row: MessageRow) -> None:
        """Record the attempt as accepted under the SID that was found.

        The message gets the status that the list shows.
        """
        channel = message.address.channel
        reported = ReportedStatus(
            row, attempt.message_id, attempt.attempt, channel, Reason.EVIDENCE_LIST
        )
        applied = await self._keep_trying(
            lambda: apply_reported(self.statuses, reported, self.rules)
        )
        if applied is not None and applied.resolved:
            self._note(attempt, Reason.EVIDENCE_LIST, Stage.ACCEPTED, sid=row.message_sid)

    async def _resolve(self, attempt: UnknownAttempt, verdict: Verdict) -> None:
        resolutions = [Resolution(attempt.message_id, attempt.attempt, verdict)]
        [stage] = await self._keep_trying(lambda: self.unknowns.resolve(resolutions)) or [None]
        if stage is not None and stage is not Stage.UNKNOWN:
            is_cancelled = stage is Stage.CANCELLED
            self._note(
                attempt, Reason.CANCELLED if is_cancelled else verdict.reason, stage, sid=None
            )

    async def _keep_trying(self, call: Callable[[], Awaitable[Value]]) -> Value | None:
        """Repeat a call until the store answers.

        If the store did what the call asks, it does not hand out the attempt in a later turn, and
        no worker would report the result. Returns None when the store is up and answers with one
        error after the other, because the rest of the turn must not wait for this attempt.
        """
        try:
            return await self.store_retry.outlast("search", call)
        except Exception:  # noqa: BLE001 -- the store retry has logged it, and a later turn tries again
            return None

    def _note(
        self, attempt: UnknownAttempt, reason: Reason, stage: Stage, *, sid: str | None
    ) -> None:
        self.observers.journal.write(
            "resolved",
            id=attempt.message_id,
            attempt=attempt.attempt,
            reason=reason,
            sid=sid,
            stage=stage,
            rule=attempt.on_unknown,
        )
        self.observers.metrics.settled(stage, reason)
        write = self.observers.log.warning if stage is Stage.UNRESOLVED else self.observers.log.info
        write(
            "unknown_resolved",
            message_id=attempt.message_id,
            attempt=attempt.attempt,
            reason=reason.value,
            stage=stage.value,
            rule=attempt.on_unknown.value,
        )


def _word(finding: Finding) -> str:
    match finding:
        case Found():
            return "found"
        case Absent():
            return "absent"
        case Unclear(why="incomplete"):
            return "failed"
        case Unclear():
            return "unclear"
