"""The ledger: how a message is claimed, admitted and settled, and what happens after a crash."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sendwindow.scripts import Argument
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import Reason, Stage
from worker.ports.admissions import Admission, AdmitRequest, Cancelled, Later, Lost, Permit, Stale
from worker.ports.arq_ingress import Adopted
from worker.ports.claims import ClaimBatch, ClaimedMessage, ClaimRoom, Owner, Reaped, Suspects
from worker.ports.settlements import BreakerChange, Settled, Settlement
from worker.runtime import clock
from worker.stores.arq_ingress import ArqIngressStore
from worker.stores.fact_parsing import parse_facts, read_stage
from worker.stores.notifier import WorkNotifier
from worker.stores.person_digests import PersonDigests
from worker.stores.script_arguments import admit_argument, flat, settle_argument
from worker.stores.script_runner import ScriptRunner, compact, new_request
from worker.stores.worker_scripts import worker_script

_CLAIM: Final = worker_script("claim")
_ADMIT: Final = worker_script("admit")
_SETTLE: Final = worker_script("settle")
_RENEW: Final = worker_script("renew")
_RELEASE: Final = worker_script("release")
_REAP: Final = worker_script("reap")
_END_CANCELLED: Final = worker_script("end_cancelled")
_END_CAMPAIGNS: Final = worker_script("end_campaigns")

_MS: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Durations that are rarely changed.

    `permit`: how long after the worker asks for it a POST may start. `tag_later`: when to ask again
    while an unproven ACCOUNT_UPDATE is on its way. `look_after_crash`: when to look for evidence of
    an attempt whose worker vanished. `budget`: how long a failed call to the store is repeated
    before it raises.
    """

    permit: timedelta = timedelta(seconds=2)
    tag_later: timedelta = timedelta(seconds=30)
    look_after_crash: timedelta = timedelta(seconds=5)
    budget: timedelta = timedelta(seconds=5)


WORKER_TUNING: Final = Tuning(budget=timedelta())
"""A worker repeats its calls in one place, the store retry, which also reports that they fail."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker that claims, and for how long at a time."""

    name: str
    lease: timedelta
    tuning: Tuning


