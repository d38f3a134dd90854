"""`send FILE.jsonl`: puts one message a line on the queue. Bad lines are reported, good ones are sent."""

import argparse
import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.commands.exits import CommandError, Exit
from worker.commands.output import Output, add_json, progress
from worker.commands.reading import decode, open_lines

if TYPE_CHECKING:
    from sendwindow.answers import SendSummary
    from sendwindow.contract import SendMessage
    from worker.settings import Settings

SHOWN: int = 20
"""How many bad lines are listed one by one; the rest is counted."""


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument("file", metavar="FILE", help="one message a line as a JSON object; - reads standard input")
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the file; answers FAILED when any line was bad."""
    from worker.wiring import read_settings

    settings = read_settings(arguments.config)
    with open_lines(arguments.file) as (lines, total):
        return asyncio.run(_send(settings, Lines(lines), total, Output(arguments.json)))


@dataclass(slots=True)
class Lines:
    """Reads messages from lines and keeps which line each came from. `bad`: line number and reason."""

    lines: Iterable[bytes]
    read_bytes: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)

    def messages(self) -> "Iterator[SendMessage]":
        """Yield what can be read; empty lines are passed over."""
        from sendwindow.contract import SendMessage
        from sendwindow.errors import InvalidMessage

        for number, line in enumerate(self.lines, start=1):
            self.read_bytes += len(line)
            if not line.strip():
                continue
            try:
                message = SendMessage.model_validate_json(decode(line))
            except (InvalidMessage, CommandError) as error:
                self.bad.append((number, reasons(error)))
                continue
            self._numbers.append(number)
            yield message

    def refuse(self, position: int, error: Exception) -> None:
        """Note that a message's line is bad after all. `position`: how many were yielded before it."""
        self.bad.append((self._numbers[position], reasons(error)))


def reasons(error: Exception) -> str:
    """Say what is wrong with a message in one line: the faults of an invalid one, else the error itself."""
    faults = getattr(error, "faults", ())
    return "; ".join(str(fault) for fault in faults) or str(error)


async def _send(settings: "Settings", lines: Lines, size: int | None, output: Output) -> int:
    from sendwindow.errors import QueueFull, StoreUnavailable
    from worker.wiring import open_producer

    async with open_producer(settings) as producer:
        with progress("bytes read", size) as advance:
            last = 0

            def on_progress(_done: int) -> None:
                nonlocal last
                advance(lines.read_bytes - last)
                last = lines.read_bytes

            try:
                summary = await producer.send_many(lines.messages(), on_progress=on_progress)
            except (QueueFull, StoreUnavailable) as error:
                _report(lines, error.summary, output)
                code = Exit.STORE_UNREACHABLE if isinstance(error, StoreUnavailable) else Exit.FAILED
                raise CommandError(
                    f"{error}",
                    "Send the file again: messages with a message_id of their own are not queued twice.",
                    code,
                ) from error
    return _report(lines, summary, output)


def _report(lines: Lines, summary: "SendSummary | None", output: Output) -> int:
    for rejected in () if summary is None else summary.rejected:
        lines.refuse(rejected.position, rejected.error)
    bad = sorted(lines.bad)
    receipts = [] if summary is None else summary.receipts
    if output.as_json:
        for receipt in receipts:
            output.object({"message_id": receipt.message_id, "duplicate": receipt.duplicate})
        for number, reason in bad:
            output.object({"line": number, "error": reason})
    else:
        for number, reason in bad[:SHOWN]:
            output.say(f"line {number}: {reason}")
        if len(bad) > SHOWN:
            output.say(f"… and {len(bad) - SHOWN} more bad lines: `explain FILE` lists them all")
    duplicates = sum(receipt.duplicate for receipt in receipts)
    output.say(f"{len(receipts) - duplicates} queued, {duplicates} already known, {len(bad)} bad")
    if not output.as_json and len(receipts) == 1:
        output.say(f"show {receipts[0].message_id} tells what becomes of it")
    return Exit.FAILED if bad else Exit.DONE
