"""One run of a message through the pipeline: what it requests and records in Redis. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from policies.decision import Decision, FreeformContent, Send, TemplateContent
from policies.error_catalogue import ErrorEntry
from policies.facts import Draft
from sendwindow.contract import SendMessage
from sendwindow.vocabulary import Category, Channel, Reason
from worker.pipeline.outcomes import AttemptEnd, Outcome
from worker.ports.admissions import AdmitRequest, Charge, Permit
from worker.ports.claims import ClaimedMessage
from worker.ports.settlements import SettleAgain, SettleEnd, Settlement
from worker.ports.stored_facts import StoredFacts
from worker.settings.schema import SenderSettings
from worker.twilio.requests import MIN_VALIDITY, Route

_KNOWN_FOR: Final = timedelta(minutes=30)
_MIN_HANDOVER: Final = timedelta(seconds=15)
_MAX_HANDOVER: Final = timedelta(seconds=60)
_NOT_HERE: Final = (Reason.UNKNOWN_TEMPLATE, Reason.TEMPLATE_LANGUAGE)


@dataclass(slots=True, eq=False)
class InFlightMessage:
    """A claimed message, from its claim until its outcome is recorded.

    `store_now`: the store's clock at `read_at`. `read_at`: monotonic seconds of this process.
    `is_lost`: another worker has the lease now, so this worker starts nothing more for the message.
    `is_recording`: the outcome is on its way to Redis, which ends the lease.
    """

    claimed: ClaimedMessage
    store_now: datetime
    read_at: float
    is_lost: bool = False
    is_recording: bool = False

    def now(self, monotonic: float) -> datetime:
        """Return the store's clock at an instant of this process's monotonic clock.

        Never earlier than `store_now`.
        """
        return self.store_now + timedelta(seconds=max(0.0, monotonic - self.read_at))


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How an attempt ended, with what the recorder reports about it.

    `entry`: the catalogue's entry for Twilio's error code. `post_seconds`: how long the POST took.
    """

    settlement: Settlement
    decision: Decision | None = None
    entry: ErrorEntry | None = None
    post_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claimed message, its decoded job, and the facts that the decision is based on.

    `draft`: what the message asks for. `sender`: None when the settings have no such sender. `now`:
    the store's clock when the facts were read.
    """

    in_flight: InFlightMessage
    message: SendMessage
    draft: Draft
    sender: SenderSettings | None
    facts: StoredFacts
    now: datetime

    @property
    def account(self) -> str:
        """The sender's account, empty without a sender."""
        return self.sender.account if self.sender is not None else ""

    @property
    def is_unregistered(self) -> bool:
        """Whether Redis has lost the account of this sender.

        The facts are then about no account.
        """
        return self.sender is not None and not self.facts.registered

    @property
    def is_moved(self) -> bool:
        """Whether a process with other settings registered the sender with another account."""
        return self.sender is not None and self.facts.registered not in ("", self.account)

    @property
    def is_sender_elsewhere(self) -> bool:
        """Whether some process has the sender with the account that the facts are about.

        The process is alive, or was until recently.
        """
        return self._is_recent(self.facts.sender_known_at)

    @property
    def is_to_user_id(self) -> bool:
        """Whether the message goes to a WhatsApp user id instead of a phone number."""
        return self.draft.channel is Channel.WHATSAPP and not self.draft.to_is_phone

    @property
    def is_expired(self) -> bool:
        """Whether the message had expired when the facts were read."""
        return self.now >= self.in_flight.claimed.expires_at

    def admit_request(
        self, send: Send, person_cap: int, listing: str, charge: Charge
    ) -> AdmitRequest:
        """Return the request for a permit for the next attempt, with the revisions it relies on."""
        claimed, content = self.in_flight.claimed, send.content
        return AdmitRequest(
            message_id=claimed.message_id,
            fence=claimed.fence,
            attempt=claimed.attempts + 1,
            person_digest=self.facts.person_digest,
            sender=self.message.sender,
            account=self.account,
            template=_content_sid(send),
            seen=send.seen,
            valid_until=send.valid_until,
            reason=send.reason,
            trace=send.trace,
            person_cap=person_cap,
            relies_on_tag=isinstance(content, FreeformContent) and content.relies_on_tag,
            listing=listing,
            is_marketing=isinstance(content, TemplateContent)
            and content.category is Category.MARKETING,
            to_user_id=self.is_to_user_id,
            other_digests=self.facts.other_digests,
            charge=charge,
        )

    def configured_elsewhere(self, decision: Decision) -> Reason | None:
        """Return what the settings of this worker lack while those of other workers have it.

        None when nothing is missing, or when no living worker has the sender or template either.
        """
        if decision.reason is Reason.UNKNOWN_SENDER:
            return decision.reason if self.is_sender_elsewhere else None
        said = [one.detail for one in decision.trace.verdicts if one.rule == "template"]
        missing = next((reason for reason in _NOT_HERE if reason.value in said), None)
        return missing if self._is_recent(self.facts.template_known_at) else None

    def handover_delay(self, missing: Reason) -> timedelta:
        """Return how long to leave the message to other workers.

        The delay grows with the time since a worker that has the missing name was last seen.
        """
        facts = self.facts
        known_at = facts.template_known_at if missing in _NOT_HERE else facts.sender_known_at
        return min(max(self.now - (known_at or self.now), _MIN_HANDOVER), _MAX_HANDOVER)

    def _is_recent(self, known_at: datetime | None) -> bool:
        return known_at is not None and self.now < known_at + _KNOWN_FOR

    def start_by(self, send: Send, permit: Permit, monotonic: float) -> float:
        """Return the latest instant at which the POST may start, in monotonic seconds.

        It lies within the permit and the decision. Twilio's queue keeps a message for at least one
        second, so it also leaves the queue enough time to end before the message expires.
        """
        now = self.in_flight.now(monotonic)
        queue_end = send.trace.decided_at + send.validity_period
        left = min(send.valid_until - now, queue_end - now - MIN_VALIDITY)
        return min(permit.lapses_at, monotonic + left.total_seconds())

    def route(self, sender: SenderSettings, attempt: int) -> Route:
        """Return the sender and the recipient of an attempt, with what identifies the attempt."""
        return Route(
            account=sender.account,
            from_address=sender.address,
            to=self.message.to,
            messaging_service_sid=sender.messaging_service_sid,
            message_id=self.message.message_id,
            attempt=attempt,
            enqueued_at=self.in_flight.claimed.enqueued_at,
        )

    def ended(self, send: Send, now: datetime) -> AttemptEnd:
        """Return what `Outcomes.conclude` needs to know about the attempt."""
        claimed = self.in_flight.claimed
        return AttemptEnd(
            send=send,
            attempt=claimed.attempts + 1,
            tries=claimed.tries + 1,
            now=now,
            expires_at=claimed.expires_at,
            channel=self.draft.channel,
            to_user_id=self.is_to_user_id,
        )

    def concluded(self, result: SettleEnd | SettleAgain, decision: Decision | None) -> Conclusion:
        """Return the conclusion of an attempt without a POST."""
        outcome = Outcome(result, posted=False)
        return Conclusion(self.settlement(outcome, 0, decision), decision)

    def settlement(self, outcome: Outcome, attempt: int, decision: Decision | None) -> Settlement:
        """Return the settlement to record. `attempt` is 0 when there was no permit."""
        return Settlement(
            message_id=self.in_flight.claimed.message_id,
            fence=self.in_flight.claimed.fence,
            attempt=attempt,
            result=outcome.result,
            person_digest=self.facts.person_digest,
            sender=self.message.sender,
            account=self.account,
            template=_content_sid(decision),
            effects=outcome.effects,
            trace=decision.trace if decision is not None else None,
            posted=outcome.posted,
            answered=outcome.answered,
        )


def unreadable_settlement(in_flight: InFlightMessage, end: SettleEnd) -> Settlement:
    """Return the settlement of a job that could not be decoded. Its sender is unknown."""
    claimed = in_flight.claimed
    return Settlement(
        message_id=claimed.message_id,
        fence=claimed.fence,
        attempt=0,
        result=end,
        person_digest=claimed.facts.person_digest,
        sender="",
        account="",
    )


def _content_sid(decision: Decision | None) -> str | None:
    if isinstance(decision, Send) and isinstance(decision.content, TemplateContent):
        return decision.content.content_sid
    return None
