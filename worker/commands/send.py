"""`send FILE.jsonl`: puts one message a line on the queue. Bad lines are reported, good ones are sent."""

import argparse
import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.commands.exits import CommandError, Exit, no_account
from worker.commands.journals import add_journal, open_journal, write_accepted
from worker.commands.output import Output, add_json, progress
from worker.commands.reading import decode, open_lines, refuse_repeated_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from sendwindow.answers import Receipt, SendSummary
    from sendwindow.contract import SendMessage
    from worker.journal import Journal
    from worker.settings import Settings


_AGAIN: Final = "send the file again"


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument("file", metavar="FILE", help="one message a line as a JSON object; - reads standard input")
    add_journal(parser, "what was queued")
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the file; answers FAILED when any line was bad."""
    from worker.wiring import read_settings

    settings = read_settings(arguments.config, with_credentials=False)
    if not settings.accounts:
        # Otherwise a folder without settings gets a private store, and "queued" would mean that no worker sees it.
        raise no_account()
    with open_lines(arguments.file) as (lines, total), open_journal(arguments.journal) as journal:
        reading = Lines(lines, keep=journal.is_on)
        return asyncio.run(_send(settings, reading, total, Output(arguments.json), journal))


@dataclass(slots=True)
class Lines:
    """Reads messages from lines and keeps which line each came from. `bad`: line number and reason.

    `kept`: with `keep`, the messages yielded.
    """

    lines: Iterable[bytes]
    keep: bool = False
    read_bytes: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    kept: "list[SendMessage]" = field(default_factory=list)
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
                text = decode(line)
                refuse_repeated_keys(text)
                message = SendMessage.model_validate_json(text)
            except (InvalidMessage, CommandError) as error:
                self.bad.append((number, reasons(error)))
                continue
            self._numbers.append(number)
            if self.keep:
                self.kept.append(message)
            yield message

    def queued(self, summary: "SendSummary") -> "Iterator[tuple[SendMessage, Receipt]]":
        """Put the messages kept beside their receipts, which come in the same order; not all have one."""
        rejected = {one.position for one in summary.rejected}
        messages = (message for position, message in enumerate(self.kept) if position not in rejected)
        for receipt in summary.receipts:
            yield next(one for one in messages if one.message_id == receipt.message_id), receipt

    def refuse(self, position: int, error: Exception) -> None:
        """Note that a message's line is bad after all. `position`: how many were yielded before it."""
        self.bad.append((self._numbers[position], reasons(error)))


def reasons(error: Exception) -> str:
    """Say what is wrong with a message in one line: the faults of an invalid one, else the error itself."""
    faults = getattr(error, "faults", ())
    said = "; ".join(str(fault) for fault in faults) or str(error)
    # What Python calls a dictionary stands in a file as an object.
    return said.replace("a dictionary", "a JSON object")


async def _send(settings: "Settings", lines: Lines, size: int | None, output: Output, journal: "Journal") -> int:
    from sendwindow.errors import QueueFull, StoreUnavailable
    from worker.wiring import open_producer

    async with open_producer(settings) as producer:
        digest = await _digest(settings) if journal.is_on else str
        with progress("bytes read", size) as advance:
            last = 0

            def on_progress(_done: int) -> None:
                nonlocal last
                advance(lines.read_bytes - last)
                last = lines.read_bytes

            try:
                summary = await producer.send_many(lines.messages(), on_progress=on_progress)
            except (QueueFull, StoreUnavailable) as error:
                _write(journal, lines, error.summary, settings, digest)
                _report(lines, error.summary, output)
                code = Exit.STORE_UNREACHABLE if isinstance(error, StoreUnavailable) else Exit.FAILED
                raise CommandError(_for_a_file(str(error)), code=code) from error
    _write(journal, lines, summary, settings, digest)
    return _report(lines, summary, output)


def _for_a_file(sentence: str) -> str:
    """Say what the library says to whoever holds objects."""
    said = sentence.replace("send the same object again", _AGAIN).replace("send it again", _AGAIN)
    said += "" if _AGAIN in said else f", then {_AGAIN}"
    return f"{said[0].upper()}{said[1:]}. Messages with a message_id of their own are not queued twice."


async def _digest(settings: "Settings") -> "Callable[[str], str]":
    """Give what makes of an address the person's digest, under the person key that the store knows."""
    from worker.wiring import open_store

    async with open_store(settings) as store:
        return store.people.digest


def _write(
    journal: "Journal",
    lines: Lines,
    summary: "SendSummary | None",
    settings: "Settings",
    digest: "Callable[[str], str]",
) -> None:
    if summary is None or not journal.is_on:
        return
    for message, receipt in lines.queued(summary):
        write_accepted(journal, message, settings, digest(message.to), receipt)


def _report(lines: Lines, summary: "SendSummary | None", output: Output) -> int:
    for rejected in () if summary is None else summary.rejected:
        lines.refuse(rejected.position, rejected.error)
    bad = sorted(lines.bad)
    receipts = [] if summary is None else summary.receipts
    if output.as_json:
        for receipt in receipts:
            output.object({"message_id": receipt.message_id, "duplicate": receipt.duplicate})
    output.bad_lines(bad, "`explain FILE` lists them all")
    duplicates = sum(receipt.duplicate for receipt in receipts)
    output.say(f"{len(receipts) - duplicates} queued, {duplicates} already known, {len(bad)} bad")
    if not output.as_json and len(receipts) == 1:
        output.say(f"show {receipts[0].message_id} tells what becomes of it")
    return Exit.FAILED if bad else Exit.DONE
