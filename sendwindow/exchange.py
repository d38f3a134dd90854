"""What the producers say to the store and how they read its answers: everything they share that does no I/O."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from redis.exceptions import ResponseError

from sendwindow import codec
from sendwindow.answers import CancelAnswer, MessageStatus, Receipt
from sendwindow.checks import LANGUAGE
from sendwindow.contract import FARTHEST_START, LONGEST_LIFETIME, SendMessage
from sendwindow.errors import Fault, IdConflict, InvalidMessage, QueueFull
from sendwindow.instants import from_ms, now_ms, to_ms
from sendwindow.keys import Keys, knows_layout
from sendwindow.lengths import WHATSAPP_TEMPLATE_UNITS, utf16_units
from sendwindow.media import lost_body_complaint, type_complaint
from sendwindow.patience import FULL, PRESSURE_LIMIT
from sendwindow.scripts import Argument, load_script
from sendwindow.vocabulary import Channel, Stage
from sendwindow.wire import shown

ENQUEUE: Final = load_script("enqueue")
CANCEL: Final = load_script("cancel", flags=["allow-oom"])

BATCH_BYTES: Final = 1024 * 1024
"""A batch is closed when its jobs reach this size, so that one script call stays short."""

STATUS_FIELDS: Final = ("s", "r", "c", "st", "sid", "n", "q", "e", "z")
_MS: Final = timedelta(milliseconds=1)
_CODE: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A message ready to be queued, and the exact job that is written for it."""

    message: SendMessage
    job: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The store's word for one entry: new, duplicate, conflict or full."""

    word: str
    enqueued_ms: int


Message = SendMessage | Mapping[str, Any]
"""What producers take: a message, or a dictionary of its fields."""
Messages = TypeVar("Messages")


def prepare(message: Message) -> Entry:
    """Check what only a new message must keep to, its times by this machine's clock, and write its job.

    Raises InvalidMessage.
    """
    if not isinstance(message, SendMessage):
        message = SendMessage.model_validate(message)
    if faults := [*_template_faults(message), *_media_faults(message)]:
        raise InvalidMessage(faults)
    now = now_ms()
    check_times(message, to_ms(message.not_before) if message.not_before else now, now)
    return Entry(message, codec.encode_job(message, now))


def one_id(message_id: str) -> str:
    """Keep a message's id. Raises TypeError for anything but text, which the store would merely not know."""
    if not isinstance(message_id, str):
        raise TypeError(f"message_id is a text, not {type(message_id).__name__}; a receipt has it as `message_id`")
    return message_id


def many(messages: Messages) -> Messages:
    """Keep what `send_many` is to send. Raises TypeError for one message, which would be read as several bad ones."""
    if isinstance(messages, SendMessage | Mapping | str | bytes):
        raise TypeError("send_many takes several messages, as a list for instance; give one alone to send")
    return messages


def check_times(message: SendMessage, start: int, now: int) -> None:
    """Check how far a message's `start` and its expiry lie ahead, in milliseconds since 1970. Raises InvalidMessage."""
    start = max(now, start)
    if start > now + FARTHEST_START // _MS:
        raise InvalidMessage([Fault("not_before", "is more than 35 days ahead", "give an earlier time")])
    if message.expires_at and to_ms(message.expires_at) > start + LONGEST_LIFETIME // _MS:
        raise InvalidMessage(
            [Fault("expires_at", "is more than 7 days ahead", "give an earlier time, or a not_before")]
        )


def _media_faults(message: SendMessage) -> Iterator[Fault]:
    """Yield what certainly goes wrong with media. The contract itself still reads it, as with `_template_faults`."""
    freeform, channel = message.freeform, message.address.channel
    if freeform is None:
        return
    if complaint := lost_body_complaint(channel, freeform.body, freeform.media_url):
        yield Fault("freeform.body", *complaint)
    if complaint := type_complaint(channel, freeform.media_url):
        yield Fault("freeform.media_url", *complaint)


