"""The path of one message through a worker: read, decide, admit, post, settle.

`Pipeline._steps` is that path. Each step returns what the next one needs, or a `Conclusion` when no
further step follows. `Pipeline.process` records the conclusion.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, assert_never

from policies.decide import decide
from policies.decision import Decision, Refuse, Send, Wait
from policies.ruleset import Ruleset
from sendwindow.codec import decode_job
from sendwindow.errors import UnreadableJob
from sendwindow.vocabulary import Reason, Stage
from worker.pipeline.account_gate import AccountGate
from worker.pipeline.attempt import Attempt, Conclusion, InFlightMessage, unreadable_settlement
from worker.pipeline.charges import charge_of
from worker.pipeline.decision_inputs import join_facts, read_draft
from worker.pipeline.outcomes import HELD_BACK, Outcomes
from worker.pipeline.own_breaker import OwnBreaker
from worker.pipeline.recorder import Recorder
from worker.pipeline.slots import Slots
from worker.pipeline.store_retry import StoreRetry
from worker.ports.admissions import Admission, AdmitRequest, Cancelled, Later, Lost, Permit, Stale
from worker.ports.posts import CreateMessage, NotSent, Reply, Unproven
from worker.ports.settlements import SettleAgain, Settled, SettleEnd, Settlement
from worker.runtime.batcher import Batcher
from worker.settings.settings import Settings
from worker.twilio.replies import PERMIT_LAPSED
from worker.twilio.requests import build

MAX_DECISIONS: Final = 5
"""How often a worker decides a message because its facts keep changing, before it requeues it."""

_CHANGED_AGAIN_MS: Final = 100
_REGISTERED_AGAIN_MS: Final = 1000


class Poster(Protocol):
    """The part of the Twilio client that the pipeline needs."""

    async def create(self, message: CreateMessage, *, start_by: float | None = None) -> Reply:
        """POST one message, unless it cannot start by `start_by` (monotonic seconds).

        Never raises because of the network.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps of one message, and what they need.

    `monotonic`: the clock of permits, seconds. `listings`: for each sender, the name of the list in
    which Twilio shows its messages.
    """

    settings: Settings
    rules: Ruleset
    outcomes: Outcomes
    twilio: Poster
    admissions: Batcher[AdmitRequest, Admission]
    settlements: Batcher[Settlement, Settled]
    slots: Slots
    breaker: OwnBreaker
    gate: AccountGate
    store_retry: StoreRetry
    recorder: Recorder
    monotonic: Callable[[], float]
    listings: Mapping[str, str]

    async def process(self, in_flight: InFlightMessage) -> bool:
        """Take a claimed message through its steps and record how the attempt ended.

        Return False when nothing was done, because the slots were closed, the journal cannot be
        written or the worker cannot reach Twilio. The caller then releases the message.
        """
        account = in_flight.claimed.facts.registered
        if not await self.gate.enter(account, in_flight):
            return False
        try:
            return await self._run(in_flight)
        finally:
            self.gate.leave(account, in_flight)

    async def _run(self, in_flight: InFlightMessage) -> bool:
        if not await self.slots.acquire(in_flight.claimed.owner):
            return False
        try:
            may_begin = not self.recorder.cannot_write
            may_begin = may_begin and self.breaker.begin(in_flight, self.monotonic())
            end = await self._steps(in_flight) if may_begin else None
        finally:
            self.breaker.end(in_flight)
            # The POST is over, so the next one may begin while this one is recorded.
            self.slots.release(in_flight.claimed.owner)
        match end:
            case Conclusion():
                await self._settle(in_flight, end)
            case Lost():
                self._note_lost(in_flight)
            case None:
                return False
            case _:
                assert_never(end)
        return True

    async def _steps(self, in_flight: InFlightMessage) -> Conclusion | Lost | None:
        attempt = self._read(in_flight)
        if isinstance(attempt, Conclusion):
            return attempt
        for _ in range(MAX_DECISIONS):
            decided = self._decide(attempt)
            if self.recorder.cannot_write:
                return None
            if isinstance(decided, Conclusion):
                return decided
            admitted = await self._admit(attempt, decided)
            match admitted:
                case Conclusion() | Lost():
                    return admitted
                case Permit():
                    reply, seconds = await self._post(attempt, decided, admitted)
                    return self._conclude(attempt, decided, admitted, reply, seconds)
                case Stale():
                    attempt = replace(attempt, facts=admitted.facts, now=admitted.now)
                case _:
                    assert_never(admitted)
        return self._requeued(attempt, Reason.FACTS_CHANGED, delay_ms=_CHANGED_AGAIN_MS)

    # -- the steps -------------------------------------------------------------------------------

    def _read(self, in_flight: InFlightMessage) -> Attempt | Conclusion:
        """Decode the job and look up its sender in the settings."""
        claimed = in_flight.claimed
        try:
            message = decode_job(claimed.payload or b"", claimed.message_id)
        except UnreadableJob:
            return self._unreadable(in_flight)
        draft = read_draft(message, claimed.expires_at)
        sender = self.settings.senders.get(message.sender)
        now = in_flight.now(self.monotonic())
        attempt = Attempt(in_flight, message, draft, sender, claimed.facts, now)
        return self._cancelled(attempt, None) if claimed.cancel_asked else attempt

    def _decide(self, attempt: Attempt) -> Send | Conclusion:
        """Decide what may be sent now, on the facts of the claim or of a stale admission."""
        if attempt.is_unregistered and not attempt.is_expired:
            # Consent belongs to an account, so no consent was read. Every worker registers its
            # names again within seconds.
            return self._requeued(attempt, Reason.FACTS_CHANGED, delay_ms=_REGISTERED_AGAIN_MS)
        is_moved = attempt.is_moved
        if is_moved and attempt.is_sender_elsewhere and not attempt.is_expired:
            # The facts belong to the account that Redis has for this sender. Only workers that know
            # the sender by that account may send on them.
            return self._left_to_others(attempt, Reason.FACTS_CHANGED)
        facts = join_facts(attempt.message, attempt.facts, self.settings)
        if is_moved:
            # The account that we know has no such sender.
            facts = replace(facts, sender=None)
        decision = decide(attempt.draft, facts, self.rules.policy, attempt.now)
        self.recorder.decided(attempt.message.message_id, decision)
        if isinstance(decision, Send):
            return decision
        missing = attempt.configured_elsewhere(decision)
        if missing is not None:
            return self._left_to_others(attempt, missing)
        return self._not_sent(attempt, decision)

    async def _admit(self, attempt: Attempt, send: Send) -> Permit | Stale | Lost | Conclusion:
        """Request a permit until Redis replies.

        It is safe to repeat the request, because the same claim gets the same attempt. But if a
        repeated request returns a permit, the first request may have granted it and its reply was
        lost. A STOP may have waited until that permit lapsed. The permit therefore counts as
        lapsed, and the message goes back to its lane.
        """
        if attempt.in_flight.is_lost:
            return Lost()
        listing = self.listings[attempt.message.sender]
        charge = charge_of(attempt.message, send, self.settings)
        request = attempt.admit_request(send, self.rules.policy.person_cap, listing, charge)
        tried = await self.store_retry.keep_trying(
            "admit",
            partial(self.admissions.submit, request),
            unless=lambda: attempt.in_flight.is_lost,
        )
        if tried is None:
            return Lost()
        match tried.answer:
            case Permit() as permit:
                return replace(permit, lapses_at=-math.inf) if tried.failures else permit
            case Stale() | Lost():
                return tried.answer
            case Later() as later:
                return self._later(attempt, send, later)
            case Cancelled():
                return self._cancelled(attempt, send)
            case _:
                assert_never(tried.answer)

    async def _post(self, attempt: Attempt, send: Send, permit: Permit) -> tuple[Reply, float]:
        """POST while the permit is valid and its intent is journalled. Returns reply, seconds."""
        in_flight = attempt.in_flight
        self.recorder.permitted(permit)
        may_post = not self.recorder.cannot_write and not in_flight.is_lost
        route = attempt.route(self.settings.senders[attempt.message.sender], permit.attempt)
        started = self.monotonic()
        start_by = attempt.start_by(send, permit, started)
        waited = (in_flight.now(started) - in_flight.claimed.enqueued_at).total_seconds()
        reply: Reply = PERMIT_LAPSED
        if not self.gate.may_post(in_flight.claimed.facts.registered, in_flight):
            reply = HELD_BACK
        elif may_post and started < start_by:
            url = self.settings.gateway.public_url
            form = build(send, route, url, starts_at=in_flight.now(start_by))
            reply = await self.twilio.create(form, start_by=start_by)
        ended = self.monotonic()
        self.recorder.replied(permit, reply, seconds=ended - started, since_enqueued=waited)
        self._note_reach(in_flight, reply, ended)
        return reply, ended - started

    def _note_reach(self, in_flight: InFlightMessage, reply: Reply, now: float) -> None:
        """Record whether bytes of a POST left, and whether Twilio answered.

        A POST that did not start says nothing about either.
        """
        account = in_flight.claimed.facts.registered
        if reply in (PERMIT_LAPSED, HELD_BACK):
            return
        if isinstance(reply, NotSent):
            if self.breaker.not_sent(in_flight, now):
                self.recorder.cut_off(reply.detail)
            return
        if (seconds := self.breaker.sent(now)) is not None:
            self.recorder.connected(seconds)
        if isinstance(reply, Unproven):
            self.gate.unanswered(account)
        else:
            self.gate.answered(account)

    def _conclude(
        self, attempt: Attempt, send: Send, permit: Permit, reply: Reply, seconds: float
    ) -> Conclusion:
        """Return the conclusion of an attempt, whatever the reply was."""
        now = attempt.in_flight.now(self.monotonic())
        ended = replace(attempt.ended(send, now), is_cut_off=self.breaker.is_open)
        outcome = self.outcomes.conclude(reply, ended)
        settlement = attempt.settlement(outcome, permit.attempt, send)
        return Conclusion(settlement, send, outcome.entry, seconds)

    async def _settle(self, in_flight: InFlightMessage, end: Conclusion) -> None:
        """Record the conclusion. While Redis is away, keep it here and try forever."""
        in_flight.is_recording = True
        tried = await self.store_retry.keep_trying(
            "settle", partial(self.settlements.submit, end.settlement)
        )
        if end.settlement.answered is False:
            self.gate.recorded(in_flight.claimed.facts.registered)
        if tried is not None:
            self.recorder.settled(end, tried.answer)

    # -- one function per outcome without a POST -------------------------------------------------

    def _not_sent(self, attempt: Attempt, decision: Refuse | Wait) -> Conclusion:
        match decision:
            case Refuse():
                return self._refused(attempt, decision)
            case Wait():
                return self._waiting(attempt, decision)
            case _:
                assert_never(decision)

    def _refused(self, attempt: Attempt, refuse: Refuse) -> Conclusion:
        stage = Stage.EXPIRED if refuse.reason is Reason.EXPIRED else Stage.REFUSED
        return attempt.concluded(SettleEnd(stage, refuse.reason), refuse)

    def _waiting(self, attempt: Attempt, wait: Wait) -> Conclusion:
        again = SettleAgain(
            Stage.WAITING, wait.reason, due_at=wait.until, on_inbound=wait.on_inbound
        )
        return attempt.concluded(again, wait)

    def _later(self, attempt: Attempt, send: Send, later: Later) -> Conclusion:
        due_at = min(later.until, attempt.in_flight.claimed.expires_at)
        is_cut_off = later.reason is Reason.BREAKER_OPEN
        again = SettleAgain(Stage.WAITING, later.reason, due_at=due_at, keeps_place=is_cut_off)
        return attempt.concluded(again, send)

    def _cancelled(self, attempt: Attempt, decision: Decision | None) -> Conclusion:
        return attempt.concluded(SettleEnd(Stage.CANCELLED, Reason.CANCELLED), decision)

    def _unreadable(self, in_flight: InFlightMessage) -> Conclusion:
        sentence = "No worker could read this job; its bytes are kept."
        end = SettleEnd(Stage.DEAD, Reason.UNREADABLE, sentence=sentence)
        return Conclusion(unreadable_settlement(in_flight, end))

    def _requeued(self, attempt: Attempt, reason: Reason, *, delay_ms: int) -> Conclusion:
        return attempt.concluded(SettleAgain(Stage.QUEUED, reason, delay_ms=delay_ms), None)

    def _left_to_others(self, attempt: Attempt, missing: Reason) -> Conclusion:
        """Leave the message to a worker with other settings.

        During a deployment, workers with old and new settings claim from one lane.
        """
        self.recorder.configured_elsewhere(attempt.message, missing)
        until = attempt.now + attempt.handover_delay(missing)
        due_at = min(until, attempt.in_flight.claimed.expires_at)
        return attempt.concluded(SettleAgain(Stage.QUEUED, missing, due_at=due_at), None)

    def _note_lost(self, in_flight: InFlightMessage) -> None:
        """Report a lost lease. Another worker has the message and records what becomes of it."""
        if not in_flight.is_lost:
            self.recorder.lost(in_flight.claimed.message_id)
