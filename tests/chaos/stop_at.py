"""Runs a command of the service that stops itself (SIGSTOP) at a named point.

The caller then kills it exactly there. Usage: python -m tests.chaos.stop_at POINT NTH COMMAND
ARGUMENTS… The service itself knows no points: this module wraps its journal and its stores.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from worker.telemetry.journal import Journal

JOURNAL_POINTS = {
    "after_claim": "claimed",
    "before_intent": "decided",
    "after_intent": "intent",
    "before_settle": "replied",
    "after_settle": "settled",
}
"""Points right after a journal line. Nothing that follows the line has happened yet."""

POINTS = (*JOURNAL_POINTS, "after_post", "callback_before_write", "callback_after_write")


class Countdown:
    """Stops the whole process when a point is reached for the nth time."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def reached(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGSTOP)


def arm(point: str, nth: int) -> None:
    """Stop the process at `point`, for its nth time."""
    countdown = Countdown(nth)
    if point in JOURNAL_POINTS:
        _after_journal_line(JOURNAL_POINTS[point], countdown)
    elif point == "after_post":
        from worker.twilio.client import TwilioClient  # noqa: PLC0415 -- only where it is needed: every start costs time

        _around(TwilioClient, "create", countdown, before=False)
    elif point in POINTS:
        from worker.stores.statuses import StatusStore  # noqa: PLC0415 -- as above

        _around(StatusStore, "apply", countdown, before=point == "callback_before_write")
    else:
        sys.exit(f"no such point: {point}; there are {', '.join(POINTS)}")


def _after_journal_line(event: str, countdown: Countdown) -> None:
    write: Callable[..., None] = Journal.write

    def stopping(self: Journal, name: str, **fields: object) -> None:
        write(self, name, **fields)
        if name == event:
            countdown.reached()

    setattr(Journal, "write", stopping)  # noqa: B010 -- a plain assignment to a method is an error for mypy


def _around(owner: type[Any], name: str, countdown: Countdown, *, before: bool) -> None:
    method = getattr(owner, name)

    async def stopping(self: Any, *arguments: Any, **named: Any) -> Any:
        if before:
            countdown.reached()
        answer = await method(self, *arguments, **named)
        if not before:
            countdown.reached()
        return answer

    setattr(owner, name, stopping)


def main(arguments: Sequence[str]) -> None:
    """Arm the point, then run the service's command."""
    point, nth, *command = arguments
    arm(point, int(nth))
    from worker.cli.main import main as run  # noqa: PLC0415 -- after the point is armed

    sys.exit(run(command))


if __name__ == "__main__":
    main(sys.argv[1:])
