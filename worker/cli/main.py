"""Reads the command line, imports the command that it names, and runs it.

Errors become a sentence and an exit code.
"""

import argparse
import errno
import io
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from worker.cli.exit_codes import CommandError, Exit

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": (
        "service_commands",
        "run the gateway and workers together, with an embedded store if no URL is set",
    ),
    "run": ("service_commands", "run a worker, which claims messages, decides, sends and records"),
    "serve": (
        "service_commands",
        "run the gateway: status callbacks, inbound messages, health, metrics",
    ),
    "send": ("send", "put the messages of a JSON Lines file on the queue"),
    "show": ("show", "show where a message is and everything that happened to it"),
    "explain": ("explain", "explain what would happen to a message now, and why; writes nothing"),
    "contact": ("contact", "show what is known about a person"),
    "consent": (
        "consent",
        "grant or revoke a person's consent; decide about texts that may mean stop",
    ),
    "dead": ("dead", "list, show, replay or drop dead letters"),
    "retry": ("retry", "send refused, failed or expired messages again; a dry run without --yes"),
    "unknown": ("unknown", "list or resolve messages whose outcome is not proven"),
    "tags": ("pauses", "list or reset what is known about ACCOUNT_UPDATE on each Page"),
    "templates": ("pauses", "list or reset what errors said about each template"),
    "pause": ("pauses", "stop a sender or an account; what is queued keeps its place"),
    "resume": ("pauses", "end the pause of a sender or an account, or close its breaker"),
    "campaign": (
        "campaign",
        "pause, resume or cancel a campaign of a sender, or show where it stands",
    ),
    "store": (
        "store",
        "after the store was restored from a copy, look up what may have been sent since then",
    ),
    "lanes": ("lanes", "list lanes, senders and accounts: what waits there, and what blocks it"),
    "processes": ("processes", "list the workers and gateways that are alive, with their releases"),
    "doctor": ("doctor", "check settings, store, clocks and policy dates"),
    "sandbox": (
        "sandbox",
        "run a local stand-in for Twilio's Messages API; `sandbox say` plays a person",
    ),
    "demo": (
        "demo",
        "run the whole service on this machine against the sandbox, and check every result",
    ),
    "verify": ("verify", "prove or refute the promises from journals"),
}
"""Each command: its module in worker/cli/, and its purpose."""


_PROGRAM: Final = "python -m worker"
_EVERYWHERE: Final = (
    "--config FILE, in any place: the settings file (default: SENDWINDOW_CONFIG, else "
    "sendwindow.toml)."
)


class _Version(argparse.Action):
    """Prints the version of the checkout or of the image."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> NoReturn:
        from worker.runtime.release import own_release

        print(f"sendwindow {own_release()}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        sys.stderr.write(f"error: {message}. See `{self.prog} --help`.\n")
        raise SystemExit(Exit.USAGE)


def parser(named: str | None = None) -> argparse.ArgumentParser:
    """Build the parser.

    Only the command `named` gets its arguments, so that no other command is imported.
    """
    whole = _Parser(prog=_PROGRAM, description=sys.modules["worker"].__doc__, epilog=_EVERYWHERE)
    whole.add_argument("--version", action=_Version)
    commands = whole.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for name, (module, help_text) in COMMANDS.items():
        one = commands.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            epilog=_EVERYWHERE,
        )
        if name == named:
            import_module(f"worker.cli.{module}").configure(one, name)
    return whole


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code.

    Prints errors as sentences, never as stack traces.
    """
    if sys.stdout is None:
        # The parent process closed it. A command that prints nothing still runs. Any write fails
        # like one to a full disk.
        sys.stdout = Path(os.devnull).open()  # noqa: SIM115 -- the output until the process ends
    try:
        code = _answer(argv)
        # Flush here: Python would report a failure at exit with a stack trace.
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return Exit.OUTPUT_CLOSED
    except OSError as error:
        is_closed = isinstance(error, io.UnsupportedOperation)
        if not is_closed and error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _drop_output()
        why = "standard output is closed" if is_closed else error.strerror
        return _sorry(
            f"The output cannot be written ({why}). Send it somewhere else.", Exit.OUTPUT_CLOSED
        )
    return code


def _drop_output() -> None:
    """Discard what Python would still flush when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _answer(argv: Sequence[str]) -> int:
    # Parsed first, so that --config may be anywhere, even after the second word of a command.
    everywhere = _Parser(prog=_PROGRAM, add_help=False, allow_abbrev=False)
    everywhere.add_argument("--config", metavar="FILE")
    try:
        common, rest = everywhere.parse_known_args(argv)
        named = next((word for word in rest if word in COMMANDS), None)
        arguments = parser(named).parse_args(rest, common)
        code: int = arguments.command_function(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.DONE
    except CommandError as error:
        return _sorry(str(error), error.code)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        sorry = _known(error)
        if sorry is None:
            raise
        return _sorry(*sorry)
    return code


def _sorry(sentence: str, code: Exit) -> Exit:
    sys.stderr.write(f"error: {sentence}\n")
    return code


def _known(error: Exception) -> tuple[str, Exit] | None:
    """Return the sentence and exit code of an error that any command may meet.

    Returns None for a bug in our code, which keeps its stack trace.
    """
    from redis.exceptions import RedisError

    from policies.toml_reader import PolicyDataError
    from sendwindow.errors import BadStoreUrl, StoreUnavailable
    from sendwindow.store_faults import fault_of
    from worker.runtime.embedded_store import EmbeddedStoreError
    from worker.settings.reader import SettingsError
    from worker.stores.store import StoreRefused, StoreTroubleError

    if isinstance(error, SettingsError | PolicyDataError | BadStoreUrl | StoreRefused):
        return str(error), Exit.USAGE
    if isinstance(error, StoreUnavailable):
        return str(error), Exit.STORE_UNREACHABLE
    if isinstance(error, EmbeddedStoreError | StoreTroubleError):
        return str(error), Exit.STORE_UNREACHABLE
    if isinstance(error, RedisError | ConnectionError | TimeoutError):
        return fault_of(error).sentence(), Exit.STORE_UNREACHABLE
    return None
