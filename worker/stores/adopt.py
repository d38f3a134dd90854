"""Takes over jobs that plain arq producers put on the partition's queue. From here on the promises hold.

Every step may be repeated after an interruption: a message is queued by its id, and only then is arq's entry removed.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from redis.exceptions import OutOfMemoryError

from sendwindow.codec import arq_deserializer, decode_job
from sendwindow.contract import SendMessage
from sendwindow.errors import Fault, InvalidMessage, UnreadableJob
from sendwindow.exchange import CANCEL, ENQUEUE, check_times, row_arguments
from sendwindow.identifiers import message_id_complaint
from sendwindow.keys import ARQ_ABORT, ARQ_JOB
from worker.stores.calls import Calls, rest_of_note, worker_script
from worker.values.adoptions import Adopted, Unreadable

_UNREADABLE: Final = worker_script("unreadable")
_ADOPTED: Final = worker_script("adopted")
_NOW: Final = worker_script("now")
_ABORTS_AT_ONCE: Final = 250
_NOT_BEFORE: Final = 4
_HELD_BACK_MS: Final = 3_600_000
"""An aborted job is queued this much later, so that nobody claims it before its cancel."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of arq's queue. `score`: milliseconds, the enqueue time plus what `_defer_by` asked for; or anything."""

    job_id: bytes
    score: float
    job: bytes | None
    is_aborted: bool


@dataclass(frozen=True, slots=True)
class _Readable:
    message: SendMessage
    arguments: list[Any]


