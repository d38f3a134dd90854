"""Reads what several commands take: files of lines, addresses and times."""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from sendwindow.addresses import AddressError, parse_address
from sendwindow.vocabulary import Channel
from worker.commands.exits import CommandError, Exit

_SHOWABLE: Final = re.compile(r"[a-z_]{1,30}|[0-9]{1,2}")
"""Keys an error may repeat: those of the contract and of template variables, and nobody's address."""


@contextmanager
def open_lines(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a file of lines, or standard input for `-`; also how many bytes it has, None when nobody knows."""
    if name == "-":
        if sys.stdin is None:
            raise CommandError("Standard input is closed.", "Give it the lines, or name a file.", Exit.USAGE)
        yield sys.stdin.buffer, None
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 -- closed by the `with` below
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({type(error).__name__}).", "Check its path.", Exit.USAGE) from error
    with file:
        yield file, Path(name).stat().st_size


def check_choice(arguments: argparse.Namespace, filters: Sequence[str], what: str) -> None:
    """Raise CommandError unless either ids, or filters or `--all`, say which messages are meant.

    A filter next to ids would be passed over, and messages would be decided about that the operator left out.
    """
    is_filtered = arguments.all or any(getattr(arguments, name) is not None for name in filters)
    if not (arguments.ids or is_filtered):
        raise CommandError(f"Nothing says which {what} are meant.", "Name ids, give a filter, or --all.", Exit.USAGE)
    if arguments.ids and is_filtered:
        raise CommandError(f"Both ids and a filter say which {what} are meant.", "Give one of them.", Exit.USAGE)


def decode(line: bytes) -> str:
    """Read one line as the UTF-8 it has to be: put right by guessing, it would reach a person as something else."""
    try:
        # Some editors begin a file with a byte order mark.
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"is not UTF-8 at byte {error.start + 1}.", "Save the file as UTF-8.") from None


def load_json(text: str) -> Any:
    """Read JSON. Raises ValueError for what is none, CommandError where a key stands twice in an object.

    Python and pydantic keep the last value, without a word: whoever wrote two perhaps meant the other person.
    """
    try:
        return json.loads(text, object_pairs_hook=_once_each)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def refuse_repeated_keys(text: str) -> None:
    """Raise CommandError where a key stands twice in an object; what is no JSON is left to whoever reads it next."""
    with suppress(ValueError):
        load_json(text)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            name = f"`{key}`" if _SHOWABLE.fullmatch(key) else "a key"
            raise CommandError(f"says {name} twice.", "Leave one of them out.")
        found[key] = value
    return found


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
