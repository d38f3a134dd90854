"""`run`, `serve` and `up`: the processes of the service, one by one or all on this machine."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.cli.child_processes import ChildProcesses
from worker.cli.exit_codes import CommandError, Exit, no_account
from worker.runtime.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from worker.cli.signals import Service
    from worker.settings.settings import Settings

RESTART_SECONDS: Final = 1.0
"""How many seconds `up` waits before it restarts a process that ended by itself."""

STARTING_SECONDS: Final = 5.0
"""Seconds. A process that fails sooner would fail again. One that ran for longer is restarted."""

GATEWAY_GRACE_SECONDS: Final = 15.0
"""Seconds. Twilio does not wait longer for an answer."""

_TOGETHER: Final = {"SENDWINDOW_DISPATCH_HEALTH_PORT": "0"}
"""Several workers on one machine cannot share a port. `up` started them and watches them."""


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments of `run`, `serve` or `up`."""
    if name == "up":
        parser.add_argument(
            "--workers",
            type=int,
            default=1,
            metavar="N",
            help="how many workers (default: %(default)s)",
        )
    parser.add_argument(
        "--journal",
        type=Path,
        metavar="FILE" if name != "up" else "FOLDER",
        help="record what the processes do, for `verify`",
    )
    parser.add_argument("--end-with-stdin", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(
        command_function={"run": run_worker, "serve": run_gateway, "up": run_up}[name]
    )


_A_FILE: Final = "Name a file in a folder where this user may write."
_A_FOLDER: Final = (
    "Name a folder where this user may write; each process creates its own file in it."
)


def _stop_is_easy() -> None:
    """End the process with 0 if SIGTERM comes before the service runs: nothing is under way yet."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(Exit.DONE))


def _prepare(config: str | None, role: str) -> "Settings":
    """Read the settings and prepare a process.

    Raises CommandError for settings without accounts: a worker would permanently refuse all waiting
    messages, because it would not know their senders.
    """
    from worker.services import prepare

    settings = prepare(config, role)
    if not settings.accounts:
        raise no_account()
    return settings


def _log_embedded(folder: Path) -> None:
    """Log where the embedded store is.

    The operator may have meant the worker to share a store, and must notice that it does not.
    """
    from worker.telemetry.logs import get_log

    get_log().warning(
        "embedded_store", folder=str(folder.resolve()), remedy="set store.url to share a store"
    )


def run_worker(arguments: argparse.Namespace) -> int:
    """Run a worker until a signal."""
    _stop_is_easy()
    from worker.services import WorkerService
    from worker.wiring import store_settings

    settings = _prepare(arguments.config, "worker")
    _check_journal(arguments.journal, _A_FILE)
    with store_settings(settings, announce=_log_embedded) as complete:
        service = WorkerService(complete, arguments.journal)
        return _until_signal(
            service, settings.dispatch.grace_seconds, with_stdin=arguments.end_with_stdin
        )


def run_gateway(arguments: argparse.Namespace) -> int:
    """Run the gateway until a signal."""
    _stop_is_easy()
    from worker.services import GatewayService
    from worker.wiring import store_settings

    settings = _prepare(arguments.config, "gateway")
    _check_journal(arguments.journal, _A_FILE)
    with store_settings(settings, announce=_log_embedded) as complete:
        service = GatewayService(complete, arguments.journal)
        return _until_signal(service, GATEWAY_GRACE_SECONDS, with_stdin=arguments.end_with_stdin)


def run_up(arguments: argparse.Namespace) -> int:
    """Run a gateway and workers as processes, until a signal."""
    _stop_is_easy()
    from worker.wiring import store_settings

    if arguments.workers < 1:
        raise CommandError("--workers is at least 1.", code=Exit.USAGE)
    settings = _prepare(arguments.config, "up")
    if arguments.journal is not None:
        _check_journal(_journal_of("gateway", arguments.journal), _A_FOLDER)
    with store_settings(settings, announce=_log_embedded):
        service = UpService(settings, arguments.config, arguments.workers, arguments.journal)
        return _until_signal(service, service.grace, with_stdin=arguments.end_with_stdin)


def _journal_of(name: str, folder: Path) -> Path:
    return folder / f"{name}.jsonl"


def _check_journal(path: Path | None, remedy: str) -> None:
    """Raise CommandError for a journal that can never be written, before anything starts.

    If its disk is full, the process waits for space instead.
    """
    from worker.telemetry.journal import check_place

    try:
        check_place(path)
    except OSError as error:
        raise CommandError(
            f"The journal {path} cannot be written ({error.strerror}).", remedy, Exit.USAGE
        ) from error


def _until_signal(service: "Service", grace: float, *, with_stdin: bool) -> int:
    from worker.cli.signals import run_until_signal
    from worker.services import CannotListenError

    try:
        return run_fast(run_until_signal(service, grace, with_stdin=with_stdin))
    except CannotListenError as error:
        raise CommandError(str(error)) from error


def run_fast(main: "Coroutine[object, object, Exit]") -> Exit:
    """Run a service on uvloop."""
    import uvloop

    return uvloop.run(main)


class UpService:
    """A gateway and workers as processes of their own.

    A process that ends by itself is restarted.
    """

    def __init__(
        self, settings: "Settings", config: str | None, workers: int, journals: Path | None
    ) -> None:
        self.grace = max(GATEWAY_GRACE_SECONDS, settings.dispatch.grace_seconds) + RESTART_SECONDS
        self._crew = ChildProcesses(os.environ)
        self._stopping = asyncio.Event()
        common = ["--config", config] if config else []
        self._commands = {"gateway": ["serve", *common]}
        self._commands |= {f"worker-{number}": ["run", *common] for number in range(1, workers + 1)}
        if journals is not None:
            for name, command in self._commands.items():
                command += ["--journal", str(_journal_of(name, journals))]

    async def run(self) -> None:
        """Run all processes until stopped.

        Raises CommandError when a process cannot run with these settings.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for name, command in self._commands.items():
                    group.create_task(self._keep(name, command), name=name)
        except* CommandError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._crew.stop(self.grace)

    async def stop(self) -> None:
        """Pass the signal on. `run` returns when all processes have ended."""
        self._stopping.set()
        self._crew.terminate()

    async def _keep(self, name: str, command: list[str]) -> None:
        from worker.telemetry.logs import get_log

        while not self._stopping.is_set():
            began = monotonic()
            child = await self._crew.start(name, command, _TOGETHER)
            if self._stopping.is_set():
                child.terminate()
            code = await child.wait()
            if self._stopping.is_set():
                return
            if code == Exit.USAGE or (
                code == Exit.FAILED and monotonic() - began < STARTING_SECONDS
            ):
                raise CommandError(
                    f"The {name} process cannot run.", "Its log line above says why.", Exit(code)
                )
            get_log().warning("process_ended", name=name, code=code, again_in=RESTART_SECONDS)
            stopped = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({stopped}, timeout=RESTART_SECONDS)
            stopped.cancel()
