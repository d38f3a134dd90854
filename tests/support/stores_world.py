"""A small world for the tests of stores: one sender, one person, and short names for a message's
steps.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from policies.decision import SeenRevisions, Trace, Verdict
from policies.status import describe
from sendwindow.codec import encode_job
from sendwindow.contract import Freeform, SendMessage, Template
from sendwindow.protocol import CANCEL, ENQUEUE, row_arguments
from sendwindow.timestamps import to_ms
from sendwindow.vocabulary import OnUnknown, Priority, Purpose, Reason, Stage
from tests.support.cast import ANNA
from worker.ports.admissions import Admission, AdmitRequest, Permit
from worker.ports.claims import ClaimedMessage, Suspects
from worker.ports.effects import Effect, SuppressAddress
from worker.ports.people import Inbound, InboundApplied
from worker.ports.records import SidLine
from worker.ports.settlements import (
    Result,
    SettleAccepted,
    SettleAgain,
    Settled,
    SettleEnd,
    Settlement,
    SettleUnknown,
)
from worker.ports.statuses import StatusApplied, StatusUpdate
from worker.ports.unknowns import Resolution
from worker.stores.script_runner import ScriptRunner
from worker.stores.store import Store

PERSON_KEY = b"a person key of the tests"
SENDER = "shop"
ACCOUNT = "main"
ORDER = "HX" + "5" * 32
"""The ContentSid of `order_update`."""

LEASE = timedelta(seconds=15)
FAR = datetime(2099, 1, 1, tzinfo=UTC)
PAST = datetime(2001, 1, 1, tzinfo=UTC)
TRACE = Trace(
    "2026-11",
    datetime(2026, 11, 21, tzinfo=UTC),
    (Verdict("consent", "pass"), Verdict("window", "choose", "open")),
)

UNKNOWN = SettleUnknown(Reason.OUTCOME_TIMEOUT, "read timeout", look_after_ms=5000)
LATER = SettleAgain(Stage.RETRYING, Reason.THROTTLED, delay_ms=60_000)
AT_ONCE = SettleAgain(Stage.RETRYING, Reason.NOT_SENT)
WAITS = SettleAgain(Stage.WAITING, Reason.AWAITING_INBOUND, delay_ms=3_600_000, on_inbound=True)
REFUSED = SettleEnd(Stage.REFUSED, Reason.OPTED_OUT)
UNREACHABLE = (SuppressAddress(2_592_000, "code 63024"),)
"""What 63024 teaches: the address is suppressed."""

DEAD = SettleEnd(Stage.DEAD, Reason.RETRIES_EXHAUSTED, code=30500, sentence="it failed too often")


class Place(Protocol):
    """Where a test stores its data."""

    @property
    def url(self) -> str: ...
    @property
    def partition(self) -> str: ...


def accepted(sid: str = "SM1") -> SettleAccepted:
    return SettleAccepted(sid, "queued")


class World:
    """One worker's view of a store, with short names. `calls` runs scripts directly."""

    def __init__(self, store: Store, calls: ScriptRunner) -> None:
        self.store = store
        self.calls = calls
        self.keys = calls.keys
        self.redis = calls.redis
        self._offset = timedelta()

    async def enqueue(
        self,
        message_id: str = "m1",
        *,
        to: str = ANNA,
        sender: str = SENDER,
        template: str | None = None,
        priority: Priority = Priority.NORMAL,
        campaign: str | None = None,
        not_before: datetime | None = None,
        expires_at: datetime | None = None,
        on_unknown: OnUnknown | None = None,
        purpose: Purpose = Purpose.UTILITY,
    ) -> bytes:
        message = SendMessage(
            to=to,
            sender=sender,
            purpose=purpose,
            freeform=Freeform(body="hello"),
            template=Template(name=template) if template else None,
            message_id=message_id,
            priority=priority,
            campaign=campaign,
            not_before=not_before,
            expires_at=expires_at,
            on_unknown=on_unknown,
        )
        reply = await self.calls.run(ENQUEUE, [0, *row_arguments(message, encode_job(message, 0))])
        word: bytes = reply[0][0]
        return word

    async def claim(
        self, limit: int = 10, suspects: Suspects = Suspects.FIRST
    ) -> tuple[ClaimedMessage, ...]:
        return (await self.store.ledger.claim(limit, suspects)).claimed

    async def claim_one(self) -> ClaimedMessage:
        (claimed,) = await self.claim(1)
        return claimed

    async def admit(self, claimed: ClaimedMessage, **changes: Any) -> Admission:
        (answer,) = await self.store.ledger.admit([ask(claimed, **changes)])
        return answer

    async def settle(self, claimed: ClaimedMessage, result: Result, **changes: Any) -> Settled:
        (answer,) = await self.store.ledger.settle([settlement(claimed, result, **changes)])
        return answer

    async def post(self, message_id: str = "m1", **wish: Any) -> ClaimedMessage:
        """Enqueue, claim and admit one message."""
        await self.enqueue(message_id, **wish)
        claimed = await self.claim_one()
        await self.admit(claimed)
        return claimed

    async def accept(self, message_id: str = "m1", sid: str = "SM1", **wish: Any) -> ClaimedMessage:
        """Take one message all the way to acceptance."""
        claimed = await self.post(message_id, **wish)
        await self.settle(claimed, accepted(sid))
        return claimed

    async def park(self, message_id: str = "m1", **wish: Any) -> ClaimedMessage:
        """Take one message to stage unknown."""
        claimed = await self.post(message_id, **wish)
        await self.settle(claimed, UNKNOWN)
        return claimed

    async def send_again(
        self, reason: Reason = Reason.RESENT_BY_RULE, message_id: str = "m1"
    ) -> None:
        """Resend an unknown first attempt by its rule or by an operator."""
        again = Resolution(message_id, 1, SettleAgain(Stage.RETRYING, reason))
        [stage] = await self.store.unknowns.resolve([again])
        assert stage in {Stage.RETRYING, Stage.CANCELLED}

    async def resent(
        self, *, tag: bool = False, tag_before: bool = False, **wish: Any
    ) -> ClaimedMessage:
        """Send m1 a second time without proof about the first; the second attempt is posting."""
        await self.enqueue(**wish)
        first = await self.claim_one()
        await self.admit(first, relies_on_tag=tag_before)
        await self.settle(first, UNKNOWN)
        await self.send_again()
        second = await self.claim_one()
        assert isinstance(await self.admit(second, relies_on_tag=tag), Permit)
        return second

    async def reap(self) -> None:
        """Let every lease run out, and reap."""
        await self.later(seconds=20)
        await self.store.ledger.reap(10)

    async def callback(
        self, status: str = "sent", sid: str = "SM1", **changes: Any
    ) -> StatusApplied:
        (answer,) = await self.store.statuses.apply([update(status, sid, **changes)])
        return answer

    async def writes(
        self, sid: str = "SM900", keyword: str | None = None, **changes: Any
    ) -> InboundApplied:
        inbound = replace(Inbound(sid, SENDER, ACCOUNT, ANNA, keyword), **changes)
        (answer,) = await self.store.people.apply_inbound([inbound])
        return answer

    async def ask_to_cancel(self, message_id: str = "m1") -> str:
        """Do what a producer does. No worker has recorded an end yet."""
        reply = await self.calls.run(CANCEL, [message_id])
        word: bytes = reply[0]
        return word.decode()

    async def cancel(self, message_id: str = "m1") -> str:
        """Cancel a message, and record what then ended, as a worker does."""
        word = await self.ask_to_cancel(message_id)
        while await self.store.ledger.end_cancelled(64):
            pass
        return word

    async def later(self, **duration: float) -> None:
        """Advance the store's clock."""
        self._offset += timedelta(**duration)
        await self.store.set_offset(self._offset)

    async def row(self, message_id: str = "m1") -> dict[str, str]:
        record = await self.store.records.record(message_id)
        return dict(record.row) if record else {}

    async def sids(self, message_id: str = "m1") -> Mapping[str, SidLine]:
        """Return the entries of the attempts table for SIDs other than the row's own."""
        record = await self.store.records.record(message_id)
        row = record.row if record else {}
        return {
            sid: line
            for sid, line in (record.sids if record else {}).items()
            if sid != row.get("sid")
        }

    async def events(self, message_id: str = "m1") -> list[str]:
        record = await self.store.records.record(message_id)
        return [line["e"] for line in record.timeline] if record else []

    async def count(self, name: str) -> int:
        return (await self.store.records.counts()).get(name, 0)

    async def contents(self) -> dict[bytes, bytes | None]:
        """Return everything in the partition but remembered replies, so that a test can show
        that nothing changed.
        """
        kept = [
            name
            async for name in self.redis.scan_iter(match=f"*{self.keys.tag}*")
            if b":did:" not in name
        ]
        names = sorted(kept)
        return {name: await self.redis.dump(name) for name in names}


