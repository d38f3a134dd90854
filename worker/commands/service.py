"""`run`, `serve` and `up`: the service's processes, one by one or all on this machine."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.clock import monotonic
from worker.commands.exits import CommandError, Exit, no_account
from worker.commands.processes import Crew

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from worker.commands.signals import Service
    from worker.settings import Settings

RESTART_SECONDS: Final = 1.0
"""How long `up` waits before it starts a process again that ended by itself."""

STARTING_SECONDS: Final = 5.0
"""What fails so soon would fail again; what ran for longer is started again."""

GATEWAY_GRACE: Final = 15.0
"""Twilio waits no longer for an answer."""

_TOGETHER: Final = {"SENDWINDOW_DISPATCH_HEALTH_PORT": "0"}
"""Several workers on one machine cannot have one port; who started them looks after them."""


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments of `run`, `serve` or `up`."""
    if name == "up":
        parser.add_argument(
            "--workers", type=int, default=1, metavar="N", help="how many workers (default: %(default)s)"
        )
    parser.add_argument(
        "--journal",
        type=Path,
        metavar="FILE" if name != "up" else "FOLDER",
        help="write what happens there, for `verify`",
    )
    parser.add_argument("--end-with-stdin", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(command_function={"run": run_worker, "serve": run_gateway, "up": run_up}[name])


_A_FILE: Final = "Name a file, in a folder where this user may write."
_A_FOLDER: Final = "Name a folder where this user may write: each process makes a file of its own there."


def _stop_is_easy() -> None:
    """Let a SIGTERM that comes before the service runs end the process with 0: nothing is under way yet."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(Exit.DONE))


def _prepare(config: str | None, role: str) -> "Settings":
    """Prepare a process. Without accounts a worker would refuse all that waits, for good, as of unknown senders."""
    from worker.services import prepare

    settings = prepare(config, role)
    if not settings.accounts:
        raise no_account()
    return settings


def _log_embedded(folder: Path) -> None:
    """Log where the embedded store is: a worker that was meant to share a store must not pass unseen."""
    from worker.logs import get_log

    get_log().warning("embedded_store", folder=str(folder.resolve()), remedy="set store.url to share a store")


def run_worker(arguments: argparse.Namespace) -> int:
    """Run a worker until a signal."""
    _stop_is_easy()
    from worker.services import WorkerService
    from worker.wiring import store_settings

    settings = _prepare(arguments.config, "worker")
    _check_journal(arguments.journal, _A_FILE)
    with store_settings(settings, announce=_log_embedded) as complete:
        service = WorkerService(complete, arguments.journal)
        return _until_signal(service, settings.dispatch.grace_seconds, with_stdin=arguments.end_with_stdin)


def run_gateway(arguments: argparse.Namespace) -> int:
    """Run the gateway until a signal."""
    _stop_is_easy()
    from worker.services import GatewayService
    from worker.wiring import store_settings

    settings = _prepare(arguments.config, "gateway")
    _check_journal(arguments.journal, _A_FILE)
    with store_settings(settings, announce=_log_embedded) as complete:
        service = GatewayService(complete, arguments.journal)
        return _until_signal(service, GATEWAY_GRACE, with_stdin=arguments.end_with_stdin)


def run_up(arguments: argparse.Namespace) -> int:
    """Run a gateway and workers as processes until a signal."""
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
    """Refuse a journal that can never be written, before anything starts. One whose disk is full is waited for."""
    from worker.journal import check_place

    try:
        check_place(path)
    except OSError as error:
        raise CommandError(f"The journal {path} cannot be written ({error.strerror}).", remedy, Exit.USAGE) from error


def _until_signal(service: "Service", grace: float, *, with_stdin: bool) -> int:
    from worker.commands.signals import run_until_signal
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
    """A gateway and workers as processes of their own. One that ends by itself is started again."""

    def __init__(self, settings: "Settings", config: str | None, workers: int, journals: Path | None) -> None:
        self.grace = max(GATEWAY_GRACE, settings.dispatch.grace_seconds) + RESTART_SECONDS
        self._crew = Crew(os.environ)
        self._stopping = asyncio.Event()
        common = ["--config", config] if config else []
        self._commands = {"gateway": ["serve", *common]}
        self._commands |= {f"worker-{number}": ["run", *common] for number in range(1, workers + 1)}
        if journals is not None:
            for name, command in self._commands.items():
                command += ["--journal", str(_journal_of(name, journals))]

    async def run(self) -> None:
        """Keep all processes going until stopped. Raises CommandError when one cannot run with these settings."""
        try:
            async with asyncio.TaskGroup() as group:
                for name, command in self._commands.items():
                    group.create_task(self._keep(name, command), name=name)
        except* CommandError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._crew.stop(self.grace)

    async def stop(self) -> None:
        """Pass the signal on; `run` returns when all processes have ended."""
        self._stopping.set()
        self._crew.terminate()

    async def _keep(self, name: str, command: list[str]) -> None:
        from worker.logs import get_log

        while not self._stopping.is_set():
            began = monotonic()
            child = await self._crew.start(name, command, _TOGETHER)
            if self._stopping.is_set():
                child.terminate()
            code = await child.wait()
            if self._stopping.is_set():
                return
            if code == Exit.USAGE or (code == Exit.FAILED and monotonic() - began < STARTING_SECONDS):
                raise CommandError(f"The {name} process cannot run.", "Its own line above says why.", Exit(code))
            get_log().warning("process_ended", name=name, code=code, again_in=RESTART_SECONDS)
            stopped = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({stopped}, timeout=RESTART_SECONDS)
            stopped.cancel()
