"""`show MESSAGE_ID`: where a message is and what happened to it, in words.

It shows no address, text or variable.

`FIELDS` names what programs read (`--json` here, in `dead` and in `unknown`). These names must not
change.
"""

import argparse
import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from policies.reasons import sentence
from sendwindow.row_fields import OldRowField, RowField
from sendwindow.timestamps import from_ms
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.output import Output, add_json, instant, paragraph

if TYPE_CHECKING:
    from worker.ports.records import Record, SidLine
    from worker.settings.settings import Settings


def _instant(value: object) -> datetime:
    return from_ms(float(str(value)))


def _is_one(value: str) -> bool:
    return value == "1"


def _number(value: str) -> int | None:
    return int(value) if value.isdecimal() else None


def _numbers(value: str) -> list[int]:
    return [int(number) for number in value.split() if number.isdecimal()]


def _form(value: str) -> str:
    return {"t": "template", "f": "freeform"}.get(value, value)


def _lane_part(number: int) -> Callable[[str], str | None]:
    return lambda lane: lane.split("|", 2)[number] or None


@dataclass(frozen=True, slots=True)
class Field:
    """One field that programs read, under `name`.

    `key`: the field of the ledger row. `read` decodes it. `absent`: the value if the row lacks it.
    """

    name: str
    key: str
    read: Callable[[str], object] = str
    absent: object = None


FIELDS: Final = (
    Field("stage", RowField.STAGE),
    Field("reason", RowField.REASON),
    Field("error_code", RowField.ERROR_CODE, _number),
    Field("sender", RowField.LANE, _lane_part(0)),
    Field("priority", RowField.LANE, _lane_part(1)),
    Field("campaign", RowField.LANE, _lane_part(2)),
    Field("group", RowField.GROUP),
    Field("enqueued_at", RowField.ENQUEUED_AT, _instant),
    Field("not_before", RowField.NOT_BEFORE, _instant),
    Field("expires_at", RowField.EXPIRES_AT, _instant),
    Field("ended_at", RowField.ENDED_AT, _instant),
    Field("lives", RowField.LIFE, _number, 1),
    Field("attempts", RowField.ATTEMPT, _number, 0),
    Field("uncounted_attempts", OldRowField.UNCOUNTED, _number, 0),
    Field("last_attempt_at", OldRowField.INTENT_AT, _instant),
    Field("form", OldRowField.FORM, _form),
    Field("account_update_attempts", OldRowField.TAG_ATTEMPTS, _numbers, ()),
    Field("accepted_attempt", RowField.ACCEPTED_ATTEMPT, _number),
    Field("message_sid", RowField.MESSAGE_SID),
    Field("status", RowField.STATUS),
    Field("policy", RowField.POLICY),
    Field("on_unknown", RowField.ON_UNKNOWN),
    Field("evidence_searches", RowField.SEARCHES, _number, 0),
    Field("crashes", RowField.CRASHES, _number, 0),
    Field("poison", RowField.IS_POISON, _is_one, False),
    Field("cancel_asked", RowField.CANCEL_ASKED, _is_one, False),
    Field("superseded_by", RowField.SUPERSEDED_BY),
    Field("redecided", RowField.REDECIDED, _is_one, False),
    Field("perhaps_sent", RowField.MAYBE_SENT, _is_one, False),
)
"""Every field of a row that programs and people see, in their order."""

_MAX_NAME_CHARACTERS: Final = max(len(field.name) for field in FIELDS)

