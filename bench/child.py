"""A process that a row starts: a worker, a gateway, or a mock with a script.

It reads words on its standard input and answers each with a line of JSON (`child_commands.py`). It
stops when its standard input closes, so none outlives the row that started it.
"""

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Final, Self, cast

ANSWER_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
_MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""A mock returns all of its POSTs in one line."""


class ChildError(Exception):
    """A process that a row needs ended or did not answer. The text has its last lines."""


class Child:
    """One process. Use it as an async context manager, which stops it by its own id."""

    def __init__(self, process: Process, log: BinaryIO) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(
        cls, module: str, arguments: Mapping[str, object], environ: Mapping[str, str] | None = None
    ) -> Self:
        """Start `python -m MODULE`, with its arguments as JSON and `environ` added to ours."""
        log = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 -- closed in `stop`
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            json.dumps(arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            env={**os.environ, **(environ or {})},
            limit=_MAX_LINE_BYTES,
        )
        return cls(process, log)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def answer(self) -> dict[str, Any]:
        """Return the next line that the process prints. Raises ChildError."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise ChildError(
                f"no answer in {ANSWER_SECONDS:.0f} s; {self._last_lines()}"
            ) from error
        if not line:
            raise ChildError(f"the process ended; {self._last_lines()}")
        found: dict[str, Any] = json.loads(line)
        return found

    async def ask(self, word: str) -> dict[str, Any]:
        """Send one word and return the answer. Raises ChildError."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # `answer` reports a process that has ended
            self._process.stdin.write(f"{word}\n".encode())
            await self._process.stdin.drain()
        return await self.answer()

    async def cpu(self) -> float:
        """Return the processor seconds that the process has used so far."""
        return float((await self.ask("cpu"))["cpu"])

    async def stop(self) -> None:
        """Close the standard input and wait. A process that does not end is killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._log.close()

    def _last_lines(self) -> str:
        if self._log.closed:
            return "it was stopped"
        self._log.seek(0)
        return self._log.read()[-2000:].decode(errors="replace") or "it printed nothing"
