"""Looks for evidence of attempts whose outcome nobody proved, and applies the message's rule."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol, assert_never

from policies.rules import Rules
from policies.unknown import Evidence, UnknownAction, UnknownStep, next_step
from sendwindow.codec import decode_job
from sendwindow.contract import SendMessage
from sendwindow.errors import UnreadableJob
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from worker.dispatch.budget import Budget
from worker.dispatch.evidence import DOUBT, Absent, Finding, Found, Owner, Sought, Unclear, examine, witnesses
from worker.dispatch.reported import Reported, apply_reported
from worker.dispatch.scribe import Reports
from worker.ports import Statuses, Unknowns
from worker.settings import Sender, Settings
from worker.twilio.client import ReadFailed
from worker.twilio.messages import Listing, MessageRow
from worker.values import (
    Resolution,
    RivalAttempt,
    SettleAgain,
    SettleEnd,
    SettleUnknown,
    SettleUnresolved,
    UnknownAttempt,
)

BATCH: Final = 20
"""Attempts looked at in one turn."""

_AGAIN_AFTER_MS: Final = 30_000
"""An attempt taken and not resolved, because its worker died or the budget ran out, comes back after this."""

_SHORTEST_LOOK: Final = timedelta(seconds=5)
_TRUST_LASTS: Final = timedelta(minutes=10)
_MAX_PAGES: Final = 5
_REQUESTS_EACH: Final = 3
"""Two to prove a sender's list, one for the attempt's own; more pages are rare and go into debt."""


class Reader(Protocol):
    """What the search wants of the Twilio client."""

    async def list_messages(
        self, account: str, *, to: str | None, from_address: str, since: datetime, max_requests: int
    ) -> Listing:
        """List messages; raises ReadFailed."""
        ...

    async def fetch(self, account: str, message_sid: str) -> MessageRow | None:
        """Fetch one message; raises ReadFailed."""
        ...


@dataclass(frozen=True, slots=True)
class _Trust:
    """At `seen_at` (store's clock) a sender's list showed a message of ours created at `reaches` (Twilio's)."""

    reaches: datetime
    seen_at: datetime


@dataclass(slots=True)
class Search:
    """Searches for unknown attempts. Any worker may take a turn; the store hands each attempt out once."""

    settings: Settings
    rules: Rules
    unknowns: Unknowns
    statuses: Statuses
    twilio: Reader
    budget: Budget
    reports: Reports
    trusted: dict[str, _Trust] = field(default_factory=dict)

    async def turn(self) -> int:
        """Look at the attempts that are due, as far as the budget goes; answers how many. Raises what the store raises.

        What the budget does not reach stays due: no rule is applied to an attempt nobody looked for.
        """
        limit = min(BATCH, self.budget.left // _REQUESTS_EACH)
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
            before = self.budget.left
            finding = await self._find(attempt, message, sender)
            requests = before - self.budget.left
        self.reports.meter.searched(_word(finding), max(0, requests))
        if message is None:
            # Without a readable job nothing could be sent again: a person has to look at it.
            await self._resolve(attempt, SettleUnresolved(Reason.HELD_BY_RULE, "unreadable"))
        elif isinstance(finding, Found):
            await self._bind(attempt, message, finding.row)
        else:
            await self._follow_rule(attempt, message, finding)

    # -- evidence ------------------------------------------------------------------------------

    async def _find(self, attempt: UnknownAttempt, message: SendMessage, sender: Sender) -> Finding:
        try:
            # First the proof, then the list it vouches for.
            is_proven = self._may_conclude(attempt) and await self._is_proven(attempt, sender)
            listing = await self._list(sender, message.to, attempt.intent_at - DOUBT)
        except ReadFailed as failure:
            self.reports.log.info("evidence_unread", message_id=attempt.message_id, http=failure.status)
            return Unclear("incomplete")
        if listing is None:
            return Unclear("incomplete")
        # In this order: who proves itself in between is bound by the time its SID is looked up.
        rivals = await self.unknowns.rivals(attempt.person_digest, attempt.message_id)
        owners = await self._owners(listing)
        return examine(
            _sought(attempt, message),
            listing.rows,
            owners,
            rivals=[_sought(rival, _read(rival)) for rival in rivals],
            is_complete=listing.is_complete,
            is_proven=is_proven or bool(witnesses(listing.rows, owners, attempt.intent_at)),
        )

    def _may_conclude(self, attempt: UnknownAttempt) -> bool:
        """Whether absence would decide anything yet: proving a list costs requests."""
        since = attempt.now - attempt.intent_at
        return attempt.on_unknown is OnUnknown.RESEND_IF_ABSENT and since >= self.rules.policy.absent_after

    async def _is_proven(self, attempt: UnknownAttempt, sender: Sender) -> bool:
        """Whether the sender's lists show messages created since the intent: a known one must show under its own To."""
        trust = self.trusted.get(sender.name)
        if trust and trust.reaches >= attempt.intent_at and attempt.now - trust.seen_at < _TRUST_LASTS:
            return True
        latest = await self._list(sender, None, attempt.intent_at, pages=1)
        if latest is None:
            return False
        known = witnesses(latest.rows, await self._owners(latest), attempt.intent_at)
        if not known:
            return False
        witness = max(known, key=lambda row: row.created_at)
        theirs = await self._list(sender, witness.to, witness.created_at)
        if theirs is None or witness.message_sid not in {row.message_sid for row in theirs.rows}:
            self.trusted.pop(sender.name, None)
            self.reports.log.warning("list_not_trusted", sender=sender.name)
            return False
        self.trusted[sender.name] = _Trust(witness.created_at, attempt.now)
        return True

    async def _list(self, sender: Sender, to: str | None, since: datetime, pages: int = _MAX_PAGES) -> Listing | None:
        """List within the budget, None when nothing is left of it."""
        left = min(pages, self.budget.left)
        if left < 1:
            return None
        self.budget.spend(1)
        listing = await self.twilio.list_messages(
            sender.account, to=to, from_address=sender.address, since=since, max_requests=left
        )
        self.budget.spend(listing.requests - 1)
        return listing

    async def _owners(self, listing: Listing) -> dict[str, Owner]:
        sids = [row.message_sid for row in listing.rows]
        owners = await self.unknowns.owners(sids)
        return {sid: owner for sid, owner in zip(sids, owners, strict=True) if owner is not None}

    # -- what follows --------------------------------------------------------------------------

    async def _bind(self, attempt: UnknownAttempt, message: SendMessage, row: MessageRow) -> None:
        """Record the attempt as accepted under the SID that was found, with the status the list shows."""
        channel = message.address.channel
        reported = Reported(row, attempt.message_id, attempt.attempt, channel, Reason.EVIDENCE_LIST)
        applied = await apply_reported(self.statuses, reported, self.rules)
        self._note(attempt, Reason.EVIDENCE_LIST, Stage.ACCEPTED, sid=row.message_sid, acted=applied.resolved)

    async def _follow_rule(self, attempt: UnknownAttempt, message: SendMessage, finding: Absent | Unclear) -> None:
        since = attempt.now - attempt.intent_at
        step = next_step(attempt.on_unknown, message.purpose, _evidence(finding), since, self.rules.policy)
        result = _result(attempt, step, finding)
        if result is not None:
            await self._resolve(attempt, result)

    async def _resolve(
        self, attempt: UnknownAttempt, result: SettleAgain | SettleEnd | SettleUnknown | SettleUnresolved
    ) -> None:
        [acted] = await self.unknowns.resolve([Resolution(attempt.message_id, attempt.attempt, result)])
        if not isinstance(result, SettleUnknown):
            stage = Stage.UNRESOLVED if isinstance(result, SettleUnresolved) else result.stage
            self._note(attempt, result.reason, stage, sid=None, acted=acted)

    def _note(self, attempt: UnknownAttempt, reason: Reason, stage: Stage, *, sid: str | None, acted: bool) -> None:
        if not acted:
            return
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


def _sought(attempt: UnknownAttempt | RivalAttempt, message: SendMessage | None) -> Sought:
    """Say what an attempt looks like at Twilio; without a readable job it could be anything."""
    freeform, template = (message.freeform, message.template) if message else (None, None)
    may_be_template = attempt.was_template if attempt.was_template is not None else template is not None
    return Sought(
        message_id=attempt.message_id,
        attempt=attempt.attempt,
        to=message.to if message else "",
        intent_at=attempt.intent_at,
        body=freeform.body if freeform else None,
        may_be_template=may_be_template or message is None,
    )


def _read(attempt: UnknownAttempt | RivalAttempt) -> SendMessage | None:
    try:
        return decode_job(attempt.payload or b"", attempt.message_id)
    except UnreadableJob:
        return None


def _evidence(finding: Absent | Unclear) -> Evidence:
    """Translate for the rule. What could not be read may be read later; what leaves doubt needs a person."""
    if isinstance(finding, Absent):
        return Evidence.ABSENT
    return Evidence.NONE if finding.why == "incomplete" else Evidence.UNPROVEN_LIST


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


def _result(
    attempt: UnknownAttempt, step: UnknownStep, finding: Absent | Unclear
) -> SettleAgain | SettleEnd | SettleUnknown | SettleUnresolved | None:
    why = finding.why if isinstance(finding, Unclear) else "absent"
    match step.action:
        case UnknownAction.LOOK:
            # Soon at first, then ever later: what Twilio took shows within seconds or not for long.
            after = min(step.after, max(_SHORTEST_LOOK, attempt.now - attempt.intent_at))
            return SettleUnknown(attempt.reason, why, int(after / timedelta(milliseconds=1)))
        case UnknownAction.RESEND:
            return SettleAgain(Stage.RETRYING, Reason.RESENT_BY_RULE, sentence=f"evidence: {why}")
        case UnknownAction.END:
            sentence = "It may have gone out; its rule forbids to send it again."
            return SettleEnd(Stage.DEAD, Reason.NEVER_BY_RULE, sentence=sentence)
        case UnknownAction.HOLD:
            return SettleUnresolved(Reason.HELD_BY_RULE, why)
        case UnknownAction.BIND:
            return None
        case _:
            assert_never(step.action)
