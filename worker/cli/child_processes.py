"""Processes of the service that one of its own commands starts.

None outlives the process that started it.
"""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_KILL_SECONDS: Final = 5.0


class Child:
    """One process.

    Its standard input is a pipe that closes when its parent ends. The child takes that as a signal.
    """

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    def terminate(self) -> None:
        """Ask the process to stop in order."""
        if self.is_running:
            with suppress(ProcessLookupError):
                self.process.terminate()

    async def wait(self) -> int:
        """Wait until the process ends, and return its exit code."""
        return await self.process.wait()

    async def stop(self, grace: float) -> int:
        """Stop the process in order within `grace` seconds, and by force after that."""
        self.terminate()
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            async with asyncio.timeout(_KILL_SECONDS):
                return await self.wait()


class ChildProcesses:
    """All processes started here.

    `logs`: a folder that gets one file per process with what it prints. Without it, the processes
    print where we do.
    """

    def __init__(self, environ: Mapping[str, str], logs: Path | None = None) -> None:
        # Children import the same checkout, wherever they are started.
        paths = [str(ROOT), *filter(None, [environ.get("PYTHONPATH")])]
        self._environ = {**environ, "PYTHONPATH": os.pathsep.join(paths)}
        self._logs = logs
        self.children: list[Child] = []

    async def start(
        self, name: str, command: Sequence[str], extra: Mapping[str, str] | None = None
    ) -> Child:
        """Start `python -m worker COMMAND` with `extra` in its environment."""
        output: int | None = None
        if self._logs is not None:
            output = os.open(
                self._logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
            )
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "worker",
                *command,
                "--end-with-stdin",
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**self._environ, **(extra or {})},
                # A session of its own: Ctrl-C reaches only us, and we stop the children in order.
                start_new_session=True,
            )
        finally:
            if output is not None:
                os.close(output)
        child = Child(name, process)
        self.children.append(child)
        return child

    def terminate(self) -> None:
        """Ask all processes to stop."""
        for child in self.children:
            child.terminate()

    async def stop(self, grace: float) -> None:
        """Stop all processes in order within `grace` seconds, and by force after that."""
        await asyncio.gather(*(child.stop(grace) for child in self.children if child.is_running))
