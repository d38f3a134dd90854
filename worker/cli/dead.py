"""`dead`: messages that ended without a provider outcome and wait for an operator.

A replay keeps the id.
"""

import argparse
import asyncio
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from sendwindow.contract import MAX_LIFETIME
from sendwindow.row_fields import RowField
from sendwindow.timestamps import from_ms
from worker.cli.end_filter import NAMES, EndFilter, add_end_filter, lane_parts
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.input_parsing import check_choice, number_of_hours
from worker.cli.journal_option import add_journal, open_journal
from worker.cli.life_orders import REPLAY, prospects, send_again
from worker.cli.output import Output, counted, progress
from worker.cli.show import as_object, print_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.ports.records import Record
    from worker.settings.settings import Settings
    from worker.stores.store import Store
    from worker.telemetry.journal import Journal

_MAX_BATCH_MESSAGES: Final = 32
"""How many messages one call of the store decides."""

_HOUR: Final = timedelta(hours=1)


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    words = parser.add_subparsers(dest="word", metavar="list|show|replay|drop", required=True)
    for word, help_text in (
        ("list", "dead letters, oldest first"),
        ("show", "one dead letter with its timeline"),
        ("replay", "put dead letters back on the queue under the same ids"),
        ("drop", "give dead letters up for good"),
    ):
        one = words.add_parser(
            word, help=help_text, description=help_text[0].upper() + help_text[1:] + "."
        )
        form = one.add_mutually_exclusive_group()
        form.add_argument(
            "--json", action="store_true", help="one JSON object a line, for programs"
        )
        one.set_defaults(command_function=run)
        if word == "show":
            form.add_argument(
                "--raw",
                action="store_true",
                help="print the stored bytes of its job, which contain the address and the text",
            )
            one.add_argument("ids", metavar="MESSAGE_ID", nargs=1)
            continue
        if word != "list":
            one.add_argument(
                "ids",
                metavar="MESSAGE_ID",
                nargs="*",
                help="ids of messages; without ids, give a filter or --all",
            )
            one.add_argument(
                "--all", action="store_true", help="every dead letter that the filters select"
            )
            add_journal(one)
        add_end_filter(one, "died")
        if word == "replay":
            one.add_argument(
                "--hours",
                type=hours,
                help=(
                    "how long they stay sendable, at most 168 (default: the lifetime of "
                    "their purpose)"
                ),
            )
            one.add_argument(
                "--even-if-sent",
                action="store_true",
                help=(
                    "include messages that may already have reached the person, who may "
                    "then get them twice"
                ),
            )


def hours(text: str) -> float:
    """Parse how long a message stays sendable, in hours. Raises ArgumentTypeError."""
    return number_of_hours(text, MAX_LIFETIME / _HOUR)


def lasting(arguments: argparse.Namespace) -> timedelta | None:
    """Return how long messages stay sendable according to `--hours`, or None without it."""
    return None if arguments.hours is None else timedelta(hours=arguments.hours)


def run(arguments: argparse.Namespace) -> int:
    """Run one of the four. Returns FAILED when something that was asked for could not be done."""
    from worker.wiring import read_settings

    settings, output = (
        read_settings(arguments.config, with_credentials=False),
        Output(arguments.json),
    )
    if arguments.word in {"replay", "drop"}:
        check_choice(arguments, NAMES, "dead letters")
    if arguments.word != "show":
        arguments.end_filter = EndFilter.of(arguments)
    return asyncio.run(_run(settings, arguments, output))


async def _run(settings: "Settings", arguments: argparse.Namespace, output: Output) -> int:
    from worker.wiring import open_store

    async with open_store(settings) as store:
        match arguments.word:
            case "list":
                return await _list(store, arguments, output)
            case "show":
                return await _show(store, arguments.ids[0], output, raw=arguments.raw)
            case _:
                with open_journal(arguments.journal) as journal:
                    return await _decide(store, arguments, output, journal)


async def _list(store: "Store", arguments: argparse.Namespace, output: Output) -> int:
    records = [record async for record in _chosen(store, arguments)]
    if output.as_json:
        for record in records:
            output.object(as_object(record))
    elif records:
        output.table(
            ("since", "message_id", "reason", "sender", "campaign", "error"),
            [_line(record) for record in records],
        )
    output.say(counted(len(records), "dead letter"))
    return Exit.DONE


