"""Starts processes of the service without loading Python and its libraries again for each.

To import the service takes most of the time of a short command, and the tests start hundreds. So
each test process has one server that has imported everything and run nothing. It forks for every
start; the child gets the arguments, folder, environment and files of its own, and runs the module
as `python -m` does. What `up` and the demo start by themselves is started the ordinary way.
"""

import atexit
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]


class Started:
    """A running or ended process, with what `subprocess.Popen` offers."""

    def __init__(self, pid: int, report: socket.socket) -> None:
        self.pid = pid
        self._report = report
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative after a signal, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        # It may end, and be reaped, at this instant.
        with suppress(ProcessLookupError):
            if self.poll() is None:
                os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises subprocess.TimeoutExpired."""
        if self._code is None:
            self._report.settimeout(seconds)
            try:
                data = self._report.recv(4)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(str(self.pid), seconds or 0) from None
            self._code = struct.unpack("i", data)[0]
            self._report.close()
        return self._code


def start(
    module: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] = subprocess.DEVNULL,
    stderr: int | IO[Any] = subprocess.DEVNULL,
) -> Started:
    """Start `python -m MODULE ARGUMENTS`."""
    order = repr((module, list(arguments), str(cwd), dict(environ))).encode()
    ours, theirs = socket.socketpair()
    server = _server()
    with theirs, Path(os.devnull).open("r+b", buffering=0) as nothing:
        files = [
            nothing.fileno() if each == subprocess.DEVNULL else _number(each)
            for each in (stdin, stdout, stderr)
        ]
        socket.send_fds(server, [struct.pack("I", len(order))], [theirs.fileno(), *files])
        server.sendall(order)
        [pid] = struct.unpack("i", ours.recv(4))
    return Started(pid, ours)


def run(
    module: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    stdin: int | IO[Any] = subprocess.DEVNULL,
    seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m MODULE ARGUMENTS` to its end, as `subprocess.run` with `capture_output`.

    Raises subprocess.TimeoutExpired, and kills the process.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(
            module, arguments, cwd=cwd, environ=environ, stdin=stdin, stdout=out, stderr=err
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send(signal.SIGKILL)
            raise
        printed = [os.pread(each.fileno(), 1 << 24, 0).decode() for each in (out, err)]
    return subprocess.CompletedProcess([module, *arguments], code, *printed)


def _number(file: int | IO[Any]) -> int:
    return file if isinstance(file, int) else file.fileno()


@cache
def _server() -> socket.socket:
    """Start this test process's server, which ends with it."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm_server", str(theirs.fileno())],
            cwd=ROOT,
            env={"PATH": os.environ.get("PATH", "")},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    assert ours.recv(1) == b"!", "the server of warm_start could not import the service"

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