_INSTANTS: Final = frozenset({"at", "due", "expires", "until"})
"""Members of the timeline's events that the store has in milliseconds."""


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument("message_id", metavar="MESSAGE_ID")
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Show one message. Returns FAILED when there is none."""
    from worker.wiring import read_settings

    return asyncio.run(
        _show(
            read_settings(arguments.config, with_credentials=False),
            arguments.message_id,
            Output(arguments.json),
        )
    )


async def _show(settings: "Settings", message_id: str, output: Output) -> int:
    from worker.wiring import open_store

    async with open_store(settings) as store:
        record = await store.records.record(message_id)
    if record is None:
        raise CommandError(
            "There is no such message.",
            "Ids are case-sensitive, and ended messages are kept for 72 hours after their end.",
        )
    print_record(record, output)
    return Exit.DONE


def print_record(record: "Record", output: Output) -> None:
    """Print a message and its timeline."""
    from worker.runtime.clock import wall_now

    if output.as_json:
        output.object(as_object(record))
        return
    stage, reason = record.row.get(RowField.STAGE, "?"), record.row.get(RowField.REASON, "")
    output.say(f"{record.message_id}: {stage}" + (f" ({reason})" if reason else ""))
    if reason:
        output.say(paragraph(sentence(reason), "  "))
    if record.due_at is not None:
        blocked = "; `lanes` shows what blocks it" if record.due_at <= wall_now() else ""
        output.say(f"  {'next':<{_MAX_NAME_CHARACTERS}}  at {_shown(record.due_at)}{blocked}")
    for name, value in named_row(record.row).items():
        if name not in {"stage", "reason"} and value:
            output.say(f"  {name.replace('_', ' '):<{_MAX_NAME_CHARACTERS}}  {_shown(value)}")
    for sid, line in _other_sids(record).items():
        output.say(f"  {'other SID':<{_MAX_NAME_CHARACTERS}}  {sid}: {_in_words(line)}")
    output.table(("at", "event", "detail"), [_line(event) for event in record.timeline])


def as_object(record: "Record") -> dict[str, object]:
    """Return a message as a JSON object.

    It has every name of `FIELDS`. A value that does not apply is null, 0 or false.
    """
    return {
        "message_id": record.message_id,
        **{name: _plain(value) for name, value in named_row(record.row).items()},
        "due_at": _plain(record.due_at),
        "other_sids": [
            {
                "message_sid": sid,
                "attempt": line.attempt,
                "status": line.status or None,
                "error_code": line.code,
                "sent_again": line.was_sent_again,
            }
            for sid, line in _other_sids(record).items()
        ],
        "timeline": [
            {
                key: _plain(_instant(value)) if key in _INSTANTS else value
                for key, value in event.items()
            }
            for event in record.timeline
        ],
    }


def _other_sids(record: "Record") -> "dict[str, SidLine]":
    return {sid: line for sid, line in record.sids.items() if sid != record.row.get("sid")}


def _in_words(line: "SidLine") -> str:
    status = line.status or ("failed" if line.has_failed else "no status yet")
    code = f" ({line.code})" if line.code else ""
    again = ", sent again after it failed" if line.was_sent_again else ""
    return f"attempt {line.attempt}, {status}{code}{again}"


def named_row(row: Mapping[str, str]) -> dict[str, object]:
    """Return a row decoded, under the names that programs and people know."""
    # A job that could not be read has no sender, and the store itself set its expiry and unknown
    # rule.
    invented = {"e", "u"} if row.get(RowField.LANE) == "||" else ()
    return {
        field.name: field.read(row[field.key])
        if field.key in row and field.key not in invented
        else field.absent
        for field in FIELDS
    }


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "yes" if value is True else str(value)


def _line(event: Mapping[str, Any]) -> dict[str, object]:
    rest = {key: value for key, value in event.items() if key not in {"at", "e"}}
    words = [_words(key, value) for key, value in rest.items()]
    return {
        "at": _instant(event["at"]),
        "event": event["e"],
        "detail": ", ".join(words),
    }


def _words(key: str, value: object) -> str:
    if key == "n":
        return f"attempt {value}"
    if key == "reason":
        return f"{value}: {sentence(str(value)).rstrip('.')}"
    if key in _INSTANTS:
        return f"{key} {_shown(_instant(value))}"
    if isinstance(value, list):
        return f"{key} " + " → ".join(
            ":".join(str(part) for part in item) if isinstance(item, list) else str(item)
            for item in value
        )
    return f"{key} {value}"