def _template_faults(message: SendMessage) -> Iterator[Fault]:
    """Yield what no template can go with. The contract itself still reads it: jobs queued long ago may hold it."""
    template = message.template
    if template is None:
        return
    if template.language is not None and not LANGUAGE.fullmatch(template.language):
        yield Fault("template.language", "is not written as WhatsApp does", "use one such as en or pt_BR")
    if message.address.channel is not Channel.WHATSAPP:
        return
    for key, value in template.variables.items():
        if (units := utf16_units(value)) > WHATSAPP_TEMPLATE_UNITS:
            problem = (
                f"has {units} UTF-16 units, and a WhatsApp template holds {WHATSAPP_TEMPLATE_UNITS} in all (63021)"
            )
            yield Fault(f"template.variables.{shown(key)}", problem, "shorten it")


def lane_of(message: SendMessage) -> str:
    """Name the lane of a message: sender, priority and campaign."""
    return f"{message.sender}|{message.priority}|{message.campaign or ''}"


def row_arguments(message: SendMessage, job: bytes) -> list[Argument]:
    """Give the nine arguments that enqueue.lua takes for one message."""
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


def enqueue_arguments(entries: Sequence[Entry]) -> list[Argument]:
    """Give all arguments of enqueue.lua for a batch."""
    arguments: list[Argument] = [PRESSURE_LIMIT]
    for entry in entries:
        arguments += row_arguments(entry.message, entry.job)
    return arguments


def read_answers(reply: Sequence[Any]) -> list[Answer]:
    """Read enqueue.lua's reply."""
    return [Answer(word.decode(), int(enqueued_ms)) for word, enqueued_ms in reply]


def doubtful(entries: Sequence[Entry], answers: Sequence[Answer]) -> list[int]:
    """Positions of duplicates that may be this very call's own work, done before its reply was lost."""
    return [at for at, (_, answer) in enumerate(zip(entries, answers, strict=True)) if answer.word == "duplicate"]


def recognise(
    entries: Sequence[Entry], answers: Sequence[Answer], positions: Sequence[int], jobs: Sequence[bytes | None]
) -> list[Answer]:
    """Turn duplicates into new ones where the stored job is, byte for byte, the one this call wrote.

    A job whose message has ended meanwhile is gone; it stays a duplicate.
    """
    known = list(answers)
    for at, job in zip(positions, jobs, strict=True):
        if job == entries[at].job:
            known[at] = replace(known[at], word="new")
    return known


def to_receipt(entry: Entry, answer: Answer) -> Receipt:
    """Make the receipt of a new or duplicate message. Raises IdConflict and QueueFull."""
    if answer.word == "conflict":
        raise IdConflict(entry.message.message_id)
    if answer.word == "full":
        raise QueueFull(FULL)
    return Receipt(entry.message.message_id, answer.word == "duplicate", from_ms(answer.enqueued_ms))


def status_commands(keys: Keys, message_id: str) -> tuple[tuple[Argument, ...], ...]:
    """Return the commands that ask for a message's status, to be sent together, for `read_status`."""
    return ("HGET", keys.meta, "schema"), ("HMGET", keys.row(one_id(message_id)), *STATUS_FIELDS)


def read_status(message_id: str, answers: Sequence[Any]) -> MessageStatus | None:
    """Read the answers to `status_commands`; None when there is no row. Raises ResponseError for another layout."""
    schema, values = answers
    if not knows_layout(schema):
        raise ResponseError("SCHEMA the layout is another one")
    row = {name: value.decode() for name, value in zip(STATUS_FIELDS, values, strict=True) if value}
    if "s" not in row:
        return None
    return MessageStatus(
        message_id=message_id,
        stage=Stage(row["s"]),
        reason=row.get("r"),
        error_code=int(row["c"]) if _CODE.fullmatch(row.get("c", "")) else None,
        status=row.get("st"),
        message_sid=row.get("sid"),
        attempts=int(row["n"]),
        enqueued_at=from_ms(float(row["q"])),
        expires_at=from_ms(float(row["e"])),
        ended_at=from_ms(float(row["z"])) if "z" in row else None,
    )


def read_cancel(reply: Sequence[bytes]) -> CancelAnswer:
    """Read cancel.lua's reply to one id."""
    [word] = reply
    return CancelAnswer(word.decode())