async def _show(store: "Store", message_id: str, output: Output, *, raw: bool) -> int:
    record = await store.records.record(message_id)
    if record is None or record.row.get(RowField.STAGE) != "dead":
        raise CommandError(
            "There is no such dead letter.", "`dead list` shows them, `show` any other message."
        )
    if not raw:
        print_record(record, output)
    elif record.payload is None:
        raise CommandError(
            "No bytes of this dead letter are kept.",
            "Dropping a dead letter deletes them; `dead show` shows the rest.",
        )
    else:
        output.raw(record.payload)
    return Exit.DONE


async def _decide(
    store: "Store", arguments: argparse.Namespace, output: Output, journal: "Journal"
) -> int:
    # An id that is given twice is still one message.
    ids = list(dict.fromkeys(arguments.ids)) or [
        record.message_id async for record in _chosen(store, arguments)
    ]
    # An operator who names no ids meant no particular message, so those that may have gone out are
    # left out and counted.
    passed_over = frozenset() if arguments.ids else frozenset({_PERHAPS})
    answers: Counter[str] = Counter()
    with progress(arguments.word, len(ids)) as advance:
        for start in range(0, len(ids), _MAX_BATCH_MESSAGES):
            batch = ids[start : start + _MAX_BATCH_MESSAGES]
            words = await _act(store, arguments, batch, journal)
            for message_id, word in zip(batch, words, strict=True):
                answers[word] += 1
                if output.as_json:
                    output.object({"message_id": message_id, "answer": word})
                elif word not in _DONE | passed_over:
                    output.say(f"{message_id}: {_WHY[word]}")
            advance(len(batch))
    output.say(
        ", ".join(f"{count} {word}" for word, count in sorted(answers.items()))
        or "no dead letter matches"
    )
    if passed_over and answers[_PERHAPS]:
        output.say(f"{_PERHAPS}: {_WHY[_PERHAPS]}")
    return Exit.DONE if set(answers) <= _DONE | passed_over else Exit.FAILED


async def _act(
    store: "Store", arguments: argparse.Namespace, batch: list[str], journal: "Journal"
) -> list[str]:
    if arguments.word == "replay":
        order = partial(store.records.replay, even_if_sent=arguments.even_if_sent)
        return await send_again(
            await prospects(store, batch, lasting(arguments)), REPLAY, order, journal
        )
    asked_at = journal.now()
    words = await store.records.drop(batch)
    for message_id, word in zip(batch, words, strict=True):
        if word in _DONE:
            journal.write(word, id=message_id, t=asked_at)
    return words


_DONE: Final = frozenset({"replayed", "dropped"})
_PERHAPS: Final = "perhaps_sent"
_WHY: Final = {
    "not_dead": "is not a dead letter",
    "unknown_id": "is not known",
    "cancelled": "its producer cancelled it, so it is never sent again",
    "no_job": "cannot be read, so there is nothing to send: queue the message again, then `dead "
    "drop` this one",
    "sent": "an attempt of it is proven to be with Twilio, so it is not sent again",
    _PERHAPS: "may have reached the person; --even-if-sent replays it anyway",
}


async def _chosen(store: "Store", arguments: argparse.Namespace) -> "AsyncIterator[Record]":
    async for record in store.records.listed("dead"):
        died_at = from_ms(int(record.row.get(RowField.ENDED_AT, "0")))
        if arguments.end_filter.lets_through(
            record.row.get(RowField.REASON), _lane(record), died_at
        ):
            yield record


def _lane(record: "Record") -> str:
    return record.row.get(RowField.LANE, "||")


def _line(record: "Record") -> dict[str, object]:
    sender, campaign = lane_parts(_lane(record))
    texts = [event["text"] for event in record.timeline if event.get("text")]
    return {
        "since": from_ms(int(record.row.get(RowField.ENDED_AT, "0"))),
        "message_id": record.message_id,
        "reason": record.row.get(RowField.REASON),
        "sender": sender,
        "campaign": campaign,
        "error": texts[-1] if texts else "",
    }
