"""Runs a command of the service in which one message kills the process (SIGKILL) after each
decision.

Usage: python -m tests.chaos.poison MESSAGE_ID COMMAND ARGUMENTS…
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence

from worker.telemetry.journal import Journal


def poison(message_id: str) -> None:
    """Let a message kill this process, after its `decided` line and before its intent."""
    write: Callable[..., None] = Journal.write

    def dying(self: Journal, name: str, **fields: object) -> None:
        write(self, name, **fields)
        if name == "decided" and fields.get("id") == message_id:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(Journal, "write", dying)  # noqa: B010 -- a plain assignment to a method is an error for mypy


def main(arguments: Sequence[str]) -> None:
    """Install the poison, then run the service's command."""
    message_id, *command = arguments
    poison(message_id)
    from worker.cli.main import main as run  # noqa: PLC0415 -- after the poison is laid

    sys.exit(run(command))


if __name__ == "__main__":
    main(sys.argv[1:])
