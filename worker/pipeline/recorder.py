"""Records what the pipeline does: the journal, metrics and one log line per attempt.

It writes ids, reasons and codes only.
"""

from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from policies.decision import Decision, FreeformContent, Refuse, Send, TemplateContent, Wait
from sendwindow.contract import SendMessage
from sendwindow.vocabulary import Reason, Stage
from worker.pipeline.attempt import Conclusion
from worker.ports.admissions import Permit
from worker.ports.arq_ingress import Unreadable
from worker.ports.claims import ClaimBatch, Reaped
from worker.ports.pipeline_metrics import PipelineMetrics
from worker.ports.posts import Accepted, NotSent, Rejected, Reply, Unproven
from worker.ports.settlements import (
    BreakerChange,
    Result,
    SettleAccepted,
    SettleAgain,
    Settled,
    SettleEnd,
    Settlement,
    SettleUnknown,
)
from worker.telemetry.journal import Journal

_WORDS: Final = {Send: "send", Wait: "wait", Refuse: "refuse"}
_REPLIES: Final = {
    Accepted: "accepted",
    Rejected: "rejected",
    NotSent: "not_sent",
    Unproven: "unproven",
}


@dataclass(frozen=True, slots=True)
class Observers:
    """The journal, the metrics and the log that a recorder writes to."""

    journal: Journal
    metrics: PipelineMetrics
    log: FilteringBoundLogger


