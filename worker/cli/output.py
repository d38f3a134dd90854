"""How commands print: for people, for programs, and progress.

People get tables and sentences, programs get JSON Lines, and progress goes to standard error.
"""

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

_MAX_SHOWN_LINES = 20
"""How many bad lines a person gets to see, if there is another way to see the rest."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option `--json`, which every command that prints an answer has."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")


@dataclass(frozen=True, slots=True)
class Output:
    """Prints the answer of one command.

    With `as_json`, tables become JSON Lines, and sentences go to standard error.
    """

    as_json: bool = False

    def table(
        self, columns: Sequence[str], rows: Iterable[Mapping[str, object]], title: str = ""
    ) -> None:
        """Print rows. A terminal shows only `columns`; JSON contains every field of a row."""
        if self.as_json:
            for row in rows:
                self.object(row)
            return
        from worker.cli.tables import lay_out

        screen = console()
        cells = [[shown(row.get(column)) for column in columns] for row in rows]
        lines = lay_out([column.replace("_", " ") for column in columns], cells, screen.width)
        for line in ["", title, *lines] if title else lines:
            screen.print(line, markup=False, soft_wrap=True)

    def object(self, thing: Mapping[str, object]) -> None:
        """Print one JSON object on one line."""
        sys.stdout.write(json.dumps(thing, ensure_ascii=False, default=_json_value) + "\n")

    def raw(self, content: bytes) -> None:
        """Write bytes unchanged, without a line end."""
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def bad_lines(self, bad: Sequence[tuple[int, str]], about_the_rest: str | None = None) -> None:
        """Print the numbers and reasons of bad lines.

        A program gets all of them. A person gets all of them too, unless `about_the_rest` is given:
        then the first few, the number of the others, and that text.
        """
        if self.as_json:
            for number, reason in bad:
                self.object({"line": number, "error": reason})
            return
        shown = bad if about_the_rest is None else bad[:_MAX_SHOWN_LINES]
        for number, reason in shown:
            self.say(f"line {number}: {reason}")
        if more := len(bad) - len(shown):
            self.say(f"… and {more} more bad lines: {about_the_rest}")

    def say(self, sentence: str) -> None:
        """Print a sentence for a person."""
        (sys.stderr if self.as_json else sys.stdout).write(sentence + "\n")


def instant(at: datetime) -> str:
    """Return a time for a person: ISO 8601 in UTC, to the second.

    Options that take a time accept it.
    """
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def shown(value: object) -> str:
    """Return a value as text for a person."""
    match value:
        case None:
            return ""
        case datetime():
            return instant(value)
        case bool():
            return "yes" if value else "no"
    return str(value)


def _json_value(value: object) -> str:
    """Return a value that JSON cannot represent as text. A time is ISO 8601 with its offset."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which is in the singular for 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def paragraph(text: str, indent: str = "") -> str:
    """Return a text as lines that fit the screen, each with `indent`. No word is broken."""
    from worker.cli.tables import wrap

    return "\n".join(indent + line for line in wrap(text, console().width - len(indent)))


def console() -> "Console":
    """Return the console for tables: 80 columns wide, unless a terminal or COLUMNS says otherwise.

    It raises BrokenPipeError like any other output. The library's own console would end the process
    with 1.
    """
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 -- called while the error is handled

    return Plain(highlight=False)


@contextmanager
def progress(label: str, total: int | None = None) -> "Iterator[Callable[[int], None]]":
    """Show a progress bar if standard error is a terminal.

    Yields a function that takes how many more items are done.
    """
    if not sys.stderr.isatty():
        yield lambda _more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda more: bar.advance(task, more)
