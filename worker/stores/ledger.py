"""The ledger: a message's way through claim, admission and settlement, and back after a crash."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sendwindow.instants import from_ms
from sendwindow.scripts import Argument
from sendwindow.vocabulary import Reason, Stage
from worker import clock
from worker.stores.adopt import Adoption
from worker.stores.calls import Calls, new_request, worker_script
from worker.stores.digests import Digests
from worker.stores.encoding import admit_arguments, flat, settle_arguments
from worker.stores.facts import parse_facts, read_rule, read_stage
from worker.stores.waking import Waker
from worker.values.admissions import Admission, AdmitRequest, Cancelled, Later, Lost, Permit, Stale
from worker.values.adoptions import Adopted
from worker.values.claims import ClaimBatch, Claimed, Reaped, Suspects
from worker.values.settlements import Settled, Settlement

_CLAIM: Final = worker_script("claim", reads_addresses=True)
_ADMIT: Final = worker_script("admit")
_SETTLE: Final = worker_script("settle")
_RENEW: Final = worker_script("renew")
_RELEASE: Final = worker_script("release")
_REAP: Final = worker_script("reap")

_MS: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Durations that are rarely changed.

    `permit`: how long after asking a POST may start. `tag_later`: when to ask again while an unproven ACCOUNT_UPDATE is
    out. `look_after_crash`: when to look for evidence of an attempt whose worker vanished. `budget`: how long a failed
    call to the store is repeated before it raises.
    """

    permit: timedelta = timedelta(seconds=2)
    tag_later: timedelta = timedelta(seconds=30)
    look_after_crash: timedelta = timedelta(seconds=5)
    budget: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Worker:
    """Who claims, and for how long at a time."""

    name: str
    lease: timedelta
    tuning: Tuning


class LedgerStore:
    """Answers `worker.ports.Ledger` from one partition."""

    def __init__(self, calls: Calls, digests: Digests, waker: Waker, worker: Worker) -> None:
        self._calls = calls
        self._digests = digests
        self._waker = waker
        self._worker = worker
        self._tuning = worker.tuning
        self._adoption = Adoption(calls, digests)
        self._claiming = asyncio.Lock()
        self._claim_request: str | None = None

    async def claim(self, limit: int, suspects: Suspects = Suspects.NEVER) -> ClaimBatch:
        """Take up to `limit` due messages with a lease, a fence and their facts; or one suspect, alone.

        Only who holds nothing may ask for suspects. A call that raised may have claimed all the same: the next one asks
        under the same request id and gets the same.
        """
        async with self._claiming:
            self._claim_request = self._claim_request or new_request()
            arguments: list[Argument] = [
                self._worker.name,
                self._claim_request,
                limit,
                self._worker.lease // _MS,
                self._digests.inner,
                self._digests.outer,
                suspects,
            ]
            now, due, claimed, called, strange = await self._calls.run(_CLAIM, arguments)
            self._claim_request = None
        return ClaimBatch(
            claimed=tuple(_claimed(fields) for fields in claimed),
            now=from_ms(int(now)),
            # As a float: what is claimed must not be lost over a score, however far away it lies.
            next_due_at=from_ms(float(due)) if float(due) >= 0 else None,
            is_called=called == 1,
            in_unknown_stage=tuple(message_id.decode() for message_id in strange),
        )

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        """Write the intent and grant a permit, one answer a request in order."""
        if not requests:
            return []
        lapses_at = clock.monotonic() + self._tuning.permit.total_seconds()
        arguments = flat([admit_arguments(request) for request in requests])
        times: list[Argument] = [self._tuning.permit // _MS, self._tuning.tag_later // _MS]
        answers = await self._calls.run_durably(_ADMIT, [*times, *arguments])
        return [_admission(*pair, lapses_at) for pair in zip(requests, answers, strict=True)]

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Record outcomes and apply their effects, one answer a settlement in order."""
        if not settlements:
            return []
        answers = await self._calls.run_durably(_SETTLE, flat([settle_arguments(one) for one in settlements]))
        return [Settled(bool(applied), read_stage(stage), bool(has_copy)) for applied, stage, has_copy in answers]

    async def renew(self, held: Sequence[tuple[str, int]]) -> list[str]:
        """Renew the leases of (message id, fence); answers the ids that are no longer ours."""
        if not held:
            return []
        lost = await self._calls.run(_RENEW, [self._worker.lease // _MS, *flat(held)])
        return [message_id.decode() for message_id in lost]

    async def release(self, held: Sequence[tuple[str, int]]) -> list[Stage | None]:
        """Give claims (message id, fence) back untouched: no try, no crash. Answers where each went, None: not ours."""
        answers = await self._calls.run(_RELEASE, flat(held)) if held else []
        return [read_stage(stage) for stage in answers]

    async def reap(self, limit: int) -> list[Reaped]:
        """Move on messages whose lease ran out.

        To be asked every third of a lease. When nobody asked for longer, the store was away, and holders come first for
        a lease. A call that raised may have moved some all the same: the next one answers them.
        """
        times: list[Argument] = [self._tuning.look_after_crash // _MS, self._worker.lease // _MS]
        reaped = await self._calls.run_once(_REAP, [limit, *times])
        return [Reaped(message_id.decode(), Stage(stage.decode()), int(n)) for message_id, stage, n in reaped]

    async def adopt(self, limit: int) -> Adopted:
        """Take jobs of plain arq producers into lanes and honour `arq:abort`.

        A call that raised may have kept unreadable ones all the same: the next one of this worker answers them.
        """
        return await self._adoption.adopt(limit)

    async def wait_for_work(self, timeout: float) -> bool:
        """Block until a lane became ready or `timeout` seconds passed: a few at most, wakes can get lost."""
        return await self._waker.wait(timeout)


def _claimed(fields: Sequence[Any]) -> Claimed:
    message_id, fence, payload, n, expires, on_unknown, redecided, crashes, cancel, enqueued, free, facts = fields
    return Claimed(
        message_id=message_id.decode(),
        fence=int(fence),
        payload=payload,
        attempts=int(n),
        expires_at=from_ms(float(expires)),
        on_unknown=read_rule(on_unknown),
        redecided=redecided == b"1",
        crashes=int(crashes),
        cancel_asked=cancel == b"1",
        facts=parse_facts(facts),
        enqueued_at=from_ms(int(enqueued)),
        tries=int(n) - int(free),
    )


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
