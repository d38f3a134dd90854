"""Reads the input that several commands take: files of lines, addresses and times."""

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
from worker.cli.exit_codes import CommandError, Exit

MIN_HOURS: Final = 0.001
"""A shorter time may be none at all in milliseconds."""

_SHOWABLE: Final = re.compile(r"[a-z_]{1,30}|[0-9]{1,2}")
"""Keys that an error may repeat: those of the contract and of template variables. None can be an
address."""


@contextmanager
def open_lines(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a file of lines, or standard input for `-`.

    Yields the file and its size in bytes, which is None for standard input.
    """
    if name == "-":
        if sys.stdin is None:
            raise CommandError(
                "Standard input is closed.", "Give it the lines, or name a file.", Exit.USAGE
            )
        yield sys.stdin.buffer, None
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 -- closed by the `with` below
    except OSError as error:
        raise CommandError(
            f"{name} cannot be read ({type(error).__name__}).", "Check its path.", Exit.USAGE
        ) from error
    with file:
        yield file, Path(name).stat().st_size


def number_of_hours(text: str, most: float) -> float:
    """Parse a number of hours. Raises ArgumentTypeError, which says what is allowed."""
    with suppress(ValueError):
        if MIN_HOURS <= float(text) <= most:
            return float(text)
    raise argparse.ArgumentTypeError(f"write a number of hours from {MIN_HOURS:g} to {most:g}")


def check_choice(arguments: argparse.Namespace, filters: Sequence[str], what: str) -> None:
    """Raise CommandError unless either ids, or filters or `--all`, select the messages.

    A filter next to ids would be ignored, and the command would decide about messages that the
    operator meant to exclude.
    """
    is_filtered = arguments.all or any(getattr(arguments, name) is not None for name in filters)
    if not (arguments.ids or is_filtered):
        raise CommandError(
            f"No {what} are named.",
            "Name ids, give a filter, or use --all.",
            Exit.USAGE,
        )
    if arguments.ids and is_filtered:
        raise CommandError(
            f"The {what} are named by ids and by a filter.", "Use only one of the two.", Exit.USAGE
        )


def decode(line: bytes) -> str:
    """Return a line decoded as UTF-8. Raises CommandError if it is not UTF-8.

    A guessed encoding could send the person another text than the one meant.
    """
    try:
        # Some editors begin a file with a byte order mark.
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(
            f"is not UTF-8 at byte {error.start + 1}.", "Save the file as UTF-8."
        ) from None


def load_json(text: str) -> Any:
    """Parse JSON.

    Raises ValueError for text that is not JSON, and CommandError when a key occurs twice in an
    object. Python and pydantic silently keep the last value, but the author may have meant the
    other person.
    """
    try:
        return json.loads(text, object_pairs_hook=_once_each)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def refuse_repeated_keys(text: str) -> None:
    """Raise CommandError when a key occurs twice in an object.

    Text that is not JSON passes: the next parser rejects it.
    """
    with suppress(ValueError):
        load_json(text)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            name = f"`{key}`" if _SHOWABLE.fullmatch(key) else "a key"
            raise CommandError(f"contains {name} twice.", "Leave one of them out.")
        found[key] = value
    return found


def channel_of(address: str) -> Channel:
    """Return the channel of a recipient's address.

    Raises CommandError, which does not repeat the address.
    """
    try:
        return parse_address(address).channel
    except AddressError as error:
        raise CommandError(f"The address is {error}.", code=Exit.USAGE) from error


def read_instant(text: str | datetime | None) -> datetime | None:
    """Parse a time with an offset. Raises CommandError for a time without one."""
    if text is None:
        return None
    try:
        instant = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise CommandError(
            "A time cannot be read.",
            "Write it with its offset: 2026-11-21T10:00:00Z.",
            Exit.USAGE,
        )
    return instant
