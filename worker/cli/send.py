"""`send FILE.jsonl`: enqueues one message per line.

Bad lines are reported, and good lines are sent.
"""

import argparse
import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.cli.exit_codes import CommandError, Exit, no_account
from worker.cli.input_parsing import decode, open_lines, refuse_repeated_keys
from worker.cli.journal_option import add_journal, open_journal, write_accepted
from worker.cli.output import Output, add_json, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from sendwindow.contract import SendMessage
    from sendwindow.results import Receipt, SendSummary
    from worker.settings.settings import Settings
    from worker.telemetry.journal import Journal


_AGAIN: Final = "send the file again"


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument(
        "file", metavar="FILE", help="one message a line as a JSON object; - reads standard input"
    )
    add_journal(parser, "what was queued")
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the file. Returns FAILED when a line was bad."""
    from worker.wiring import read_settings

    settings = read_settings(arguments.config, with_credentials=False)
    if not settings.accounts:
        # Without settings the command would get a private store, and print "queued" for messages
        # that no worker sees.
        raise no_account()
    with open_lines(arguments.file) as (lines, total), open_journal(arguments.journal) as journal:
        reading = MessageLines(lines, keep=journal.is_on)
        return asyncio.run(_send(settings, reading, total, Output(arguments.json), journal))


@dataclass(slots=True)
class MessageLines:
    """Reads messages from lines, and remembers the line of each.

    `bad`: line number and reason. `kept`: the messages that were yielded, if `keep` is set.
    """

    lines: Iterable[bytes]
    keep: bool = False
    read_bytes: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    kept: "list[SendMessage]" = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)

    def messages(self) -> "Iterator[SendMessage]":
        """Yield the messages that can be read. Empty lines are skipped."""
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
        """Yield the kept messages with their receipts.

        Receipts come in the same order, but not every message has one.
        """
        rejected = {one.position for one in summary.rejected}
        messages = (
            message for position, message in enumerate(self.kept) if position not in rejected
        )
        for receipt in summary.receipts:
            yield next(one for one in messages if one.message_id == receipt.message_id), receipt

    def refuse(self, position: int, error: Exception) -> None:
        """Record that a message's line is bad after all.

        `position`: how many messages were yielded before it.
        """
        self.bad.append((self._numbers[position], reasons(error)))


def reasons(error: Exception) -> str:
    """Return what is wrong with a message in one line.

    That is the list of its faults if it is invalid, and otherwise the error itself.
    """
    faults = getattr(error, "faults", ())
    said = "; ".join(str(fault) for fault in faults) or str(error)
    # The library says "dictionary", but in a file it is an object.
    return said.replace("a dictionary", "a JSON object")


async def _send(
    settings: "Settings", lines: MessageLines, size: int | None, output: Output, journal: "Journal"
) -> int:
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
                code = (
                    Exit.STORE_UNREACHABLE if isinstance(error, StoreUnavailable) else Exit.FAILED
                )
                raise CommandError(_for_a_file(str(error)), code=code) from error
    _write(journal, lines, summary, settings, digest)
    return _report(lines, summary, output)


def _for_a_file(sentence: str) -> str:
    """Return an error of the library in words that fit a file, not Python objects."""
    said = sentence.replace("send the same object again", _AGAIN).replace("send it again", _AGAIN)
    said += "" if _AGAIN in said else f", then {_AGAIN}"
    return (
        f"{said[0].upper()}{said[1:]}. Messages with a message_id of their own are not queued "
        "twice."
    )


async def _digest(settings: "Settings") -> "Callable[[str], str]":
    """Return a function that computes a person's digest from an address.

    It uses the person key that the store knows.
    """
    from worker.wiring import open_store

    async with open_store(settings) as store:
        return store.people.digest


def _write(
    journal: "Journal",
    lines: MessageLines,
    summary: "SendSummary | None",
    settings: "Settings",
    digest: "Callable[[str], str]",
) -> None:
    if summary is None or not journal.is_on:
        return
    for message, receipt in lines.queued(summary):
        write_accepted(journal, message, settings, digest(message.to), receipt)


def _report(lines: MessageLines, summary: "SendSummary | None", output: Output) -> int:
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
        output.say(f"`show {receipts[0].message_id}` shows what becomes of it")
    return Exit.FAILED if bad else Exit.DONE
