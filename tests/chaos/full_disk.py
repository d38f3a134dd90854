"""Runs a command of the service whose disk fills up in the middle of a journal line.

SIGUSR1 makes room again. Usage: python -m tests.chaos.full_disk EVENT COMMAND ARGUMENTS… The kernel
(RLIMIT_FSIZE) cuts the first line of EVENT; the service knows nothing of that.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from worker.telemetry.journal import Journal

_ROOM: Final = 15


def fill_up(event: str) -> None:
    """Leave a few bytes of room when the first line of `event` is about to be written."""
    write: Callable[..., None] = Journal.write
    is_full = False

    def filling(self: Journal, name: str, **fields: object) -> None:
        nonlocal is_full
        if name == event and not is_full:
            is_full = True
            size = os.fstat(self._fd).st_size if self._fd is not None else 0
            _limit(size + _ROOM)
        write(self, name, **fields)

    setattr(Journal, "write", filling)  # noqa: B010 -- a plain assignment to a method is an error for mypy


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def main(arguments: Sequence[str]) -> None:
    """Prepare the disk, then run the service's command."""
    event, *command = arguments
    fill_up(event)
    signal.signal(signal.SIGUSR1, lambda *_: _limit(resource.RLIM_INFINITY))
    from worker.cli.main import main as run  # noqa: PLC0415 -- after the disk is prepared

    sys.exit(run(command))


if __name__ == "__main__":
    main(sys.argv[1:])
