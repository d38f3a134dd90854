"""Starts, stops, freezes and kills real processes of the service.

Signals only processes that it started.
"""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import warm_start

ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Process:
    """One process of the service. `stopping_at` is the point where it stops itself, or None.

    `poison`: the message that kills it.
    """

    name: str
    command: Sequence[str]
    folder: Path
    environ: Mapping[str, str]
    stopping_at: tuple[str, int] | None = None
    poison: str | None = None
    _running: warm_start.Started | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process, and write its output to a file next to the journals."""
        module, more = "worker", tuple[str, ...]()
        if self.stopping_at is not None:
            module, more = "tests.chaos.stop_at", (self.stopping_at[0], str(self.stopping_at[1]))
        elif self.poison is not None:
            module, more = "tests.chaos.poison", (self.poison,)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._running = warm_start.start(
                module,
                [*more, *self.command],
                cwd=ROOT,
                environ=self.environ,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return None if self._running is None else self._running.poll()

    @property
    def is_alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def is_frozen(self) -> bool:
        """Whether the kernel shows it as stopped by SIGSTOP."""
        if not self.is_alive:
            return False
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self._running is not None:
            self._running.send(number)

    def kill(self) -> None:
        """Send SIGKILL, whether it is frozen or not, and reap it."""
        self.send(signal.SIGKILL)
        if self._running is not None:
            self._running.wait()

    def stop(self, seconds: float = 30.0) -> int:
        """Send SIGTERM, wait, and return the exit code.

        SIGKILL if it does not end, which the code shows.
        """
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        assert self._running is not None
        try:
            return self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._running.wait()