class Recorder:
    """Writes each step to the journal first, so that a crash right after the step is explained."""

    def __init__(self, observers: Observers) -> None:
        self._journal = observers.journal
        self._metrics = observers.metrics
        self._log = observers.log
        self._left: set[tuple[str, str | None, Reason]] = set()

    @property
    def cannot_write(self) -> bool:
        """Whether the journal cannot be written now.

        The worker then claims and posts nothing, because there would be no proof of it.
        """
        return self._journal.problem is not None

    async def catch_up(self) -> None:
        """Write the lines that the journal lacks. Raises OSError if that still fails."""
        self._journal.catch_up()

    def claimed(self, batch: ClaimBatch, *, open_posts: int, held: int) -> None:
        """Record a claim.

        `open_posts`: how many POSTs this worker has open. `held`: how many messages are in flight.
        """
        if batch.claimed:
            self._metrics.claimed(len(batch.claimed))
        self._metrics.in_flight(open_posts, held)
        if self._journal.is_on:
            for message in batch.claimed:
                self._journal.write("claimed", id=message.message_id, fence=message.fence)
        for message_id in batch.in_unknown_stage:
            self._unknown_stage(message_id)

    def decided(self, message_id: str, decision: Decision) -> None:
        """Record a decision."""
        word = _WORDS[type(decision)]
        self._metrics.decided(word, decision.reason)
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
        """Record that the intent of an attempt is written."""
        if self._journal.is_on:
            self._journal.write(
                "intent", id=permit.message_id, attempt=permit.attempt, fence=permit.fence
            )

    def replied(
        self, permit: Permit, reply: Reply, *, seconds: float, since_enqueued: float
    ) -> None:
        """Record the reply to a POST."""
        word = _REPLIES[type(reply)]
        self._metrics.posted(word, seconds, since_enqueued)
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

    def settled(self, end: Conclusion, settled: Settled) -> None:
        """Record a settlement, and write the attempt's one log line.

        A settlement that came too late changed no stage: `settled.stage` is the stage that the
        message has now.
        """
        settlement, stage = end.settlement, settled.stage
        reason, code = reason_of(settlement.result), code_of(settlement.result)
        if stage is None:
            self._unrecorded(settlement, reason, code)
            return
        if stage is Stage.UNKNOWN and isinstance(settlement.result, SettleAccepted):
            # The store has this SID for another attempt, so the reply belonged to another POST.
            reason = Reason.OUTCOME_UNREADABLE
        if settled.breaker is not None:
            self._breaker_changed(settlement.account, settled.breaker, reason)
        if settled.has_copy:
            self._log.warning("duplicate", message_id=settlement.message_id)
        if settled.applied:
            self._metrics.settled(stage, reason)
        if self._journal.is_on:
            self._journal.write(
                "settled",
                id=settlement.message_id,
                attempt=settlement.attempt,
                stage=stage,
                reason=reason,
                code=code,
                applied=settled.applied,
            )
        self._log_attempt(end, stage, reason, is_late=not settled.applied)

    def _log_attempt(self, end: Conclusion, stage: Stage, reason: Reason, *, is_late: bool) -> None:
        settlement, decision, seconds = end.settlement, end.decision, end.post_seconds
        needs_alert = end.entry is not None and end.entry.needs_alert
        write = self._log.warning if needs_alert else self._log.info
        write(
            "attempt",
            message_id=settlement.message_id,
            attempt=settlement.attempt,
            decision=None if decision is None else _WORDS[type(decision)],
            why=None if decision is None else decision.reason.value,
            stage=stage.value,
            reason=reason.value,
            code=code_of(settlement.result),
            sender=settlement.sender,
            post_ms=None if seconds is None else round(seconds * 1000, 1),
            late=is_late,
        )

    def _unrecorded(self, settlement: Settlement, reason: Reason, code: int | None) -> None:
        """Log an error, because the store lost the message and could not record its result.

        The journal gets no `settled` line, because the stage of the message is not known. Journal
        and log get what the worker knows.
        """
        result = settlement.result
        sid = result.message_sid if isinstance(result, SettleAccepted) else None
        told = {"attempt": settlement.attempt, "reason": reason.value, "code": code, "sid": sid}
        self._journal.write("unrecorded", id=settlement.message_id, **told)
        self._log.error(
            "unrecorded", message_id=settlement.message_id, sender=settlement.sender, **told
        )

    def reaped(self, reaped: Reaped) -> None:
        """Record a message whose lease ran out. The lease may have been this worker's own."""
        self._metrics.reaped(reaped.stage)
        self._journal.write(
            "reaped", id=reaped.message_id, stage=reaped.stage, attempt=reaped.attempt
        )
        self._log.warning(
            "reaped", message_id=reaped.message_id, stage=reaped.stage.value, attempt=reaped.attempt
        )

    def unreadable(self, unreadable: Unreadable) -> None:
        """Record a job of a plain arq producer that became a dead letter.

        Its producer never learns of this.
        """
        stage, reason = Stage.DEAD, Reason.UNREADABLE
        self._metrics.settled(stage, reason)
        self._journal.write(
            "ended", id=unreadable.message_id, stage=stage, reason=reason, code=None
        )
        self._log.warning("unreadable", message_id=unreadable.message_id, cause=unreadable.cause)

    def released(self, message_id: str, stage: Stage | None) -> None:
        """Record that a released message ended, because its cancellation was requested."""
        if stage is Stage.CANCELLED:
            self._metrics.settled(stage, Reason.CANCELLED)
            self._journal.write(
                "ended", id=message_id, stage=stage, reason=Reason.CANCELLED, code=None
            )

    def configured_elsewhere(self, message: SendMessage, missing: Reason) -> None:
        """Log, once for each name, that messages are left to workers with newer settings."""
        template = message.template.name if message.template is not None else None
        told = (message.sender, template, missing)
        if told not in self._left:
            self._left.add(told)
            self._log.warning(
                "configured_elsewhere",
                sender=message.sender,
                template=template,
                reason=missing.value,
            )

    def _unknown_stage(self, message_id: str) -> None:
        """Log that a message is left to workers of a newer version.

        The store reports each such message once.
        """
        self._log.warning(
            "unknown_stage",
            message_id=message_id,
            remedy="run workers of the version that wrote it",
        )

    def cut_off(self, detail: str) -> None:
        """Record that the worker's own breaker opened. `detail`: how the last POST failed."""
        self._metrics.cut_off(is_open=True)
        self._log.warning("breaker_opened", breaker="worker", account=None, detail=detail)

    def connected(self, seconds: float) -> None:
        """Record that the worker's own breaker closed after some seconds."""
        self._metrics.cut_off(is_open=False)
        self._log.info("breaker_closed", breaker="worker", account=None, seconds=round(seconds, 1))

    def _breaker_changed(self, account: str, change: BreakerChange, reason: Reason) -> None:
        if change.is_open:
            self._log.warning(
                "breaker_opened", breaker="account", account=account, detail=reason.value
            )
            return
        seconds = round(change.was_open_for.total_seconds(), 1)
        self._log.info("breaker_closed", breaker="account", account=account, seconds=seconds)

    def lost(self, message_id: str) -> None:
        """Record that another worker has the lease of a message that was in flight here."""
        self._metrics.lease_lost(1)
        self._log.warning("lease_lost", message_id=message_id)


def reason_of(result: Result) -> Reason:
    """Return the reason of a result."""
    return Reason.ACCEPTED if isinstance(result, SettleAccepted) else result.reason


def code_of(result: Result) -> int | None:
    """Return the provider's code of a result, None without one."""
    match result:
        case SettleAgain() | SettleEnd() | SettleUnknown():
            return result.code
        case SettleAccepted():
            return None


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
