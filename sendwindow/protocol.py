"""Builds the producers' requests to the store and parses its answers.

Holds everything that both producers share and that does no I/O.
"""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from redis.exceptions import ResponseError

from sendwindow import codec
from sendwindow.contract import MAX_LIFETIME, MAX_START_DELAY, SendMessage
from sendwindow.errors import QueueFull, QueueScope
from sendwindow.ids import name_complaint
from sendwindow.keys import Keys, knows_layout
from sendwindow.limits import MAX_WHATSAPP_TEMPLATE_UNITS, utf16_units
from sendwindow.media import lost_body_complaint, type_complaint
from sendwindow.message_errors import Fault, IdConflict, InvalidMessage
from sendwindow.results import CampaignStatus, CancelAnswer, MessageStatus, Receipt
from sendwindow.retry_deadline import FULL
from sendwindow.row_fields import RowField
from sendwindow.script_names import CLASSES, NO_END_MS, SOURCES, UNPOSTED
from sendwindow.scripts import Argument, Command, load_script
from sendwindow.timestamps import from_ms, now_ms, to_ms
from sendwindow.validators import LANGUAGE
from sendwindow.vocabulary import DISPATCH_ENDS, Channel, Reason, Stage
from sendwindow.wire import shown

ENQUEUE: Final = load_script("enqueue", SOURCES)
CANCEL: Final = load_script("cancel", SOURCES, flags=["allow-oom"])
CAMPAIGN: Final = load_script("campaign", SOURCES, flags=["allow-oom"])

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
    RowField.LANE,
    RowField.SUPERSEDED_BY,
)
_SENDER_FULL: Final = (
    "as many messages are queued for the sender {} as max_queued allows; send it again later"
)
_CAMPAIGN_FULL: Final = (
    "as many messages are queued for the campaign {} of the sender {} as "
    "max_queued_per_campaign allows; send it again later"
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
    """Return the ten arguments that enqueue.lua takes for one message."""
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
        f"{secrets.token_hex(16)} {message.to} {message.supersedes}" if message.supersedes else "",
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
    if word == b"sender_full":
        return QueueFull(_SENDER_FULL.format(entry.message.sender), scope=QueueScope.SENDER)
    if word == b"campaign_full":
        text = _CAMPAIGN_FULL.format(entry.message.campaign, entry.message.sender)
        return QueueFull(text, scope=QueueScope.CAMPAIGN)
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


def campaign_to_ask(answers: Sequence[Any]) -> str | None:
    """Return the campaign whose cancel decides how a message is shown, None when none does.

    `answers` are those to `status_commands`. The campaign is named `<sender>|<campaign>`.
    """
    return open_campaign(_status_row(answers[1]))


def campaign_commands(keys: Keys, message_id: str, campaign: str) -> tuple[Command, ...]:
    """Return the commands that read a message's status together with the cancel of its campaign.

    Send them in a transaction and pass their answers to `read_status`. A cancel between two
    commands would show a message as cancelled that was sent before.
    """
    return (
        *status_commands(keys, message_id),
        ("ZSCORE", keys.cancelled_campaigns, campaign),
    )


def read_status(message_id: str, answers: Sequence[Any]) -> MessageStatus | None:
    """Parse the answers to `status_commands` or `campaign_commands`.

    Return None if the message has no row. Raises ResponseError if the store has another layout.
    """
    schema, values, *cancelled_at = answers
    if not knows_layout(schema):
        raise ResponseError("SCHEMA the layout is another one")
    row = _status_row(values)
    if RowField.STAGE not in row:
        return None
    row = effective_row(row, *cancelled_at)
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


def _status_row(values: Sequence[bytes | None]) -> dict[str, str]:
    return {
        name: value.decode() for name, value in zip(STATUS_FIELDS, values, strict=True) if value
    }


def open_campaign(row: Mapping[str, str]) -> str | None:
    """Return the campaign of a message whose cancel would be the message's own.

    It is named `<sender>|<campaign>`. None: the message has none, has ended or was cancelled.
    """
    sender, _, rest = row.get(RowField.LANE, "").partition("|")
    campaign = rest.partition("|")[2]
    if not campaign or RowField.CANCEL_ASKED in row or row.get(RowField.STAGE) in DISPATCH_ENDS:
        return None
    return f"{sender}|{campaign}"


def effective_row(row: dict[str, str], cancelled_at: bytes | float | None = None) -> dict[str, str]:
    """Return a row as every reader should see it.

    From the moment its producer asks for the cancel, no POST of a message in a lane or under a
    claim begins. Such a message is shown as cancelled, although a worker records that end a little
    later. If an attempt of it may be at Twilio, it keeps its stage until then.

    `cancelled_at`: when its campaign was cancelled (ms), read together with the row.
    """
    if cancelled_at is not None and float(row[RowField.ENQUEUED_AT]) <= float(cancelled_at):
        row = row | {RowField.CANCEL_ASKED: "1"}
    is_cancelled = RowField.CANCEL_ASKED in row and RowField.MAYBE_SENT not in row
    if not is_cancelled or row.get(RowField.STAGE) not in UNPOSTED:
        return row
    reason = Reason.SUPERSEDED if RowField.SUPERSEDED_BY in row else Reason.CANCELLED
    return row | {RowField.STAGE: Stage.CANCELLED.value, RowField.REASON: reason.value}


def read_cancel(reply: Sequence[bytes]) -> CancelAnswer:
    """Parse the reply of cancel.lua for one id."""
    [word] = reply
    return CancelAnswer(word.decode())


def campaign_arguments(
    action: str, sender: str, campaign: str, lasting: timedelta | None = None
) -> list[Argument]:
    """Return the arguments that campaign.lua takes.

    `lasting` None: a pause without an end. Raises ValueError for a name that no message can have,
    and for a pause that is shorter than a millisecond.
    """
    for what, name in (("sender", sender), ("campaign", campaign)):
        complaint = name_complaint(name)
        if complaint is not None:
            raise ValueError(f"{what} {complaint[0]}; {complaint[1]}")
    length = 0 if lasting is None else lasting // _MS
    if lasting is not None and length < 1:
        raise ValueError("a pause lasts a millisecond at least; give None for one without an end")
    return [action, sender, campaign, length]


def read_campaign(arguments: Sequence[Argument], reply: Sequence[Any]) -> CampaignStatus:
    """Parse the reply of campaign.lua to these arguments."""
    changed, until, cancelled_at, is_ending, *lengths = (int(float(value)) for value in reply)
    _, sender, campaign, _ = map(str, arguments)
    return CampaignStatus(
        sender=sender,
        campaign=campaign,
        changed=changed == 1,
        is_paused=until > 0,
        paused_until=from_ms(until) if 0 < until < NO_END_MS else None,
        cancelled_at=from_ms(cancelled_at) if cancelled_at else None,
        is_ending=is_ending == 1,
        queued=None if is_ending else dict(zip(CLASSES, lengths, strict=True)),
    )
