"""Writes what a process did as JSON Lines that survive its kill -9, for `worker.verify`. No addresses, no bodies."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from worker.clock import wall_now

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _wall_ms() -> float:
    # A stamp that orders lines of several processes on one machine; no decision rests on it.
    return round(wall_now().timestamp() * 1000.0, 3)


class Journal:
    """Appends lines `{"t": wall ms, "who": …, "e": event, …}`; with path None it does nothing.

    Each line is one write() to a file opened with O_APPEND: several processes may share a file, and a line that was
    written stays when the process is killed. Raises OSError when the file cannot be opened or written.
    """

    __slots__ = ("_clock", "_fd", "_who")

    def __init__(self, path: Path | None, who: str, clock: Callable[[], float] = _wall_ms) -> None:
        self._who = who
        self._clock = clock
        self._fd: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _end_torn_line(self._fd)

    def write(self, event: str, **fields: object) -> None:
        """Append one line. Fields are JSON values; persons appear as labels, never as addresses.

        A field `t`, from `now`, dates the line back: what was asked of the store then, others may have seen already.
        """
        if self._fd is None:
            return
        line = _encode({"t": self._clock(), "who": self._who, "e": event, **fields}).encode() + b"\n"
        if os.write(self._fd, line) != len(line):
            raise OSError(f"journal of {self._who}: a line was cut short; free space on its disk and start again")

    def now(self) -> float:
        """Tell the instant a line would carry."""
        return self._clock()

    @property
    def is_on(self) -> bool:
        """Whether lines are written at all."""
        return self._fd is not None

    def close(self) -> None:
        """Close the file; later writes do nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _end_torn_line(fd: int) -> None:
    """Start on a new line: a kill may have cut the last one of an earlier process."""
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        os.write(fd, b"\n")
