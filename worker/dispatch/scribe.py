"""Writes down what the pipe does: journal, metrics and one log line an attempt. Ids, reasons and codes only."""

from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from policies.decision import Decision, FreeformContent, Refuse, Send, TemplateContent, Wait
from policies.errors import ErrorEntry
from sendwindow.contract import SendMessage
from sendwindow.vocabulary import Reason, Stage
from worker.dispatch.meter import Meter
from worker.journal import Journal
from worker.values.admissions import Permit
from worker.values.adoptions import Unreadable
from worker.values.claims import Claimed, Reaped
from worker.values.posts import Accepted, NotSent, Rejected, Reply, Unproven
from worker.values.settlements import Result, SettleAccepted, SettleAgain, Settled, SettleEnd, Settlement, SettleUnknown

_WORDS: Final = {Send: "send", Wait: "wait", Refuse: "refuse"}
_REPLIES: Final = {Accepted: "accepted", Rejected: "rejected", NotSent: "not_sent", Unproven: "unproven"}


@dataclass(frozen=True, slots=True)
class Reports:
    """Where the dispatch says what it does."""

    journal: Journal
    meter: Meter
    log: FilteringBoundLogger


class Scribe:
    """Writes each step to the journal before anything else, so that a crash right after it is explained."""

    def __init__(self, reports: Reports) -> None:
        self._journal = reports.journal
        self._meter = reports.meter
        self._log = reports.log
        self._left: set[tuple[str, str | None, Reason]] = set()

    @property
    def is_mute(self) -> bool:
        """Whether the journal cannot be written now. Nothing is claimed or posted then: it would be without proof."""
        return self._journal.problem is not None

    async def catch_up(self) -> None:
        """Write what the journal lacks. Raises OSError when it still cannot be written."""
        self._journal.catch_up()

    def claimed(self, messages: tuple[Claimed, ...]) -> None:
        """Note a claim."""
        self._meter.claimed(len(messages))
        if self._journal.is_on:
            for message in messages:
                self._journal.write("claimed", id=message.message_id, fence=message.fence)

    def decided(self, message_id: str, decision: Decision) -> None:
        """Note a decision."""
        word = _WORDS[type(decision)]
        self._meter.decided(word, decision.reason)
        if self._journal.is_on:
            self._journal.write(
                "decided",
                id=message_id,
                decision=word,
                reason=decision.reason,
                form=_form(decision),
                policy=decision.trace.policy_version,
            )

    def permitted(self, permit: Permit) -> None:
        """Note that the intent of an attempt is written."""
        self._journal.write("intent", id=permit.message_id, attempt=permit.attempt, fence=permit.fence)

    def replied(self, permit: Permit, reply: Reply, *, seconds: float, since_enqueued: float) -> None:
        """Note what came back of a POST."""
        word = _REPLIES[type(reply)]
        self._meter.posted(word, seconds, since_enqueued)
        if self._journal.is_on:
            self._journal.write(
                "replied",
                id=permit.message_id,
                attempt=permit.attempt,
                reply=word,
                sid=reply.message_sid if isinstance(reply, Accepted) else None,
                code=reply.code if isinstance(reply, Rejected | Unproven) else None,
                http=None if isinstance(reply, NotSent) else reply.http_status,
            )

    def settled(
        self,
        settlement: Settlement,
        settled: Settled,
        *,
        decision: Decision | None,
        entry: ErrorEntry | None,
        seconds: float | None,
    ) -> None:
        """Note what was recorded, and write the attempt's one log line. `seconds`: how long the POST took.

        A settlement that came too late led nowhere: its stage is where the message stands by now.
        """
        reason, code = reason_of(settlement.result), code_of(settlement.result)
        if settled.stage is None:
            self._unrecorded(settlement, reason, code)
            return
        if settled.stage is Stage.UNKNOWN and isinstance(settlement.result, SettleAccepted):
            # The store knows the SID as another attempt's: the reply answered some other POST.
            reason = Reason.OUTCOME_UNREADABLE
        if settled.has_copy:
            self._log.warning("duplicate", message_id=settlement.message_id)
        if settled.applied:
            self._meter.settled(settled.stage, reason)
        if self._journal.is_on:
            self._journal.write(
                "settled",
                id=settlement.message_id,
                attempt=settlement.attempt,
                stage=settled.stage,
                reason=reason,
                code=code,
                applied=settled.applied,
            )
        write = self._log.warning if entry is not None and entry.needs_alert else self._log.info
        write(
            "attempt",
            message_id=settlement.message_id,
            attempt=settlement.attempt,
            decision=None if decision is None else _WORDS[type(decision)],
            why=None if decision is None else decision.reason.value,
            stage=settled.stage.value,
            reason=reason.value,
            code=code,
            sender=settlement.sender,
            post_ms=None if seconds is None else round(seconds * 1000, 1),
            late=not settled.applied,
        )

    def _unrecorded(self, settlement: Settlement, reason: Reason, code: int | None) -> None:
        """Say loudly that a result could not be recorded: its message is not in the store, which has lost it.

        No `settled` is journalled: nothing says where the message stands. What the worker knows goes into both.
        """
        result = settlement.result
        sid = result.message_sid if isinstance(result, SettleAccepted) else None
        told = {"attempt": settlement.attempt, "reason": reason.value, "code": code, "sid": sid}
        self._journal.write("unrecorded", id=settlement.message_id, **told)
        self._log.error("unrecorded", message_id=settlement.message_id, sender=settlement.sender, **told)

    def reaped(self, reaped: Reaped) -> None:
        """Note a message whose lease ran out, its own worker's included."""
        self._meter.reaped(reaped.stage)
        self._journal.write("reaped", id=reaped.message_id, stage=reaped.stage, attempt=reaped.attempt)
        self._log.warning("reaped", message_id=reaped.message_id, stage=reaped.stage.value, attempt=reaped.attempt)

    def unreadable(self, unreadable: Unreadable) -> None:
        """Note a job of a plain arq producer that became a dead letter: its producer is never told."""
        stage, reason = Stage.DEAD, Reason.UNREADABLE
        self._meter.settled(stage, reason)
        self._journal.write("ended", id=unreadable.message_id, stage=stage, reason=reason, code=None)
        self._log.warning("unreadable", message_id=unreadable.message_id, cause=unreadable.cause)

    def released(self, message_id: str, stage: Stage | None) -> None:
        """Note that a message given back has ended: somebody had asked to cancel it."""
        if stage is Stage.CANCELLED:
            self._meter.settled(stage, Reason.CANCELLED)
            self._journal.write("ended", id=message_id, stage=stage, reason=Reason.CANCELLED, code=None)

    def configured_elsewhere(self, message: SendMessage, missing: Reason) -> None:
        """Note, once for each name, that messages are left to workers with newer settings."""
        template = message.template.name if message.template is not None else None
        told = (message.sender, template, missing)
        if told not in self._left:
            self._left.add(told)
            self._log.warning("configured_elsewhere", sender=message.sender, template=template, reason=missing.value)

    def unknown_stage(self, message_id: str) -> None:
        """Note, once for each message, that it is left to workers of a newer version."""
        self._log.warning("unknown_stage", message_id=message_id, remedy="run workers of the version that wrote it")

    def lost(self, message_id: str) -> None:
        """Note that a held message is another worker's now."""
        self._meter.lease_lost(1)
        self._log.warning("lease_lost", message_id=message_id)


def reason_of(result: Result) -> Reason:
    """Name the reason of a result."""
    return Reason.ACCEPTED if isinstance(result, SettleAccepted) else result.reason


def code_of(result: Result) -> int | None:
    """Name the provider's code of a result, None without one."""
    match result:
        case SettleAgain() | SettleEnd() | SettleUnknown():
            return result.code
        case SettleAccepted():
            return None


def stage_of(result: Result) -> Stage:
    """Name the stage a result leads to."""
    match result:
        case SettleAgain() | SettleEnd():
            return result.stage
        case SettleUnknown():
            return Stage.UNKNOWN
        case SettleAccepted():
            return Stage.ACCEPTED


def _form(decision: Decision) -> str:
    if not isinstance(decision, Send):
        return "none"
    match decision.content:
        case TemplateContent():
            return "template"
        case FreeformContent(relies_on_tag=True):
            return "tag"
        case FreeformContent():
            return "freeform"
