"""Reads what several commands take: files of lines, and times."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from worker.commands.exits import CommandError, Exit


@contextmanager
def open_lines(name: str) -> Iterator[tuple[TextIO, int | None]]:
    """Open a file of lines, or standard input for `-`; also how many bytes it has, None when nobody knows."""
    if name == "-":
        yield sys.stdin, None
        return
    try:
        file = Path(name).open(encoding="utf-8", errors="replace")  # noqa: SIM115 -- closed by the `with` below
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({type(error).__name__}).", "Check its path.", Exit.USAGE) from error
    with file:
        yield file, Path(name).stat().st_size


def read_instant(text: str | datetime | None) -> datetime | None:
    """Read an aware time. Raises CommandError for one without an offset."""
    if text is None:
        return None
    try:
        instant = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise CommandError("A time cannot be read.", "Write it with its offset: 2026-11-21T10:00:00+00:00.", Exit.USAGE)
    return instant
