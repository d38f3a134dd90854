"""Looks for evidence of attempts whose outcome nobody proved, and applies the message's rule."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from policies.rules import Rules
from sendwindow.codec import decode_job
from sendwindow.connect import RETRIED
from sendwindow.contract import SendMessage
from sendwindow.errors import NotDurable, UnreadableJob
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from worker.dispatch.evidence import (
    DOUBT,
    REACH,
    Absent,
    Finding,
    Found,
    Sought,
    Unclear,
    examine,
    listing_of,
    witnesses,
)
from worker.dispatch.facts import template_text
from worker.dispatch.lists import Lists
from worker.dispatch.reported import Reported, apply_reported
from worker.dispatch.rule import follow_rule
from worker.dispatch.scribe import Reports
from worker.dispatch.steady import Answer, Patience
from worker.ports import Statuses, Unknowns
from worker.settings import Sender, Settings
from worker.twilio.client import ReadFailed
from worker.twilio.messages import MessageRow
from worker.values.unknowns import Resolution, RivalAttempt, SettleUnresolved, UnknownAttempt, Verdict

BATCH: Final = 20
"""Attempts looked at in one turn."""

_AGAIN_AFTER_MS: Final = 30_000
"""An attempt taken and not resolved, because its worker died or the budget ran out, comes back after this."""

_MOST_ERRORS: Final = 8
"""Errors for which no absence of the store accounts, after which an attempt is left to a later turn."""

_REQUESTS_EACH: Final = 3
"""Two to prove a sender's list, one for the attempt's own; more pages are rare and go into debt."""


@dataclass(frozen=True, slots=True)
class Search:
    """Searches for unknown attempts. Any worker may take a turn; the store hands each attempt out once."""

    settings: Settings
    rules: Rules
    unknowns: Unknowns
    statuses: Statuses
    lists: Lists
    patience: Patience
    reports: Reports

    async def turn(self) -> int:
        """Look at the attempts that are due, as far as the budget goes; answers how many. Raises what the store raises.

        What the budget does not reach stays due: no rule is applied to an attempt nobody looked for.
        """
        limit = min(BATCH, self.lists.budget.left // _REQUESTS_EACH)
        if limit < 1:
            return 0
        attempts = await self.unknowns.due(limit, _AGAIN_AFTER_MS)
        for attempt in attempts:
            await self._look(attempt)
        return len(attempts)

    async def _look(self, attempt: UnknownAttempt) -> None:
        message = _read(attempt)
        finding: Finding = Unclear("unreadable")
        requests = 0
        if message is not None and (sender := self.settings.senders.get(message.sender)) is not None:
            before = self.lists.budget.left
            finding = await self._find(attempt, message, sender)
            requests = before - self.lists.budget.left
        self.reports.meter.searched(_word(finding), max(0, requests))
        if message is None:
            # Without a readable job nothing could be sent again: a person has to look at it.
            await self._resolve(attempt, SettleUnresolved(Reason.HELD_BY_RULE, "unreadable"))
        elif isinstance(finding, Found):
            await self._bind(attempt, message, finding.row)
        elif (verdict := follow_rule(attempt, message.purpose, finding, self.rules.policy)) is not None:
            await self._resolve(attempt, verdict)

    async def _find(self, attempt: UnknownAttempt, message: SendMessage, sender: Sender) -> Finding:
        account = self.settings.accounts.get(sender.account)
        if account is None or attempt.listing != listing_of(account.account_sid, sender.address):
            # It went out from elsewhere, as far as anyone knows: nothing that this list shows or lacks is about it.
            return Unclear("sender")
        try:
            # First the proof, then the list it vouches for.
            is_proven = self._may_conclude(attempt) and await self.lists.is_proven(attempt, sender, message.address)
            listing = await self.lists.read(sender, message.to, attempt.intent_at - DOUBT)
        except ReadFailed as failure:
            self.reports.log.info("evidence_unread", message_id=attempt.message_id, http=failure.status)
            return Unclear("incomplete")
        if listing is None:
            return Unclear("incomplete")
        # In this order: who proves itself in between is bound by the time its SID is looked up.
        rivals = await self.unknowns.rivals(attempt.person_digest, attempt.message_id, attempt.intent_at - REACH)
        owners = await self.lists.owners(listing)
        return examine(
            _sought(attempt, message, self.settings),
            listing.rows,
            owners,
            rivals=None if rivals is None else [_sought(rival, _read(rival), self.settings) for rival in rivals],
            is_complete=listing.is_complete,
            is_proven=is_proven or bool(witnesses(listing.rows, owners, attempt.intent_at, message.address)),
        )

    def _may_conclude(self, attempt: UnknownAttempt) -> bool:
        """Whether absence would decide anything yet: proving a list costs requests."""
        since = attempt.now - attempt.intent_at
        return attempt.on_unknown is OnUnknown.RESEND_IF_ABSENT and since >= self.rules.policy.absent_after

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


def _sought(attempt: UnknownAttempt | RivalAttempt, message: SendMessage | None, settings: Settings) -> Sought:
    """Return what an attempt looks like at Twilio; without a readable job it could be anything."""
    freeform, template = (message.freeform, message.template) if message else (None, None)
    was_template = attempt.was_template
    may_be_template = message is None or (was_template if was_template is not None else template is not None)
    content_sid = attempt.content_sid if isinstance(attempt, UnknownAttempt) else None
    return Sought(
        message_id=attempt.message_id,
        attempt=attempt.attempt,
        to=message.to if message else "",
        intent_at=attempt.intent_at,
        body=freeform.body if freeform and not was_template else None,
        may_be_template=may_be_template,
        template_text=template_text(template, content_sid, settings) if template and may_be_template else None,
        may_have_media=freeform is None or freeform.media_url is not None,
    )


def _read(attempt: UnknownAttempt | RivalAttempt) -> SendMessage | None:
    try:
        return decode_job(attempt.payload or b"", attempt.message_id)
    except UnreadableJob:
        return None


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