class Adoption:
    """Moves jobs from arq's queue into lanes, and arq's aborts into cancels."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._abort_cursor = 0
        self._untold: dict[str, Unreadable] = {}

    async def adopt(self, limit: int) -> Adopted:
        """Take up to `limit` jobs. A store without memory leaves the rest where they are.

        A call that raised may have kept unreadable ones all the same: the next one tells them. Of several workers, the
        one that kept a job tells it; when it dies first nobody does, and only the dead letter itself says so.
        """
        entries = await self._entries(limit) if limit > 0 else []
        now = int(await self._calls.run(_NOW, [])) if entries else 0
        taken = 0
        for entry in entries:
            try:
                await self._take(entry, now)
            except OutOfMemoryError:
                break
            taken += 1
        await self._abort()
        unreadable, self._untold = tuple(self._untold.values()), {}
        return Adopted(taken, unreadable)

    async def _entries(self, limit: int) -> list[_Entry]:
        queued = await self._calls.redis.zrange(self._calls.keys.ingress, 0, limit - 1, withscores=True)
        if not queued:
            return []
        jobs = await self._calls.redis.mget([_job_key(job_id) for job_id, _ in queued])
        aborts = await self._calls.redis.zmscore(ARQ_ABORT, [job_id for job_id, _ in queued])
        return [
            _Entry(job_id, score, job, abort is not None)
            for (job_id, score), job, abort in zip(queued, jobs, aborts, strict=True)
        ]

    async def _take(self, entry: _Entry, now: int) -> None:
        message_id = self._message_id(entry)
        if entry.job is None:
            # Adopted before and interrupted, or arq let the job expire: the entry alone says nothing.
            await self._remove(entry, message_id)
            return
        try:
            readable = _read(entry, entry.job, message_id, now)
        except UnreadableJob as error:
            await self._keep(entry, entry.job, Unreadable(message_id, error.reason), str(error))
            return
        if entry.is_aborted:
            readable.arguments[_NOT_BEFORE] = now + _HELD_BACK_MS
        reply = await self._calls.run_durably(ENQUEUE, [0, *readable.arguments])
        if reply[0][0] == b"conflict":
            conflict = Unreadable(message_id, "id_conflict")
            await self._keep(entry, entry.job, conflict, "its message id already belongs to another message")
            return
        if entry.is_aborted:
            await self._calls.run_durably(CANCEL, [message_id])
        await self._remove(entry, message_id)
        if entry.is_aborted:
            await self._calls.redis.zrem(ARQ_ABORT, entry.job_id)

    async def _keep(self, entry: _Entry, job: bytes, found: Unreadable, text: str) -> None:
        """As a dead letter, bytes whole. An id that is taken is replaced by one made of the bytes."""
        digest = hashlib.sha256(job).hexdigest()[:24]
        note = rest_of_note({"reason": "unreadable", "text": text})
        for one in (found, replace(found, message_id=f"job-{digest}")):
            answer = await self._calls.run_once(_UNREADABLE, [one.message_id, job, digest, note])
            if answer == b"kept":
                self._untold[one.message_id] = one
            if answer != b"taken":
                break
        await self._remove(entry, found.message_id)

    async def _remove(self, entry: _Entry, message_id: str) -> None:
        await self._calls.run_durably(_ADOPTED, [entry.job_id, message_id])
        key = _job_key(entry.job_id)
        if key != self._calls.keys.job(message_id).encode():
            await self._calls.redis.delete(key)

    async def _abort(self) -> None:
        """Look through some of the aborts, going on where the last call ended: most may be other applications'.

        Without our tag an id may be another application's job, whatever message of ours is called the same. Such an
        abort stays, and counts only for a job on our own queue.
        """
        redis, tag = self._calls.redis, self._calls.keys.tag.encode()
        cursor, found = await redis.zscan(ARQ_ABORT, self._abort_cursor, count=_ABORTS_AT_ONCE)
        job_ids = [job_id for job_id, _ in found if job_id.startswith(tag)]
        if job_ids:
            # Asked first: a job that is taken over between the two questions is known to the second.
            backlog = await redis.zmscore(self._calls.keys.ingress, job_ids)
            answers = await self._calls.run_durably(CANCEL, [self._untagged(job_id) for job_id in job_ids])
            asked = zip(job_ids, backlog, answers, strict=True)
            done = [job_id for job_id, score, answer in asked if answer != b"unknown_id" or score is None]
            if done:
                await redis.zrem(ARQ_ABORT, *done)
        self._abort_cursor = cursor

    def _message_id(self, entry: _Entry) -> str:
        """The message's own id, else the job's without the tag, else one made of an unusable job id."""
        own = _own_id(entry.job) if entry.job is not None else None
        return own or self._untagged(entry.job_id)

    def _untagged(self, job_id: bytes) -> str:
        text = job_id.decode(errors="replace").removeprefix(self._calls.keys.tag)
        return text if message_id_complaint(text) is None else f"arq-{hashlib.sha256(job_id).hexdigest()[:24]}"


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
    """Read a job and check it as a producer would. Raises UnreadableJob, whatever is wrong with the job."""
    try:
        return _checked(entry, job, message_id, now)
    except UnreadableJob:
        raise
    except InvalidMessage as error:
        faults = error.faults
    except Exception as error:  # noqa: BLE001  # one job must not hold up the ones behind it
        faults = (Fault("job", f"cannot be read ({type(error).__name__})", "write it with arq_serializer"),)
    # Raised outside the handlers: an error's text may quote the job.
    raise UnreadableJob("invalid", faults)


def _checked(entry: _Entry, job: bytes, message_id: str, now: int) -> _Readable:
    message = decode_job(job, message_id)
    arguments = row_arguments(message, job)
    if not math.isfinite(entry.score):
        raise InvalidMessage([Fault("score", "is no point in time", "enqueue it with arq, or give a not_before")])
    due = int(entry.score)
    if due > _enqueued_ms(job, due):
        arguments[_NOT_BEFORE] = max(due, int(arguments[_NOT_BEFORE] or 0))
    check_times(message, int(arguments[_NOT_BEFORE] or 0), now)
    return _Readable(message, list(arguments))


def _enqueued_ms(job: bytes, otherwise: int) -> int:
    """The producer's own clock, so that a skewed one defers nothing."""
    enqueued = arq_deserializer(job).get("et")
    return enqueued if isinstance(enqueued, int) else otherwise
