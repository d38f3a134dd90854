"""`show MESSAGE_ID`: where a message is and what happened to it, in words. No address, text or variable."""

import argparse
import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from policies.reasons import sentence
from sendwindow.instants import from_ms
from worker.commands.exits import CommandError, Exit
from worker.commands.output import Output, add_json

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.values.records import Record

_INSTANTS: Final = frozenset({"q", "e", "nb", "i", "z", "due", "until"})
_HIDDEN: Final = frozenset({"p", "d", "w"})
"""Digests that tell a person nothing."""


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument("message_id", metavar="MESSAGE_ID")
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Show one message; answers FAILED when there is none."""
    from worker.wiring import read_settings

    return asyncio.run(_show(read_settings(arguments.config), arguments.message_id, Output(arguments.json)))


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
    if output.as_json:
        output.object(as_object(record))
        return
    stage, reason = record.row.get("s", "?"), record.row.get("r", "")
    output.say(f"{record.message_id}: {stage}" + (f" ({reason})" if reason else ""))
    if reason:
        output.say(f"  {sentence(reason)}")
    facts = [f"{words.split(',')[0]}: {value}" for words, value in named_row(record.row)]
    output.say("  " + " · ".join(facts))
    output.table(("at", "event", "detail"), [_line(event) for event in record.timeline])


def as_object(record: "Record") -> dict[str, object]:
    """Make a message a JSON object with spelled-out names."""
    return {
        "message_id": record.message_id,
        "stage": record.row.get("s"),
        "reason": record.row.get("r"),
        "row": {words: str(value) for words, value in named_row(record.row)},
        "timeline": [{**event, "at": _instant(event["at"]).isoformat()} for event in record.timeline],
    }


def named_row(row: Mapping[str, str]) -> list[tuple[str, object]]:
    """Name a row's fields in words; stage and reason stand elsewhere."""
    from sendwindow.keys import ROW_FIELDS

    named: list[tuple[str, object]] = []
    for key, value in row.items():
        if key in _HIDDEN or key in {"s", "r"} or key not in ROW_FIELDS:
            continue
        words = ROW_FIELDS[key].removesuffix(" (ms)")
        named.append((words, f"{_instant(value):%Y-%m-%d %H:%M:%S}Z" if key in _INSTANTS else value))
    return named


def _line(event: Mapping[str, Any]) -> dict[str, object]:
    rest = {key: value for key, value in event.items() if key not in {"at", "e"}}
    words = [_words(key, value) for key, value in rest.items()]
    at = _instant(event["at"])
    return {
        "at": f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}Z",
        "event": event["e"],
        "detail": ", ".join(words),
    }


def _words(key: str, value: object) -> str:
    if key == "n":
        return f"attempt {value}"
    if key == "reason":
        return f"{value}: {sentence(str(value)).rstrip('.')}"
    if key in _INSTANTS:
        return f"{key} {_instant(value):%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, list):
        return f"{key} " + " → ".join(
            ":".join(str(part) for part in item) if isinstance(item, list) else str(item) for item in value
        )
    return f"{key} {value}"


def _instant(value: object) -> datetime:
    return from_ms(int(float(str(value))))
