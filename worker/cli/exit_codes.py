"""The exit code of a command, and the error that carries it.

Documented in docs/commands.md.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    STORE_UNREACHABLE = 3
    STOPPED_EARLY = 4
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141

    @property
    def meaning(self) -> str:
        """What the code means, for the table in docs/commands.md."""
        return _MEANINGS[self]


_MEANINGS = {
    Exit.DONE: "done; for `run`, `serve`, `up` and `sandbox`: stopped in order. "
    "A POST still open after `dispatch.grace_seconds` is `unknown`",
    Exit.FAILED: "done, and the answer is no: bad lines, nothing found, a promise refuted, a "
    "check of `doctor` failed. For `run`, `serve`, `up` and `sandbox`: the port to "
    "listen on is taken",
    Exit.USAGE: "the command line or the settings cannot be used; nothing was done",
    Exit.STORE_UNREACHABLE: "the store could not be reached, or answered with an error; `doctor` "
    "answers 1",
    Exit.STOPPED_EARLY: (
        "a second signal or the watchdog ended it early; other workers take over its "
        "messages when their leases run out"
    ),
    Exit.INTERRUPTED: "interrupted with Ctrl-C, except those that code 0 names; `demo` also by "
    "SIGTERM",
    Exit.OUTPUT_CLOSED: (
        "the output could not be written, because its reader went away (as `head -1` "
        "does), it is closed, or the disk is full; the rest was not done"
    ),
}


class CommandError(Exception):
    """Ends a command with one sentence and its remedy. It never carries a person's data."""

    def __init__(self, sentence: str, remedy: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(f"{sentence} {remedy}".rstrip())
        self.code = code


def no_account() -> CommandError:
    """Build the error for settings that name no account."""
    remedy = "Copy examples/sendwindow.toml, or name it with --config."
    return CommandError("The settings name no account.", remedy, Exit.USAGE)
