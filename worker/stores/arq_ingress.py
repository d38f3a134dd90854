"""Takes over jobs that plain arq producers put on the partition's queue.

Sendwindow's guarantees hold for a job once it was taken over.

Every step may be repeated after an interruption: the message is queued under its id first, and only
then is arq's entry removed.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from redis.exceptions import OutOfMemoryError

from sendwindow.codec import arq_deserializer, decode_job
from sendwindow.contract import SendMessage
from sendwindow.errors import Fault, InvalidMessage, UnreadableJob
from sendwindow.ids import message_id_complaint
from sendwindow.keys import ARQ_ABORT, ARQ_JOB
from sendwindow.protocol import CANCEL, check_times, row_arguments
from sendwindow.vocabulary import Reason
from worker.ports.arq_ingress import Adopted, Unreadable
from worker.stores.person_digests import PersonDigests
from worker.stores.script_runner import ScriptRunner, compact
from worker.stores.worker_scripts import worker_script

_UNREADABLE: Final = worker_script("unreadable")
_ADOPT: Final = worker_script("adopt")
_ADOPTED: Final = worker_script("adopted")
_NOW: Final = worker_script("now")
MAX_BATCH_JOBS: Final = 64
"""How many jobs one call takes, so that no call to the store lasts long."""

_MAX_BATCH_ABORTS: Final = 250
_NOT_BEFORE: Final = 4
_HELD_BACK_MS: Final = 3_600_000
"""An aborted job is queued this much later, so that no worker claims it before its cancel."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of arq's queue.

    `score`: the enqueue time plus what `_defer_by` asked for, in milliseconds. It may also be any
    other number.
    """

    job_id: bytes
    score: float
    job: bytes | None
    is_aborted: bool


@dataclass(frozen=True, slots=True)
class _Readable:
    message: SendMessage
    arguments: list[Any]


class ArqIngressStore:
    """Moves jobs from arq's queue into lanes, and turns arq's aborts into cancels."""

    def __init__(self, calls: ScriptRunner, digests: PersonDigests) -> None:
        self._calls = calls
        self._digests = digests
        self._abort_cursor = 0
        self._untold: dict[str, Unreadable] = {}

    async def adopt(self, limit: int) -> Adopted:
        """Take up to `limit` jobs.

        If the store is out of memory, the rest stays in arq's queue.

        A call that raised may still have recorded unreadable jobs. The next call returns them. Of
        several workers, the worker that recorded a job returns it. If that worker dies first, none
        returns it, and only the dead letter shows the job.
        """
        entries = await self._entries(limit) if limit > 0 else []
        now = int(await self._calls.run(_NOW, [])) if entries else 0
        taken = 0
        for some in _batched(entries, MAX_BATCH_JOBS):
            try:
                await self._take(some, now)
            except OutOfMemoryError:
                break
            taken += len(some)
        await self._abort()
        unreadable, self._untold = tuple(self._untold.values()), {}
        return Adopted(taken, unreadable)

    async def _entries(self, limit: int) -> list[_Entry]:
        redis, ingress = self._calls.redis, self._calls.keys.ingress
        queued = await self._calls.patiently(
            lambda: redis.zrange(ingress, 0, limit - 1, withscores=True)
        )
        if not queued:
            return []
        jobs = await self._calls.ask("MGET", *[_job_key(job_id) for job_id, _ in queued])
        # A call of its own: arq's list of aborts has no hash tag, so on a cluster it may be in
        # another slot.
        aborts = await self._calls.ask("ZMSCORE", ARQ_ABORT, *[job_id for job_id, _ in queued])
        return [
            _Entry(job_id, score, job, abort is not None)
            for (job_id, score), job, abort in zip(queued, jobs, aborts, strict=True)
        ]

    async def _take(self, entries: Sequence[_Entry], now: int) -> None:
        """Take over some entries with one script.

        A job that cannot be queued becomes a dead letter.
        """
        queued: list[tuple[_Entry, _Readable]] = []
        gone: list[tuple[_Entry, str]] = []
        for entry in entries:
            message_id = self._message_id(entry)
            if entry.job is None:
                # An earlier call took the job over and was interrupted, or the job expired in arq.
                # Without its job the entry says nothing.
                gone.append((entry, message_id))
                continue
            try:
                readable = _read(entry, entry.job, message_id, now)
            except UnreadableJob as error:
                await self._keep(entry, entry.job, Unreadable(message_id, error.reason), str(error))
                continue
            if entry.is_aborted:
                readable.arguments[_NOT_BEFORE] = now + _HELD_BACK_MS
            queued.append((entry, readable))
        await self._queue(queued)
        await self._remove(gone)

    async def _queue(self, queued: Sequence[tuple[_Entry, _Readable]]) -> None:
        if not queued:
            return
        arguments = [
            argument for entry, one in queued for argument in (entry.job_id, *one.arguments)
        ]
        words = await self._calls.run_durably(_ADOPT, arguments)
        taken = [(*pair, word) for pair, word in zip(queued, words, strict=True)]
        for entry, one, word in taken:
            if word == b"conflict":
                conflict = Unreadable(one.message.message_id, "id_conflict")
                text = "its message id already belongs to another message"
                await self._keep(entry, entry.job or b"", conflict, text)
        done = [
            (entry, one.message.message_id) for entry, one, word in taken if word != b"conflict"
        ]
        await self._drop_jobs(done)
        aborted = [(entry.job_id, message_id) for entry, message_id in done if entry.is_aborted]
        if aborted:
            # If this call fails, the messages are still held back, and their aborts, which stay
            # listed, cancel them later.
            await self._calls.run_durably(CANCEL, [message_id for _, message_id in aborted])
            await self._calls.ask("ZREM", ARQ_ABORT, *[job_id for job_id, _ in aborted])

    async def _keep(self, entry: _Entry, job: bytes, found: Unreadable, text: str) -> None:
        """Record a job as a dead letter, with all its bytes.

        If the id is taken, the dead letter gets an id made of the bytes.
        """
        digest = hashlib.sha256(job).hexdigest()[:24]
        entry_of_timeline = {"reason": Reason.UNREADABLE, "text": text}
        for one in (found, replace(found, message_id=f"job-{self._digests.name(job)}")):
            asked = {"id": one.message_id, "digest": digest, "entry": entry_of_timeline}
            answer = await self._calls.run_once(_UNREADABLE, [compact(asked), job])
            if answer == b"kept":
                self._untold[one.message_id] = one
            if answer != b"taken":
                break
        await self._remove([(entry, found.message_id)])

    async def _remove(self, entries: Sequence[tuple[_Entry, str]]) -> None:
        if not entries:
            return
        arguments = [
            argument for entry, message_id in entries for argument in (entry.job_id, message_id)
        ]
        await self._calls.run_durably(_ADOPTED, arguments)
        await self._drop_jobs(entries)

    async def _drop_jobs(self, entries: Sequence[tuple[_Entry, str]]) -> None:
        """Delete the jobs whose messages are kept under another id.

        It deletes them one by one, because they may be in several slots.
        """
        for entry, message_id in entries:
            key = _job_key(entry.job_id)
            if entry.job is not None and key != self._calls.keys.job(message_id).encode():
                await self._calls.ask("DEL", key)

    async def _abort(self) -> None:
        """Look through some of the aborts, from where the last call ended.

        Most of them may belong to other applications. An id without our tag may be another
        application's job, even if a message of ours has the same name. Such an abort stays, and it
        counts only for a job on our own queue.
        """
        redis, tag = self._calls.redis, self._calls.keys.tag.encode()
        cursor, found = await self._calls.patiently(
            lambda: redis.zscan(ARQ_ABORT, self._abort_cursor, count=_MAX_BATCH_ABORTS)
        )
        job_ids = [job_id for job_id, _ in found if job_id.startswith(tag)]
        if job_ids:
            # Read the queue before the cancel, so that the cancel knows a job that another worker
            # takes over between the two calls.
            backlog = await self._calls.ask("ZMSCORE", self._calls.keys.ingress, *job_ids)
            answers = await self._calls.run_durably(
                CANCEL, [self._untagged(job_id) for job_id in job_ids]
            )
            asked = zip(job_ids, backlog, answers, strict=True)
            done = [
                job_id
                for job_id, score, answer in asked
                if answer != b"unknown_id" or score is None
            ]
            if done:
                await self._calls.ask("ZREM", ARQ_ABORT, *done)
        self._abort_cursor = cursor

    def _message_id(self, entry: _Entry) -> str:
        """Return the message's own id, else the job's id without the tag.

        If that is unusable, return an id made of it.
        """
        own = _own_id(entry.job) if entry.job is not None else None
        return own or self._untagged(entry.job_id)

    def _untagged(self, job_id: bytes) -> str:
        text = job_id.decode(errors="replace").removeprefix(self._calls.keys.tag)
        return text if message_id_complaint(text) is None else f"arq-{self._digests.name(job_id)}"


def _batched(entries: Sequence[_Entry], size: int) -> Iterator[Sequence[_Entry]]:
    """Yield the entries in order, at most `size` at a time."""
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _job_key(job_id: bytes) -> bytes:
    return ARQ_JOB.encode() + job_id


def _own_id(job: bytes) -> str | None:
    try:
        envelope = arq_deserializer(job)
    except UnreadableJob:
        return None
    positional = envelope.get("a")
    fields = positional[0] if isinstance(positional, list) and positional else envelope.get("k")
    given = fields.get("message_id") if isinstance(fields, Mapping) else None
    return given if isinstance(given, str) and message_id_complaint(given) is None else None


def _read(entry: _Entry, job: bytes, message_id: str, now: int) -> _Readable:
    """Read a job and check it as a producer would.

    Raises UnreadableJob for anything that is wrong with the job.
    """
    try:
        return _checked(entry, job, message_id, now)
    except UnreadableJob:
        raise
    except InvalidMessage as error:
        faults = error.faults
    except Exception as error:  # noqa: BLE001  # one job must not hold up the ones behind it
        faults = (
            Fault(
                "job", f"cannot be read ({type(error).__name__})", "write it with arq_serializer"
            ),
        )
    # Raised outside the handlers, so that it does not chain an error whose text may quote the job.
    raise UnreadableJob("invalid", faults)


def _checked(entry: _Entry, job: bytes, message_id: str, now: int) -> _Readable:
    message = decode_job(job, message_id)
    arguments = row_arguments(message, job)
    if not math.isfinite(entry.score):
        raise InvalidMessage(
            [Fault("score", "is not an instant", "enqueue it with arq, or give a not_before")]
        )
    due = int(entry.score)
    if due > _enqueued_ms(job, due):
        arguments[_NOT_BEFORE] = max(due, int(arguments[_NOT_BEFORE] or 0))
    check_times(message, int(arguments[_NOT_BEFORE] or 0), now)
    return _Readable(message, list(arguments))


def _enqueued_ms(job: bytes, otherwise: int) -> int:
    """Return the enqueue time by the producer's clock, so that a skewed clock defers nothing."""
    enqueued = arq_deserializer(job).get("et")
    return enqueued if isinstance(enqueued, int) else otherwise
