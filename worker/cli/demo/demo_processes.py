"""Where the demo plays: a private store, and the sandbox, gateway and workers as processes.

They talk over real sockets.
"""

import asyncio
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from worker.cli.child_processes import Child, ChildProcesses
from worker.cli.exit_codes import CommandError, Exit
from worker.runtime.clock import monotonic

WORKERS: Final = 2
HANG_SECONDS: Final = 60.0
"""Seconds. Nothing here takes that long; what takes longer hangs."""

_STARTED: Final = '"event": "started"'
"""What a worker logs when it begins to claim messages."""

_POLL_SECONDS: Final = 0.02
_STOP_SECONDS: Final = 10.0
_SANDBOX_URL: Final = "http://127.0.0.1:9810"
_PUBLIC_URL: Final = "http://127.0.0.1:8080"
_TOKENS: Final = ("TWILIO_AUTH_TOKEN", "TWILIO_AUTH_TOKEN_SECOND")


class DemoProcesses:
    """Folder, settings and processes.

    Use it as an async context manager. No process outlives it, whatever happens.
    """

    def __init__(self, examples: Path) -> None:
        self._examples = examples
        self.folder = Path(tempfile.mkdtemp(prefix="sendwindow-demo-"))
        self.journals = self.folder / "journals"
        self.logs = self.folder / "logs"
        self.config = self.folder / "sendwindow.toml"
        self.sandbox_port, self.gateway_port = _free_ports(2)
        self.environ = _environment(self.folder) | {
            "SENDWINDOW_GATEWAY_PORT": str(self.gateway_port)
        }
        self._crew = ChildProcesses(self.environ, self.logs)
        self._workers: list[Child] = []
        self._http: aiohttp.ClientSession | None = None
        self._replaced: list[Child] = []
        self.worker_exits: list[int] = []

    async def __aenter__(self) -> Self:
        try:
            for folder in (self.journals, self.logs):
                folder.mkdir()
            self._write_config()
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HANG_SECONDS))
            await self._start()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave()

    async def sandbox(self, path: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the sandbox's control: GET without fields, otherwise POST.

        Raises CommandError when the sandbox refuses.
        """
        url = f"http://127.0.0.1:{self.sandbox_port}/sandbox/{path}"
        if self._http is None:
            raise RuntimeError("the stage is not set; use it as an async context manager")
        method = "GET" if fields is None else "POST"
        async with self._http.request(method, url, json=fields) as answer:
            body: dict[str, Any] = await answer.json()
        if answer.status != 200:
            raise CommandError(f"The sandbox refuses {path}: {body.get('error', answer.status)}.")
        return body

    async def start_workers(self, extra: Mapping[str, str] | None = None) -> None:
        """Replace the workers by new ones with `extra` in their environment.

        The old ones stop in order first. Returns when the new ones claim messages.
        """
        self._replaced += self._workers
        self.worker_exits += await asyncio.gather(
            *(child.stop(_STOP_SECONDS) for child in self._workers)
        )
        generation = len(self.worker_exits) // WORKERS + 1
        names = [f"worker-{generation}.{number}" for number in range(1, WORKERS + 1)]
        self._workers = list(
            await asyncio.gather(*(self._child(name, ["run"], extra) for name in names))
        )
        deadline = monotonic() + HANG_SECONDS
        while not all(
            _STARTED in (self.logs / f"{name}.log").read_text("utf-8", "replace") for name in names
        ):
            self.check()
            if monotonic() > deadline:
                raise CommandError(f"The workers do not start.\n{self.last_words()}")
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Stop everything in order, so that the journals are complete."""
        self.worker_exits += await asyncio.gather(
            *(child.stop(_STOP_SECONDS) for child in self._workers)
        )
        self._workers = []
        await self._crew.stop(_STOP_SECONDS)

    def check(self) -> None:
        """Raise CommandError when a process has ended that should run."""
        if dead := [
            child.name
            for child in self._crew.children
            if not child.is_running and child not in self._replaced
        ]:
            raise CommandError(f"{dead[0]} has ended.\n{self.last_words()}")

    def last_words(self) -> str:
        """Return what the processes printed last, for an error."""
        parts = []
        for path in sorted(self.logs.glob("*.log")):
            lines = path.read_text("utf-8", "replace").splitlines()[-3:]
            parts += [f"{path.stem}: {line}" for line in lines]
        return "\n".join(parts)

    async def _start(self) -> None:
        sandbox = ["sandbox", "--port", str(self.sandbox_port)]
        await asyncio.gather(
            self._child("sandbox", sandbox), self._child("gateway", ["serve"]), self.start_workers()
        )
        await self._until_up(f"http://127.0.0.1:{self.sandbox_port}/sandbox/health")
        await self._until_up(f"http://127.0.0.1:{self.gateway_port}/health/ready")

    async def _child(
        self, name: str, command: list[str], extra: Mapping[str, str] | None = None
    ) -> Child:
        journal = str(self.journals / f"{name}.jsonl")
        return await self._crew.start(
            name, [*command, "--config", str(self.config), "--journal", journal], extra
        )

    async def _until_up(self, url: str) -> None:
        if self._http is None:
            return
        deadline = monotonic() + HANG_SECONDS
        while monotonic() < deadline:
            self.check()
            try:
                async with self._http.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(_POLL_SECONDS)
        raise CommandError(f"{url} does not answer.\n{self.last_words()}")

    async def _leave(self) -> None:
        try:
            await self.stop()
        finally:
            if self._http is not None:
                await self._http.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write_config(self) -> None:
        source = self._examples / "sendwindow.toml"
        try:
            text = source.read_text("utf-8")
        except OSError as error:
            raise CommandError(
                f"{source} cannot be read.", "Name the folder with --examples.", Exit.USAGE
            ) from error
        text = text.replace(_SANDBOX_URL, f"http://127.0.0.1:{self.sandbox_port}")
        text = text.replace(_PUBLIC_URL, f"http://127.0.0.1:{self.gateway_port}")
        self.config.write_text(text, "utf-8")


def _environment(folder: Path) -> dict[str, str]:
    # Drop the caller's own settings, so that the demo never touches their store or account.
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("SENDWINDOW_") and name != "REDIS_URL"
    }
    tokens = {name: secrets.token_hex(16) for name in _TOKENS}
    return {
        **kept,
        **tokens,
        "SENDWINDOW_DATA": str(folder / "data"),
        "SENDWINDOW_LOG_FORMAT": "json",
        # Less than _STOP_SECONDS: a process that is killed does not stop the embedded store.
        "SENDWINDOW_DISPATCH_GRACE_SECONDS": "5",
        "PYTHONUNBUFFERED": "1",
    }


def _free_ports(number: int) -> list[int]:
    """Return free ports on loopback. All are held until the last is found, so that they differ."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
