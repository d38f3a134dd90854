"""Looks for evidence of attempts whose outcome is not proven, and applies the message's rule.

Laws: the most urgent attempt is looked for next, whatever was claimed before · one list read serves
every attempt that it covers · what the budget does not reach stays due: no rule is applied to it
before it was looked for.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from policies.rules import Rules
from sendwindow.connect import RETRIED
from sendwindow.contract import SendMessage
from sendwindow.errors import NotDurable
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from worker.dispatch.evidence import REACH, Absent, Finding, Found, Sought, Unclear, examine, witnesses
from worker.dispatch.kept import Kept
from worker.dispatch.lists import Lists
from worker.dispatch.reading import Readings, Turn
from worker.dispatch.reported import Reported, apply_reported
from worker.dispatch.rule import follow_rule
from worker.dispatch.scribe import Reports
from worker.dispatch.sought import Case, describe_attempt, open_case, read_job
from worker.dispatch.steady import Answer, Patience
from worker.ports import Statuses, Unknowns
from worker.settings import Sender, Settings
from worker.twilio.messages import MessageRow
from worker.values.unknowns import Resolution, RivalAttempt, SettleUnresolved, UnknownAttempt, Verdict

BATCH: Final = 32
"""Attempts claimed at once; they are of one purpose and account."""

MOST_LOOKED_AT: Final = 320
"""Attempts after which a turn ends, so that a worker that stops need not wait for long."""

_AGAIN_AFTER_MS: Final = 30_000
"""An attempt taken and not resolved, because its worker died, comes back after this."""

_MOST_ERRORS: Final = 8
"""Errors for which no absence of the store accounts, after which an attempt is left to a later turn."""


@dataclass(frozen=True, slots=True)
class Search:
    """Searches for unknown attempts.

    Any worker may take a turn; the store hands each attempt out once.
    """

    settings: Settings
    rules: Rules
    unknowns: Unknowns
    statuses: Statuses
    lists: Lists
    patience: Patience
    reports: Reports

    async def turn(self) -> int:
        """Look at the attempts that are due, as far as the budgets go; return how many.

        Raises what the store raises.

        What an account's budget does not reach stays due, and the other accounts go on.
        """
        turn, looked_at = Turn(), 0
        while looked_at < MOST_LOOKED_AT:
            attempts = await self.unknowns.due(BATCH, _AGAIN_AFTER_MS, turn.passed_over)
            if not attempts:
                break
            looked_at += await self._look_at(attempts, turn)
        return looked_at

    async def _look_at(self, attempts: Sequence[UnknownAttempt], turn: Turn) -> int:
        """Look at attempts, most urgent first, with at most one read; give back what it does not serve.

        So whatever became due meanwhile and is more urgent comes before the next read. Return how many were looked at.
        """
        readings = Readings(self.lists, self.rules.policy, self.reports.log)
        cases = [open_case(attempt, self.settings) for attempt in attempts]
        left: list[str] = []
        has_read = False
        for place, case in enumerate(cases):
            kept, requests = readings.kept(case), 0
            if kept is None and case.sender is not None and not self._goes_unread(case, turn):
                is_possible = not has_read and not turn.is_mute(case.sender.account)
                reading = readings.plan(case.sender, cases[place:]) if is_possible else None
                if reading is None:
                    left.append(case.attempt.message_id)
                    continue
                has_read, before = True, self.lists.budget.of(case.sender.account).left
                kept = await readings.read(case.sender, reading, turn)
                requests = before - self.lists.budget.of(case.sender.account).left
            await self._look(case, kept, max(0, requests))
        if not has_read and left:
            turn.passed_over.add(attempts[0].account)
        await self.unknowns.give_back(left)
        return len(cases) - len(left)

    def _goes_unread(self, case: Case, turn: Turn) -> bool:
        """Whether the rule needs no proof, and the lists of the account cannot be read now."""
        is_mute = case.sender is not None and turn.is_mute(case.sender.account)
        return is_mute and case.attempt.on_unknown is OnUnknown.RESEND

    # -- looking -------------------------------------------------------------------------------

    async def _look(self, case: Case, kept: Kept | None, requests: int) -> None:
        attempt, message = case.attempt, case.message
        if message is None:
            # Without a readable job nothing could be sent again: a person has to look at it.
            self.reports.meter.searched(_word(Unclear("unreadable")), requests)
            await self._resolve(attempt, SettleUnresolved(Reason.HELD_BY_RULE, "unreadable"))
            return
        if kept is not None:
            # A list speaks of the instant it was read at.
            attempt = replace(attempt, now=min(attempt.now, kept.read_at))
        finding = await self._find(attempt, message, case.sender, kept)
        self.reports.meter.searched(_word(finding), requests)
        if isinstance(finding, Found):
            await self._bind(attempt, message, finding.row)
        elif (verdict := follow_rule(attempt, message.purpose, finding, self.rules.policy)) is not None:
            await self._resolve(attempt, verdict)

    async def _find(
        self, attempt: UnknownAttempt, message: SendMessage, sender: Sender | None, kept: Kept | None
    ) -> Finding:
        if sender is None or kept is None:
            return Unclear("sender" if sender is None else "incomplete")
        to, rows = message.address, kept.rows_to(message.address)
        # In this order: what proves itself in between is bound by the time its SID is looked up.
        rivals = await self.unknowns.rivals(attempt.person_digest, attempt.message_id, attempt.intent_at - REACH)
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

    def _rival(self, rival: RivalAttempt, attempt: UnknownAttempt) -> Sought:
        sought = describe_attempt(rival, read_job(rival), self.settings)
        # Of a restored copy, the other may have gone out as late as this one.
        return sought if attempt.restored_at is None else replace(sought, latest_at=attempt.latest_at)

    # -- telling -------------------------------------------------------------------------------

    async def _bind(self, attempt: UnknownAttempt, message: SendMessage, row: MessageRow) -> None:
        """Record the attempt as accepted under the SID that was found, with the status the list shows."""
        channel = message.address.channel
        reported = Reported(row, attempt.message_id, attempt.attempt, channel, Reason.EVIDENCE_LIST)
        applied = await self._insist(lambda: apply_reported(self.statuses, reported, self.rules))
        if applied is not None and applied.resolved:
            self._note(attempt, Reason.EVIDENCE_LIST, Stage.ACCEPTED, sid=row.message_sid)

    async def _resolve(self, attempt: UnknownAttempt, verdict: Verdict) -> None:
        resolutions = [Resolution(attempt.message_id, attempt.attempt, verdict)]
        [stage] = await self._insist(lambda: self.unknowns.resolve(resolutions)) or [None]
        if stage is not None and stage is not Stage.UNKNOWN:
            is_cancelled = stage is Stage.CANCELLED
            self._note(attempt, Reason.CANCELLED if is_cancelled else verdict.reason, stage, sid=None)

    async def _insist(self, call: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Ask until the store answers: what it did already it would not hand out, nor tell, in a later turn.

        None when it is there and answers one error after the other: the rest of the turn must not wait for this one.
        """
        errors = 0

        async def ask() -> Answer:
            nonlocal errors
            try:
                return await call()
            except (*RETRIED, NotDurable):
                raise
            except Exception:
                errors += 1
                raise

        return await self.patience.insist("search", ask, unless=lambda: errors >= _MOST_ERRORS)

    def _note(self, attempt: UnknownAttempt, reason: Reason, stage: Stage, *, sid: str | None) -> None:
        self.reports.journal.write(
            "resolved",
            id=attempt.message_id,
            attempt=attempt.attempt,
            reason=reason,
            sid=sid,
            stage=stage,
            rule=attempt.on_unknown,
        )
        self.reports.meter.settled(stage, reason)
        write = self.reports.log.warning if stage is Stage.UNRESOLVED else self.reports.log.info
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
