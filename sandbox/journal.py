"""Writes what the sandbox saw and did as JSON Lines, for `verify`. The lines survive a kill -9."""

import json
import os
from pathlib import Path
from typing import Final

from sandbox.clock import wall_now

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Journal:
    """Writes lines `{"t": wall ms, "who": "sandbox", "e": event, …}`, or nothing without a path.

    Each line is one write() to a file opened with O_APPEND, so a line that was written survives a
    kill. Raises OSError when the file cannot be opened or written.
    """

    __slots__ = ("_fd",)

    def __init__(self, path: Path | None) -> None:
        self._fd = None if path is None else _open(path)

    def write(self, event: str, **fields: object) -> None:
        """Write one line. Fields are JSON values; persons appear as labels, never as addresses.

        A field `t`, which the caller read from `now` earlier, dates the line back.
        """
        if self._fd is not None:
            _append(
                self._fd,
                _encode({"t": self.now(), "who": "sandbox", "e": event, **fields}).encode() + b"\n",
            )

    def now(self) -> float:
        """Return the time that a line would carry, in milliseconds of the wall clock."""
        return round(wall_now().timestamp() * 1000.0, 3)

    @property
    def is_on(self) -> bool:
        """Whether lines are written at all."""
        return self._fd is not None

    def close(self) -> None:
        """Close the file. Later writes do nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        # A kill may have cut the last line of an earlier run, so begin on a new line.
        _append(fd, b"\n")
    return fd


def _append(fd: int, line: bytes) -> None:
    if os.write(fd, line) < len(line):
        raise OSError("a line of the sandbox's journal was cut short; is the disk full?")
