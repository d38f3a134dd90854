"""The way of one message through a worker: claimed, decided, admitted, posted, settled. One function shows it whole."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol, assert_never

from policies.decide import decide
from policies.decision import Decision, Refuse, Send, Wait
from policies.errors import ErrorEntry
from policies.rules import Rules
from sendwindow.codec import decode_job
from sendwindow.errors import UnreadableJob
from sendwindow.vocabulary import Reason, Stage
from worker.batcher import Batcher
from worker.dispatch.evidence import listing_of
from worker.dispatch.facts import join_facts, read_draft
from worker.dispatch.held import Held, Slots
from worker.dispatch.outcomes import Outcome, Outcomes
from worker.dispatch.run import Run, unread
from worker.dispatch.scribe import Scribe
from worker.dispatch.steady import Patience
from worker.settings import Settings
from worker.twilio.replies import PERMIT_LAPSED
from worker.twilio.requests import build
from worker.values.admissions import Admission, AdmitRequest, Cancelled, Later, Lost, Permit, Stale
from worker.values.posts import CreateMessage, Reply
from worker.values.settlements import SettleAgain, Settled, SettleEnd, Settlement

MAX_DECISIONS: Final = 5
"""How often one run decides afresh because a fact changed under it, before it gives the message back."""

PAUSE_RECHECK: Final = timedelta(minutes=5)
"""A message that waits for a paused sender or account is decided again after this, so that `resume` takes effect."""

_PAUSES: Final = frozenset({Reason.SENDER_PAUSED, Reason.ACCOUNT_PAUSED})
_CHANGED_AGAIN_MS: Final = 100
_REGISTERED_AGAIN_MS: Final = 1000


class Poster(Protocol):
    """What the pipe wants of the Twilio client."""

    async def create(self, message: CreateMessage, *, start_by: float | None = None) -> Reply:
        """POST one message, unless it cannot start by `start_by`; never raises for what the network does."""
        ...


@dataclass(frozen=True, slots=True)
class Pipe:
    """What a message passes on its way. `monotonic` in seconds; permits are measured with it."""

    settings: Settings
    rules: Rules
    outcomes: Outcomes
    twilio: Poster
    admissions: Batcher[AdmitRequest, Admission]
    settlements: Batcher[Settlement, Settled]
    slots: Slots
    patience: Patience
    scribe: Scribe
    monotonic: Callable[[], float]

    async def pass_through(self, held: Held) -> bool:
        """Take a claimed message to its end, or back to its lane; that is recorded on return.

        False when there was no slot for it any more, or what is done cannot be journalled: then nothing was done and it
        should be released.
        """
        if not await self.slots.acquire():
            return False
        try:
            return not self.scribe.is_mute and await self._dispatch(held)
        finally:
            self.slots.release()

    async def _dispatch(self, held: Held) -> bool:
        run = self._read(held)
        if run is None:
            await self._unreadable(held)
        elif held.claimed.cancel_asked:
            await self._cancelled(run, None)
        else:
            return await self._decided(run)
        return True

    async def _decided(self, run: Run) -> bool:
        for _ in range(MAX_DECISIONS):
            if run.is_unregistered and not run.is_expired:
                # Consents are an account's, so none were read. Every worker registers its names again within seconds.
                await self._given_back(run, _REGISTERED_AGAIN_MS)
                return True
            if run.is_moved and run.is_sender_elsewhere and not run.is_expired:
                # The facts are of the store's account for this sender, and only its workers may send on them.
                await self._left_to_others(run, Reason.FACTS_CHANGED)
                return True
            decision = self._decide(run)
            if self.scribe.is_mute:
                return False
            if not isinstance(decision, Send):
                await self._not_now(run, decision)
                return True
            admission = await self._admit(run, decision)
            if not isinstance(admission, Stale):
                await self._admitted(run, decision, admission)
                return True
            run = replace(run, facts=admission.facts, now=admission.now)
        await self._given_back(run, _CHANGED_AGAIN_MS)
        return True

    async def _not_now(self, run: Run, decision: Refuse | Wait) -> None:
        missing = run.configured_elsewhere(decision)
        if missing is not None:
            await self._left_to_others(run, missing)
            return
        match decision:
            case Refuse():
                await self._refused(run, decision)
            case Wait():
                await self._waiting(run, decision)
            case _:
                assert_never(decision)

    async def _admitted(self, run: Run, send: Send, admission: Permit | Later | Cancelled | Lost) -> None:
        match admission:
            case Permit():
                await self._post(run, send, admission)
            case Later():
                await self._later(run, send, admission)
            case Cancelled():
                await self._cancelled(run, send)
            case Lost():
                self._lost(run.held)
            case _:
                assert_never(admission)

    def _read(self, held: Held) -> Run | None:
        try:
            message = decode_job(held.claimed.payload or b"", held.claimed.message_id)
        except UnreadableJob:
            return None
        sender = self.settings.senders.get(message.sender)
        return Run(held, message, sender, held.claimed.facts, held.now(self.monotonic()))

    def _decide(self, run: Run) -> Decision:
        draft = read_draft(run.message, run.held.claimed.expires_at)
        facts = join_facts(run.message, run.facts, self.settings)
        if run.is_moved:
            # By the account that we know, it is nobody's sender.
            facts = replace(facts, sender=None)
        decision = decide(draft, facts, self.rules.policy, run.now)
        self.scribe.decided(run.message.message_id, decision)
        return decision

    # -- to the permit -------------------------------------------------------------------------

    async def _admit(self, run: Run, send: Send) -> Admission:
        """Ask for a permit until the store answers; repeating is safe, the same claim gets the same attempt.

        A permit that came only when asked again may have been granted by the first call, whose answer was lost: a STOP
        has perhaps waited it out by now. It counts as lapsed, and the message is given back.
        """
        if run.held.is_lost:
            return Lost()
        sender = self.settings.senders[run.message.sender]
        listing = listing_of(self.settings.accounts[sender.account].account_sid, sender.address)
        request = run.ask(send, self.rules.policy.person_cap, listing)
        calls = 0

        async def ask() -> Admission:
            nonlocal calls
            calls += 1
            return await self.admissions.submit(request)

        admission = await self.patience.insist("admit", ask, unless=lambda: run.held.is_lost)
        if calls > 1 and isinstance(admission, Permit):
            return replace(admission, lapses_at=-math.inf)
        return admission if admission is not None else Lost()

    async def _post(self, run: Run, send: Send, permit: Permit) -> None:
        """POST while the permit is valid and journalled, then record what came back, whatever it was."""
        self.scribe.permitted(permit)
        route = run.route(self.settings.senders[run.message.sender], permit.attempt)
        started = self.monotonic()
        start_by = run.start_by(send, permit, started)
        reply: Reply = PERMIT_LAPSED
        if started < start_by and not run.held.is_lost and not self.scribe.is_mute:
            form = build(send, route, self.settings.gateway.public_url, starts_at=run.held.now(start_by))
            reply = await self.twilio.create(form, start_by=start_by)
        seconds = self.monotonic() - started
        waited = (run.held.now(started) - run.held.claimed.enqueued_at).total_seconds()
        self.scribe.replied(permit, reply, seconds=seconds, since_enqueued=waited)
        outcome = self.outcomes.conclude(reply, run.tried(send, run.held.now(self.monotonic())))
        settlement = run.settlement(outcome, permit.attempt, send)
        await self._settle(run.held, settlement, send, outcome.entry, seconds)

    # -- one function per outcome without a POST -----------------------------------------------

    async def _refused(self, run: Run, refuse: Refuse) -> None:
        stage = Stage.EXPIRED if refuse.reason is Reason.EXPIRED else Stage.REFUSED
        await self._conclude(run, Outcome(SettleEnd(stage, refuse.reason), posted=False), refuse)

    async def _waiting(self, run: Run, wait: Wait) -> None:
        until = _recheck_at(wait.reason, wait.until, run)
        again = SettleAgain(Stage.WAITING, wait.reason, due_at=until, on_inbound=wait.on_inbound)
        await self._conclude(run, Outcome(again, posted=False), wait)

    async def _later(self, run: Run, send: Send, later: Later) -> None:
        again = SettleAgain(Stage.WAITING, later.reason, due_at=_recheck_at(later.reason, later.until, run))
        await self._conclude(run, Outcome(again, posted=False), send)

    async def _cancelled(self, run: Run, decision: Decision | None) -> None:
        end = SettleEnd(Stage.CANCELLED, Reason.CANCELLED)
        await self._conclude(run, Outcome(end, posted=False), decision)

    async def _unreadable(self, held: Held) -> None:
        end = SettleEnd(Stage.DEAD, Reason.UNREADABLE, sentence="Nobody could read this job; its bytes are kept.")
        await self._settle(held, unread(held, end))

    async def _given_back(self, run: Run, delay_ms: int) -> None:
        again = SettleAgain(Stage.QUEUED, Reason.FACTS_CHANGED, delay_ms=delay_ms)
        await self._conclude(run, Outcome(again, posted=False), None)

    async def _left_to_others(self, run: Run, missing: Reason) -> None:
        """Let a worker with other settings have it: during a deployment both claim the same messages."""
        self.scribe.configured_elsewhere(run.message, missing)
        due_at = min(run.now + run.left_for(missing), run.held.claimed.expires_at)
        await self._conclude(run, Outcome(SettleAgain(Stage.QUEUED, missing, due_at=due_at), posted=False), None)

    def _lost(self, held: Held) -> None:
        """Somebody else has the message: whatever is recorded, they record it."""
        if not held.is_lost:
            self.scribe.lost(held.claimed.message_id)

    # -- recording -----------------------------------------------------------------------------

    async def _conclude(self, run: Run, outcome: Outcome, decision: Decision | None) -> None:
        await self._settle(run.held, run.settlement(outcome, 0, decision), decision)

    async def _settle(
        self,
        held: Held,
        settlement: Settlement,
        decision: Decision | None = None,
        entry: ErrorEntry | None = None,
        seconds: float | None = None,
    ) -> None:
        """Record a result, for ever if need be: while the store is away it is kept here."""
        held.is_recording = True
        settled = await self.patience.insist("settle", lambda: self.settlements.submit(settlement))
        if settled is not None:
            self.scribe.settled(settlement, settled, decision=decision, entry=entry, seconds=seconds)


def _recheck_at(reason: Reason, until: datetime, run: Run) -> datetime:
    """Come back when the wait is over, at the latest when the message expires; a pause may be ended before."""
    latest = min(until, run.held.claimed.expires_at)
    return min(latest, run.now + PAUSE_RECHECK) if reason in _PAUSES else latest
