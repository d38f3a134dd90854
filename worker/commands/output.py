"""How commands print: tables and sentences for people, JSON Lines for programs, progress on standard error."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

_SHOWN = 20
"""How many bad lines a person is told one by one where the rest can be had otherwise."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a command the option that all commands with an answer have."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")


@dataclass(frozen=True, slots=True)
class Output:
    """Prints one command's answer. With `as_json` tables become JSON Lines, and sentences move to standard error."""

    as_json: bool = False

    def table(self, columns: Sequence[str], rows: Iterable[Mapping[str, object]], title: str = "") -> None:
        """Print rows; a terminal shows only `columns`, JSON everything a row holds."""
        if self.as_json:
            for row in rows:
                self.object(row)
            return
        from worker.commands.tables import lay_out

        screen = console()
        cells = [[shown(row.get(column)) for column in columns] for row in rows]
        lines = lay_out([column.replace("_", " ") for column in columns], cells, screen.width)
        for line in ["", title, *lines] if title else lines:
            screen.print(line, markup=False, soft_wrap=True)

    def object(self, thing: Mapping[str, object]) -> None:
        """Print one JSON object on one line."""
        sys.stdout.write(json.dumps(thing, ensure_ascii=False, default=_json_value) + "\n")

    def raw(self, content: bytes) -> None:
        """Write bytes as they are, with no line end of their own."""
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def bad_lines(self, bad: Sequence[tuple[int, str]], about_the_rest: str | None = None) -> None:
        """Tell bad lines by number and reason: a program every one of them.

        A person too, unless something is said `about_the_rest`: then the first few, and how many more there are.
        """
        if self.as_json:
            for number, reason in bad:
                self.object({"line": number, "error": reason})
            return
        shown = bad if about_the_rest is None else bad[:_SHOWN]
        for number, reason in shown:
            self.say(f"line {number}: {reason}")
        if more := len(bad) - len(shown):
            self.say(f"… and {more} more bad lines: {about_the_rest}")

    def say(self, sentence: str) -> None:
        """Print a sentence for a person."""
        (sys.stderr if self.as_json else sys.stdout).write(sentence + "\n")


def instant(at: datetime) -> str:
    """Write an instant for a person: ISO 8601 in UTC, to the second. Options that take an instant read it again."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def shown(value: object) -> str:
    """Write a value for a person."""
    match value:
        case None:
            return ""
        case datetime():
            return instant(value)
        case bool():
            return "yes" if value else "no"
    return str(value)


def _json_value(value: object) -> str:
    """Write what JSON has no form of: an instant as ISO 8601 with its offset."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def counted(number: int, noun: str) -> str:
    """Say how many there are of something: one in the singular."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def console() -> "Console":
    """Return the console that tables are printed on: 80 columns wide, unless a terminal or COLUMNS says otherwise.

    It raises BrokenPipeError like any other output; the library's own ends the process with 1.
    """
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 -- called while the error is handled

    return Plain(highlight=False)


@contextmanager
def progress(label: str, total: int | None = None) -> "Iterator[Callable[[int], None]]":
    """Show a progress bar while a terminal watches; yields a function that takes how many more are done."""
    if not sys.stderr.isatty():
        yield lambda _more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda more: bar.advance(task, more)