class LedgerStore:
    """Implements `worker.ports.Ledger` on one partition."""

    def __init__(
        self, calls: ScriptRunner, digests: PersonDigests, waker: WorkNotifier, worker: Worker
    ) -> None:
        self._calls = calls
        self._digests = digests
        self._waker = waker
        self._worker = worker
        self._tuning = worker.tuning
        self._adoption = ArqIngressStore(calls, digests)
        self._claiming = asyncio.Lock()
        self._claim_request: str | None = None

    async def claim(
        self, limit: int, suspects: Suspects = Suspects.NEVER, room: ClaimRoom | None = None
    ) -> ClaimBatch:
        """Claim up to `limit` due messages that there is `room` for, or one suspect alone.

        Each message comes with a lease, a fence and its facts. Only a worker that holds no message
        may ask for suspects. A call that raised may still have claimed messages. The next call goes
        out under the same request id and returns the same batch.
        """
        async with self._claiming:
            self._claim_request = self._claim_request or new_request()
            claim = compact(
                {
                    "worker": self._worker.name,
                    "request": self._claim_request,
                    "limit": limit,
                    "lease": self._worker.lease // _MS,
                    "suspects": suspects,
                    "woken": self._waker.may_hand_on,
                    **({} if room is None else {"room": _room(room)}),
                }
            )
            arguments: list[Argument] = [claim, self._digests.inner, self._digests.outer]
            now, due, claimed, called, unreadable, passed = await self._calls.run(_CLAIM, arguments)
            self._claim_request = None
        return ClaimBatch(
            claimed=tuple(_claimed(fields) for fields in claimed),
            now=from_ms(int(now)),
            # As a float, so that no score, however far in the future, loses what was claimed.
            next_due_at=from_ms(float(due)) if float(due) >= 0 else None,
            is_called=called == 1,
            in_unknown_stage=tuple(message_id.decode() for message_id in unreadable),
            passed_over=passed == 1,
        )

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        """Write the intents and grant the permits. Returns one admission per request, in order."""
        if not requests:
            return []
        lapses_at = clock.monotonic() + self._tuning.permit.total_seconds()
        arguments = [admit_argument(request) for request in requests]
        times: list[Argument] = [self._tuning.permit // _MS, self._tuning.tag_later // _MS]
        answers = await self._calls.run_durably(_ADMIT, [*times, *arguments])
        return [_admission(*pair, lapses_at) for pair in zip(requests, answers, strict=True)]

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Record outcomes and apply their effects. Returns one result per settlement, in order."""
        if not settlements:
            return []
        arguments = [settle_argument(one) for one in settlements]
        answers = await self._calls.run_durably(_SETTLE, arguments)
        return [_settled(*answer) for answer in answers]

    async def renew(self, held: Sequence[tuple[str, int]]) -> list[str]:
        """Renew the leases of (message id, fence).

        Returns the ids that this worker no longer holds.
        """
        if not held:
            return []
        lost = await self._calls.run(_RENEW, [self._worker.lease // _MS, *flat(held)])
        return [message_id.decode() for message_id in lost]

    async def release(self, held: Sequence[tuple[str, int]]) -> list[Stage | None]:
        """Release claims (message id, fence) untouched.

        This counts neither as a try nor as a crash. Returns the stage of each message; None: this
        worker did not hold it.
        """
        answers = await self._calls.run(_RELEASE, flat(held)) if held else []
        return [read_stage(stage) for stage in answers]

    async def reap(self, limit: int) -> list[Reaped]:
        """Move on messages whose lease ran out.

        Call it every third of a lease. If no worker has called it for longer, the store was down,
        and the workers that hold messages get one more lease first. A call that raised may still
        have moved some messages. The next call returns them.
        """
        times: list[Argument] = [self._tuning.look_after_crash // _MS, self._worker.lease // _MS]
        reaped = await self._calls.run_once(_REAP, [limit, *times])
        return [
            Reaped(message_id.decode(), Stage(stage.decode()), int(n))
            for message_id, stage, n in reaped
        ]

    async def end_cancelled(self, limit: int) -> int:
        """Record the end of up to `limit` messages that were cancelled while no worker held them.

        Returns how many are left. A repeated call goes on with those.
        """
        left: int = await self._calls.run(_END_CANCELLED, [limit])
        return left

    async def end_campaigns(self, limit: int) -> bool:
        """Look at up to `limit` queued messages of cancelled campaigns, and record their ends.

        Returns whether there is more to look at. A repeated call goes on there.
        """
        return bool(await self._calls.run(_END_CAMPAIGNS, [limit]))

    async def adopt(self, limit: int) -> Adopted:
        """Put jobs of plain arq producers into lanes, and honour `arq:abort`.

        A call that raised may still have recorded unreadable jobs. This worker's next call returns
        them.
        """
        return await self._adoption.adopt(limit)

    async def wait_for_work(self, timeout: float) -> bool:
        """Wait until a lane became ready, or until `timeout` seconds passed.

        Keep `timeout` to a few seconds, because a wake can get lost.
        """
        return await self._waker.wait(timeout)


def _room(room: ClaimRoom) -> Mapping[str, object]:
    return {
        "ordinary": room.ordinary,
        "accounts": {"share": room.account_share, "held": dict(room.accounts)},
        "senders": {"share": room.sender_share, "held": dict(room.senders)},
    }


def _claimed(fields: Sequence[Any]) -> ClaimedMessage:
    (
        message_id,
        fence,
        payload,
        n,
        expires,
        crashes,
        cancel,
        enqueued,
        free,
        facts,
        account,
        sender,
        is_urgent,
    ) = fields
    return ClaimedMessage(
        message_id=message_id.decode(),
        fence=int(fence),
        payload=payload,
        attempts=int(n),
        expires_at=from_ms(float(expires)),
        crashes=int(crashes),
        cancel_asked=cancel == b"1",
        facts=parse_facts(facts),
        enqueued_at=from_ms(int(enqueued)),
        tries=int(n) - int(free),
        owner=Owner(account.decode(), sender.decode(), is_urgent == 1),
    )


def _settled(applied: int, stage: bytes, has_copy: int, *breaker: Any) -> Settled:
    change = None
    if breaker:
        word, open_ms = breaker
        change = BreakerChange(word == b"opened", timedelta(milliseconds=int(open_ms)))
    return Settled(bool(applied), read_stage(stage), bool(has_copy), change)


def _admission(request: AdmitRequest, answer: Sequence[Any], lapses_at: float) -> Admission:
    word, *rest = answer
    match word:
        case b"permit":
            return Permit(request.message_id, request.fence, request.attempt, lapses_at)
        case b"stale":
            return Stale(parse_facts(rest[1]), from_ms(int(rest[0])))
        case b"later":
            return Later(Reason(rest[0].decode()), from_ms(int(rest[1])))
        case b"cancelled":
            return Cancelled()
        case _:
            return Lost()
