"""Writes what a process did as JSON Lines that survive kill -9, for `verify`.

The lines contain no addresses and no message bodies.
"""

import errno
import json
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.runtime.clock import wall_now

MAX_KEPT_LINES: Final = 100_000
"""How many lines a PatientJournal keeps in memory, about 25 MB. Further lines are only counted."""

_NEVER: Final = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENXIO,
        errno.EPERM,
        errno.EROFS,
    }
)
"""Errors that mean the path itself is wrong. A full disk is not one: space can become free."""

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _wall_ms() -> float:
    # This timestamp orders the lines of several processes on one machine. No decision depends on
    # it.
    return round(wall_now().timestamp() * 1000.0, 3)


class JournalError(OSError):
    """A line could not be written. The event that it describes has happened nevertheless."""


class Journal:
    """Appends lines `{"t": wall ms, "who": …, "e": event, …}`. With path None it does nothing.

    Each line is one write() to a file opened with O_APPEND. So several processes may share a file,
    and a written line survives when the process is killed. Raises OSError when the file cannot be
    opened, JournalError when it cannot be written.

    `is_on`: lines are written, now or later. `problem`: why lines cannot be written now. Always
    None here, because this class raises instead.
    """

    __slots__ = ("_clock", "_fd", "_who", "is_on", "problem")

    is_on: bool
    problem: OSError | None

    def __init__(self, path: Path | None, who: str, clock: Callable[[], float] = _wall_ms) -> None:
        self._who = who
        self._clock = clock
        self._fd = None if path is None else _open(path)
        self.is_on = path is not None
        self.problem = None

    def write(self, event: str, **fields: object) -> None:
        """Append one line. Fields are JSON values; persons appear as labels, never as addresses.

        A field `t`, taken from `now`, dates the line back to before a call to the store. Another
        process may have seen the effect of that call before this line is written.
        """
        if self.is_on:
            self._add(
                _encode({"t": self._clock(), "who": self._who, "e": event, **fields}).encode()
                + b"\n"
            )

    def _add(self, line: bytes) -> None:
        if self._fd is not None:
            _append(self._fd, line)

    def catch_up(self) -> None:
        """Write the lines that could not be written before. Raises OSError if that fails again."""

    def now(self) -> float:
        """Return the timestamp that a line written now would have."""
        return self._clock()

    def close(self) -> None:
        """Close the file; later writes do nothing."""
        self.is_on = False
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class PatientJournal(Journal):
    """A journal that survives a full disk.

    Lines that cannot be written wait in memory, with their original timestamps. Each write tries
    them again, and so does `catch_up`. Before an action that needs proof in the journal, the caller
    must check `problem`.
    """

    __slots__ = ("_kept", "_missing", "_path")

    def __init__(self, path: Path | None, who: str, clock: Callable[[], float] = _wall_ms) -> None:
        super().__init__(None, who, clock)
        self.is_on = path is not None
        self._path = path
        self._kept: deque[bytes] = deque()
        self._missing = 0
        with suppress(OSError):
            self.catch_up()

    @property
    def unwritten(self) -> int:
        """How many lines are not in the file yet."""
        return len(self._kept) + self._missing

    def catch_up(self) -> None:
        """Write the lines that could not be written before. Raises OSError if that fails again."""
        if self._path is None:
            return
        try:
            if self._fd is None:
                self._fd = _open(self._path)
            if self.problem is not None:
                _end_torn_line(self._fd)
            while self._kept:
                _append(self._fd, self._kept[0])
                self._kept.popleft()
            if self._missing:
                gap = {"t": self.now(), "who": self._who, "e": "gap", "lines": self._missing}
                _append(self._fd, _encode(gap).encode() + b"\n")
                self._missing = 0
        except OSError as error:
            self.problem = error
            raise
        self.problem = None

    def close(self) -> None:
        """Try once more to write the waiting lines, and close the file. Later writes do nothing."""
        with suppress(OSError):
            self.catch_up()
        super().close()
        self._path = None

    def _add(self, line: bytes) -> None:
        if len(self._kept) < MAX_KEPT_LINES:
            self._kept.append(line)
        else:
            self._missing += 1
        with suppress(OSError):
            self.catch_up()


def check_place(path: Path | None) -> None:
    """Raise OSError when no journal can ever be written at `path`.

    Examples are a folder, a path below a file, and a missing permission.
    """
    if path is None:
        return
    try:
        os.close(_open(path))
    except OSError as error:
        if error.errno in _NEVER:
            raise


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _end_torn_line(fd)
    except OSError:
        os.close(fd)
        raise
    return fd


def _append(fd: int, line: bytes) -> None:
    try:
        written = os.write(fd, line)
    except OSError as error:
        raise JournalError(error.errno, error.strerror) from error
    if written < len(line):
        raise JournalError(errno.ENOSPC, "a line was cut short")


def _end_torn_line(fd: int) -> None:
    """Start a new line if a kill or a full disk cut the last one."""
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        _append(fd, b"\n")
