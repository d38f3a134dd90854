"""Reads what several commands take: files of lines, addresses and times."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sendwindow.addresses import AddressError, parse_address
from sendwindow.vocabulary import Channel
from worker.commands.exits import CommandError, Exit


@contextmanager
def open_lines(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a file of lines, or standard input for `-`; also how many bytes it has, None when nobody knows."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 -- closed by the `with` below
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({type(error).__name__}).", "Check its path.", Exit.USAGE) from error
    with file:
        yield file, Path(name).stat().st_size


def decode(line: bytes) -> str:
    """Read one line as the UTF-8 it has to be: put right by guessing, it would reach a person as something else."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"is not UTF-8 at byte {error.start + 1}.", "Save the file as UTF-8.") from None


def channel_of(address: str) -> Channel:
    """Tell the channel of a recipient's address. Raises CommandError, which does not repeat it."""
    try:
        return parse_address(address).channel
    except AddressError as error:
        raise CommandError(f"That is {error}.", code=Exit.USAGE) from error


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