def ask(claimed: ClaimedMessage, **changes: Any) -> AdmitRequest:
    """Request a permit with exactly what the claim showed."""
    facts = claimed.facts
    request = AdmitRequest(
        message_id=claimed.message_id,
        fence=claimed.fence,
        attempt=claimed.attempts + 1,
        person_digest=facts.person_digest,
        sender=SENDER,
        account=ACCOUNT,
        template=None,
        seen=SeenRevisions(facts.person.revision, facts.sender.revision, facts.account.revision),
        valid_until=FAR,
        reason=Reason.WINDOW_OPEN,
        trace=TRACE,
        other_digests=facts.other_digests,
    )
    return replace(request, **changes)


def settlement(claimed: ClaimedMessage, result: Result, **changes: Any) -> Settlement:
    """Settle the attempt that was admitted after this claim."""
    one = Settlement(
        message_id=claimed.message_id,
        fence=claimed.fence,
        attempt=claimed.attempts + 1,
        result=result,
        person_digest=claimed.facts.person_digest,
        sender=SENDER,
        account=ACCOUNT,
        posted=True,
    )
    return replace(one, **changes)


def update(status: str, sid: str = "SM1", **changes: Any) -> StatusUpdate:
    """Return a callback that names attempt 1 of m1."""
    step = describe(status)
    one = StatusUpdate(
        message_sid=sid,
        status=status,
        rank=step.rank,
        is_final=step.is_final,
        is_failure=step.is_failure,
        code=30500 if step.is_failure else None,
        message_id="m1",
        attempt=1,
    )
    return replace(one, **changes)


@asynccontextmanager
async def opened(place: Place, *, worker_id: str = "w1", **options: Any) -> AsyncIterator[World]:
    """Open the test's partition as a sandbox store with one sender. Its clock can be moved."""
    store = await Store.connect(
        place.url,
        partition=place.partition,
        person_key=PERSON_KEY,
        worker_id=worker_id,
        profile="sandbox",
        **({"lease": LEASE} | options),
    )
    try:
        await store.register_senders(
            {SENDER: ACCOUNT, "other": ACCOUNT}, {("order_update", ""): ORDER}
        )
        yield World(store, store._calls)
    finally:
        await store.close()


def effects(*given: Effect) -> Sequence[Effect]:
    return given


def ms(instant: datetime | None) -> int | None:
    return to_ms(instant) if instant else None
