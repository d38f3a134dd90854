"""The only wire format of jobs: arq's envelope in JSON.

Every form that any release has written stays readable. This module never opens a pickle.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import from_json

from sendwindow.contract import SendMessage
from sendwindow.message_errors import Fault, InvalidMessage, UnreadableJob

FUNCTION: Final = "send_message"
MAX_JOB_BYTES: Final = 64 * 1024
"""Size of the largest job in bytes, including the envelope."""

_ONLY_FOR_THE_ENQUEUE: Final = {"supersedes"}
"""Fields that no worker reads. A worker of an earlier release would refuse a job that has one."""

_DIGEST_CHARACTERS: Final = 24
_PICKLE_MARK: Final = b"\x80"


def encode_job(message: SendMessage, enqueued_ms: int) -> bytes:
    """Return `message` as a job in arq's wire format, without the fields that have default values.

    Raises InvalidMessage if the job is larger than 64 KiB.
    """
    fields = message.model_dump_json(
        exclude=_ONLY_FOR_THE_ENQUEUE, exclude_defaults=True, exclude_none=True
    ).encode()
    job = b'{"t":null,"f":"%b","a":[%b],"k":{},"et":%d}' % (FUNCTION.encode(), fields, enqueued_ms)
    if len(job) > MAX_JOB_BYTES:
        raise InvalidMessage(
            [
                Fault(
                    "message",
                    f"is {len(job)} bytes as a job, {MAX_JOB_BYTES} at most",
                    "shorten variables or metadata",
                )
            ]
        )
    return job


def decode_job(job: bytes, message_id: str | None = None) -> SendMessage:
    """Parse a job that a Sendwindow producer wrote, or arq's `enqueue_job` with `arq_serializer`.

    `message_id` is the id under which the store keeps the job. It takes precedence over the id
    inside the job. Raises UnreadableJob.
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
    """Return a digest of the fields that make two messages the same, without default values.

    These fields are the recipient, the sender, the purpose, the content and the group. Timing,
    priority, campaign and metadata may differ when a message is repeated. The digest is the first
    24 hexadecimal digits of a SHA-256.
    """
    kept = {"to", "sender", "purpose", "freeform", "template", "group"}
    content = message.model_dump(
        mode="json", include=kept, exclude_defaults=True, exclude_none=True
    )
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def arq_serializer(value: Mapping[str, Any]) -> bytes:
    """Serialize a job for plain arq: `create_pool(..., job_serializer=arq_serializer)`.

    The job's arguments may include SendMessage objects and aware datetimes. Raises TypeError for
    any other value that JSON cannot represent.
    """
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()


def arq_deserializer(job: bytes) -> dict[str, Any]:
    """Deserialize a job for plain arq: `create_pool(..., job_deserializer=arq_deserializer)`.

    Never opens a pickle. Raises UnreadableJob.
    """
    return _envelope(job)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(
        f"a job cannot hold a {type(value).__name__}; give texts, numbers, lists and dictionaries"
    )


def _envelope(job: bytes) -> dict[str, Any]:
    if job.startswith(_PICKLE_MARK):
        raise UnreadableJob("pickled")
    if len(job) > MAX_JOB_BYTES:
        raise UnreadableJob("too_large")
    reason = "not_a_job"
    try:
        envelope = from_json(job, allow_inf_nan=False)
        if isinstance(envelope, dict):
            return envelope
    except ValueError:
        reason = "not_json"
    # Raise outside the handler: the parser's error may quote the job, so it must not become the
    # context of ours.
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
