"""What a person decides belongs into a journal as well: without it `verify` takes a replay for a broken promise."""

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from worker.commands.exits import CommandError, Exit
from worker.journal import Journal


def add_journal(parser: argparse.ArgumentParser) -> None:
    """Give a command that decides about messages the option to write down what it did."""
    parser.add_argument("--journal", type=Path, metavar="FILE", help="write what was decided there, for `verify`")


@contextmanager
def open_journal(path: Path | None) -> Iterator[Journal]:
    """Open the journal before anything is done. Raises CommandError when it cannot be written."""
    try:
        journal = Journal(path, f"command-{os.getpid()}")
    except OSError as error:
        raise CommandError(
            f"The journal cannot be written ({error.strerror}).", "Check its path.", Exit.USAGE
        ) from error
    with closing(journal):
        yield journal
