"""Builds the producers' requests to the store and parses its answers.

Holds everything that both producers share and that does no I/O.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from redis.exceptions import ResponseError

from sendwindow import codec
from sendwindow.contract import MAX_LIFETIME, MAX_START_DELAY, SendMessage
from sendwindow.errors import QueueFull
from sendwindow.keys import Keys, knows_layout
from sendwindow.limits import MAX_WHATSAPP_TEMPLATE_UNITS, utf16_units
from sendwindow.media import lost_body_complaint, type_complaint
from sendwindow.message_errors import Fault, IdConflict, InvalidMessage
from sendwindow.results import CancelAnswer, MessageStatus, Receipt
from sendwindow.retry_deadline import FULL
from sendwindow.row_fields import RowField
from sendwindow.script_names import SOURCES, UNPOSTED
from sendwindow.scripts import Argument, load_script
from sendwindow.timestamps import from_ms, now_ms, to_ms
from sendwindow.validators import LANGUAGE
from sendwindow.vocabulary import Channel, Reason, Stage
from sendwindow.wire import shown

ENQUEUE: Final = load_script("enqueue", SOURCES)
CANCEL: Final = load_script("cancel", SOURCES, flags=["allow-oom"])

MAX_BATCH_BYTES: Final = 1024 * 1024
"""A batch is closed when its jobs reach this size in bytes, so that a script call stays short."""

STATUS_FIELDS: Final = (
    RowField.STAGE,
    RowField.REASON,
    RowField.ERROR_CODE,
    RowField.STATUS,
    RowField.MESSAGE_SID,
    RowField.ATTEMPT,
    RowField.ENQUEUED_AT,
    RowField.EXPIRES_AT,
    RowField.ENDED_AT,
    RowField.CANCEL_ASKED,
    RowField.MAYBE_SENT,
)
_MS: Final = timedelta(milliseconds=1)
_CODE: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that is ready to be queued, and the exact arguments that enqueue.lua takes for it.

    `job` is one of them: what the store keeps of the message.
    """

    message: SendMessage
    job: bytes
    arguments: Sequence[Argument]


EnqueueResult = Receipt | IdConflict | QueueFull
"""What the store did with one entry."""

Message = SendMessage | Mapping[str, Any]
"""What producers accept: a message, or a dictionary of its fields."""
Messages = TypeVar("Messages")


def prepare(message: Message) -> Entry:
    """Return a message with its job, after the checks that apply only to a new message.

    The times of the message are checked against this machine's clock. Raises InvalidMessage.
    """
    if not isinstance(message, SendMessage):
        message = SendMessage.model_validate(message)
    if faults := [*_template_faults(message), *_media_faults(message)]:
        raise InvalidMessage(faults)
    now = now_ms()
    check_times(message, to_ms(message.not_before) if message.not_before else now, now)
    job = codec.encode_job(message, now)
    return Entry(message, job, tuple(row_arguments(message, job)))


def one_id(message_id: str) -> str:
    """Return `message_id` unchanged.

    Raises TypeError unless it is a str: the store would just report an unknown id.
    """
    if not isinstance(message_id, str):
        raise TypeError(
            f"message_id is a text, not {type(message_id).__name__}; "
            "a receipt has it as `message_id`"
        )
    return message_id


def many(messages: Messages) -> Messages:
    """Return the messages for `send_many` unchanged.

    Raises TypeError for a single message: iterating over it would yield several invalid ones.
    """
    if isinstance(messages, SendMessage | Mapping | str | bytes):
        raise TypeError(
            "send_many takes several messages, as a list for instance; give one alone to send"
        )
    return messages


def check_times(message: SendMessage, start: int, now: int) -> None:
    """Check that a message does not start or expire too far ahead.

    `start` and `now` are milliseconds since 1970. Raises InvalidMessage.
    """
    start = max(now, start)
    if start > now + MAX_START_DELAY // _MS:
        raise InvalidMessage(
            [Fault("not_before", "is more than 35 days ahead", "give an earlier time")]
        )
    if message.expires_at and to_ms(message.expires_at) > start + MAX_LIFETIME // _MS:
        raise InvalidMessage(
            [
                Fault(
                    "expires_at",
                    "is more than 7 days ahead",
                    "give an earlier time, or a not_before",
                )
            ]
        )


def _media_faults(message: SendMessage) -> Iterator[Fault]:
    """Yield the faults of a message's media that are certain.

    As with `_template_faults`, the contract itself still accepts such a message.
    """
    freeform, channel = message.freeform, message.address.channel
    if freeform is None:
        return
    if complaint := lost_body_complaint(channel, freeform.body, freeform.media_url):
        yield Fault("freeform.body", *complaint)
    if complaint := type_complaint(channel, freeform.media_url):
        yield Fault("freeform.media_url", *complaint)


def _template_faults(message: SendMessage) -> Iterator[Fault]:
    """Yield the faults with which no template can be sent.

    The contract itself still accepts such a message, because older jobs on a queue may have them.
    """
    template = message.template
    if template is None:
        return
    if template.language is not None and not LANGUAGE.fullmatch(template.language):
        yield Fault(
            "template.language", "is not written as WhatsApp does", "use one such as en or pt_BR"
        )
    if message.address.channel is not Channel.WHATSAPP:
        return
    for key, value in template.variables.items():
        if (units := utf16_units(value)) > MAX_WHATSAPP_TEMPLATE_UNITS:
            problem = (
                f"has {units} UTF-16 units, "
                f"and a WhatsApp template holds {MAX_WHATSAPP_TEMPLATE_UNITS} in all (63021)"
            )
            yield Fault(f"template.variables.{shown(key)}", problem, "shorten it")


