"""The one wire format of jobs: arq's envelope in JSON. Every form ever written stays readable; no pickle is opened."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import from_json

from sendwindow.contract import SendMessage
from sendwindow.errors import Fault, InvalidMessage, UnreadableJob

FUNCTION: Final = "send_message"
JOB_BYTES: Final = 64 * 1024
"""Largest job, envelope included."""

_DIGEST_LENGTH: Final = 24
_PICKLE_MARK: Final = b"\x80"


def encode_job(message: SendMessage, enqueued_ms: int) -> bytes:
    """Write a job in arq's wire format; fields with their default value are left out.

    Raises InvalidMessage when it is larger than 64 KiB.
    """
    fields = message.model_dump_json(exclude_defaults=True, exclude_none=True).encode()
    job = b'{"t":null,"f":"%b","a":[%b],"k":{},"et":%d}' % (FUNCTION.encode(), fields, enqueued_ms)
    if len(job) > JOB_BYTES:
        raise InvalidMessage(
            [Fault("message", f"is {len(job)} bytes as a job, {JOB_BYTES} at most", "shorten variables or metadata")]
        )
    return job


def decode_job(job: bytes, message_id: str | None = None) -> SendMessage:
    """Read a job written by a Sendwindow producer, or by arq's `enqueue_job` with `arq_serializer`.

    `message_id`: the id under which the store keeps the job; it outranks the one written inside. Raises UnreadableJob.
    """
    fields = _fields(_envelope(job))
    if message_id is not None:
        fields = {**fields, "message_id": message_id}
    try:
        return SendMessage.model_validate(fields)
    except InvalidMessage as error:
        faults = error.faults
    raise UnreadableJob("invalid", faults)


def content_digest(message: SendMessage) -> str:
    """Digest what makes two messages the same: to, sender, purpose, content and group, without defaults.

    24 hexadecimal digits of a SHA-256. Timing, priority, campaign and metadata may differ between repetitions.
    """
    kept = {"to", "sender", "purpose", "freeform", "template", "group"}
    content = message.model_dump(mode="json", include=kept, exclude_defaults=True, exclude_none=True)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def arq_serializer(value: Mapping[str, Any]) -> bytes:
    """Serialize for plain arq, as `create_pool(..., job_serializer=arq_serializer)`.

    Takes SendMessage and aware datetimes as arguments too. Raises TypeError for what JSON cannot hold.
    """
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()


def arq_deserializer(job: bytes) -> dict[str, Any]:
    """Deserialize for plain arq, as `create_pool(..., job_deserializer=arq_deserializer)`.

    Raises UnreadableJob; opens no pickle.
    """
    return _envelope(job)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a job cannot hold a {type(value).__name__}; give texts, numbers, lists and dictionaries")


def _envelope(job: bytes) -> dict[str, Any]:
    if job.startswith(_PICKLE_MARK):
        raise UnreadableJob("pickled")
    if len(job) > JOB_BYTES:
        raise UnreadableJob("too_large")
    reason = "not_a_job"
    try:
        envelope = from_json(job, allow_inf_nan=False)
        if isinstance(envelope, dict):
            return envelope
    except ValueError:
        reason = "not_json"
    # Raised outside the handler: the parser's error may quote the job.
    raise UnreadableJob(reason)


def _fields(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    function, positional, named = envelope.get("f"), envelope.get("a"), envelope.get("k")
    if not (isinstance(function, str) and isinstance(positional, list) and isinstance(named, dict)):
        raise UnreadableJob("not_a_job")
    if function != FUNCTION:
        raise UnreadableJob("other_function")
    if not positional and named:
        return named
    if len(positional) == 1 and isinstance(positional[0], dict) and not named:
        return positional[0]
    raise UnreadableJob("arguments")
