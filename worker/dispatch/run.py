"""One message in the pipe, and what it asks and tells the store. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from policies.decision import Decision, FreeformContent, Send, TemplateContent
from sendwindow.contract import SendMessage
from sendwindow.vocabulary import Category, Channel, Reason
from worker.dispatch.held import Held
from worker.dispatch.outcomes import Outcome, Tried
from worker.settings import Sender
from worker.twilio.requests import SHORTEST_VALIDITY, Route
from worker.values.admissions import AdmitRequest, Permit
from worker.values.facts import StoredFacts
from worker.values.settlements import SettleEnd, Settlement

_KNOWN_FOR: Final = timedelta(minutes=30)
_LEFT_AT_LEAST: Final = timedelta(seconds=15)
_LEFT_AT_MOST: Final = timedelta(seconds=60)
_NOT_HERE: Final = (Reason.UNKNOWN_TEMPLATE, Reason.TEMPLATE_LANGUAGE)


@dataclass(frozen=True, slots=True)
class Run:
    """What is held, what it says, and with which facts it is decided. `sender` None: no such sender is configured."""

    held: Held
    message: SendMessage
    sender: Sender | None
    facts: StoredFacts
    now: datetime

    @property
    def account(self) -> str:
        """The sender's account, empty without a sender."""
        return self.sender.account if self.sender is not None else ""

    @property
    def is_unregistered(self) -> bool:
        """Whether the store lost whose sender this is, which is known here: the facts are then of no account."""
        return self.sender is not None and not self.facts.registered

    @property
    def is_moved(self) -> bool:
        """Whether a process of another configuration registered the sender with another account than is known here."""
        return self.sender is not None and self.facts.registered not in ("", self.account)

    @property
    def is_sender_elsewhere(self) -> bool:
        """Whether somebody who lives, or did until lately, knows the sender by the account the facts are of."""
        return self._is_recent(self.facts.sender_known_at)

    @property
    def is_to_user_id(self) -> bool:
        """Whether it goes to a WhatsApp user id instead of a phone number."""
        address = self.message.address
        return address.channel is Channel.WHATSAPP and not address.is_phone

    @property
    def is_expired(self) -> bool:
        """Whether its time was over when the facts were read."""
        return self.now >= self.held.claimed.expires_at

    def ask(self, send: Send, person_cap: int, listing: str) -> AdmitRequest:
        """Ask for a permit for the next attempt, on what the decision saw."""
        claimed, content = self.held.claimed, send.content
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
            is_marketing=isinstance(content, TemplateContent) and content.category is Category.MARKETING,
            to_user_id=self.is_to_user_id,
            other_digests=self.facts.other_digests,
        )

    def configured_elsewhere(self, decision: Decision) -> Reason | None:
        """Say what stands in the way here alone: others have sender or template in their settings."""
        if decision.reason is Reason.UNKNOWN_SENDER:
            return decision.reason if self.is_sender_elsewhere else None
        said = [one.detail for one in decision.trace.verdicts if one.rule == "template"]
        missing = next((reason for reason in _NOT_HERE if reason.value in said), None)
        return missing if self._is_recent(self.facts.template_known_at) else None

    def left_for(self, missing: Reason) -> timedelta:
        """Say how long to leave it to others: about as long as nobody was seen who knows what is missing."""
        facts = self.facts
        known_at = facts.template_known_at if missing in _NOT_HERE else facts.sender_known_at
        return min(max(self.now - (known_at or self.now), _LEFT_AT_LEAST), _LEFT_AT_MOST)

    def _is_recent(self, known_at: datetime | None) -> bool:
        return known_at is not None and self.now < known_at + _KNOWN_FOR

    def start_by(self, send: Send, permit: Permit, monotonic: float) -> float:
        """Say until when the POST may start, in monotonic seconds.

        Not beyond the permit, not beyond what the decision allows, and so that Twilio's queue, which keeps a message
        for one second at the least, still ends in time.
        """
        now = self.held.now(monotonic)
        queue_end = send.trace.decided_at + send.validity_period
        left = min(send.valid_until - now, queue_end - now - SHORTEST_VALIDITY)
        return min(permit.lapses_at, monotonic + left.total_seconds())

    def route(self, sender: Sender, attempt: int) -> Route:
        """Say from whom to whom an attempt goes."""
        return Route(
            account=sender.account,
            from_address=sender.address,
            to=self.message.to,
            messaging_service_sid=sender.messaging_service_sid,
            message_id=self.message.message_id,
            attempt=attempt,
            enqueued_at=self.held.claimed.enqueued_at,
        )

    def tried(self, send: Send, now: datetime) -> Tried:
        """Say what was tried, for the conclusion."""
        claimed = self.held.claimed
        return Tried(
            send=send,
            attempt=claimed.attempts + 1,
            tries=claimed.tries + 1,
            now=now,
            expires_at=claimed.expires_at,
            channel=self.message.address.channel,
            to_user_id=self.is_to_user_id,
        )

    def settlement(self, outcome: Outcome, attempt: int, decision: Decision | None) -> Settlement:
        """Say what to record. `attempt` 0: there was no permit."""
        return Settlement(
            message_id=self.held.claimed.message_id,
            fence=self.held.claimed.fence,
            attempt=attempt,
            result=outcome.result,
            person_digest=self.facts.person_digest,
            sender=self.message.sender,
            account=self.account,
            template=_content_sid(decision),
            effects=outcome.effects,
            trace=decision.trace if decision is not None else None,
            posted=outcome.posted,
        )


def _content_sid(decision: Decision | None) -> str | None:
    if isinstance(decision, Send) and isinstance(decision.content, TemplateContent):
        return decision.content.content_sid
    return None


def unread(held: Held, end: SettleEnd) -> Settlement:
    """Say what to record of a job that nobody could read: it does not tell from whom it is."""
    claimed = held.claimed
    return Settlement(
        message_id=claimed.message_id,
        fence=claimed.fence,
        attempt=0,
        result=end,
        person_digest=claimed.facts.person_digest,
        sender="",
        account="",
    )