def lane_of(message: SendMessage) -> str:
    """Return the name of a message's lane, which consists of sender, priority and campaign."""
    return f"{message.sender}|{message.priority}|{message.campaign or ''}"


def row_arguments(message: SendMessage, job: bytes) -> list[Argument]:
    """Return the nine arguments that enqueue.lua takes for one message."""
    return [
        message.message_id,
        job,
        codec.content_digest(message),
        lane_of(message),
        to_ms(message.not_before) if message.not_before else "",
        to_ms(message.expires_at) if message.expires_at else "",
        message.lifetime // _MS,
        message.unknown_rule,
        message.group or "",
    ]


def read_enqueue(entries: Sequence[Entry], reply: Sequence[Any]) -> list[EnqueueResult]:
    """Parse the reply of enqueue.lua for these entries."""
    return [_result(entry, *answer) for entry, answer in zip(entries, reply, strict=True)]


def _result(entry: Entry, word: bytes, enqueued_ms: bytes | int) -> EnqueueResult:
    message_id = entry.message.message_id
    if word == b"conflict":
        return IdConflict(message_id)
    if word == b"full":
        return QueueFull(FULL)
    return Receipt(message_id, word == b"duplicate", from_ms(int(enqueued_ms)))


def duplicates(results: Sequence[EnqueueResult]) -> dict[int, Receipt]:
    """Return the receipts of duplicates by position.

    If the reply to an earlier try of this same call was lost, that try may have queued them.
    """
    return {
        at: result
        for at, result in enumerate(results)
        if isinstance(result, Receipt) and result.duplicate
    }


def job_keys(keys: Keys, found: Mapping[int, Receipt]) -> list[str]:
    """Return the keys of the jobs that tell who queued these duplicates."""
    return [keys.job(receipt.message_id) for receipt in found.values()]


def recognise(
    entries: Sequence[Entry],
    results: Sequence[EnqueueResult],
    found: Mapping[int, Receipt],
    jobs: Sequence[bytes | None],
) -> list[EnqueueResult]:
    """Return the results, with each duplicate that this call itself queued marked as new.

    This call queued it if the stored job is byte for byte the job that this call wrote. If the
    message has ended since, its job is gone and the result remains a duplicate.
    """
    known = list(results)
    for (at, receipt), job in zip(found.items(), jobs, strict=True):
        if job == entries[at].job:
            known[at] = replace(receipt, duplicate=False)
    return known


def status_commands(keys: Keys, message_id: str) -> tuple[tuple[Argument, ...], ...]:
    """Return the commands that read a message's status.

    Send them together and pass their answers to `read_status`.
    """
    return ("HGET", keys.meta, "schema"), ("HMGET", keys.row(one_id(message_id)), *STATUS_FIELDS)


def read_status(message_id: str, answers: Sequence[Any]) -> MessageStatus | None:
    """Parse the answers to `status_commands`. Return None if the message has no row.

    Raises ResponseError if the store has another layout.
    """
    schema, values = answers
    if not knows_layout(schema):
        raise ResponseError("SCHEMA the layout is another one")
    row: dict[str, str] = {
        name: value.decode() for name, value in zip(STATUS_FIELDS, values, strict=True) if value
    }
    if RowField.STAGE not in row:
        return None
    row = effective_row(row)
    return MessageStatus(
        message_id=message_id,
        stage=Stage(row[RowField.STAGE]),
        reason=row.get(RowField.REASON),
        error_code=int(row[RowField.ERROR_CODE])
        if _CODE.fullmatch(row.get(RowField.ERROR_CODE, ""))
        else None,
        status=row.get(RowField.STATUS),
        message_sid=row.get(RowField.MESSAGE_SID),
        attempts=int(row[RowField.ATTEMPT]),
        enqueued_at=from_ms(float(row[RowField.ENQUEUED_AT])),
        expires_at=from_ms(float(row[RowField.EXPIRES_AT])),
        ended_at=from_ms(float(row[RowField.ENDED_AT])) if RowField.ENDED_AT in row else None,
    )


def effective_row(row: dict[str, str]) -> dict[str, str]:
    """Return a row as every reader should see it.

    From the moment its producer asks for the cancel, no POST of a message in a lane or under a
    claim begins. Such a message is shown as cancelled, although a worker records that end a little
    later. If an attempt of it may be at Twilio, it keeps its stage until then.
    """
    is_cancelled = RowField.CANCEL_ASKED in row and RowField.MAYBE_SENT not in row
    if not is_cancelled or row.get(RowField.STAGE) not in UNPOSTED:
        return row
    return row | {RowField.STAGE: Stage.CANCELLED.value, RowField.REASON: Reason.CANCELLED.value}


def read_cancel(reply: Sequence[bytes]) -> CancelAnswer:
    """Parse the reply of cancel.lua for one id."""
    [word] = reply
    return CancelAnswer(word.decode())
