"""A checkout of an old revision with an installation of its own, and processes of it."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.processes import ROOT, Process
from tests.support import warm_start


@dataclass(frozen=True, slots=True)
class OldRelease:
    """A checkout of an old revision with its own installation."""

    root: Path

    @property
    def python(self) -> str:
        return str(self.root / ".venv" / "bin" / "python")


@contextmanager
def old_release(revision: str, folder: Path | None) -> Iterator[OldRelease]:
    """Check out a revision into a worktree and install it. A `folder` is kept and used again."""
    root = folder or Path(tempfile.mkdtemp(prefix="old-")) / "checkout"
    if not (root / "run").exists():
        _git("worktree", "add", "--quiet", "--detach", str(root), revision)
    try:
        subprocess.run([root / "run", "--version"], check=True, cwd=root)
        yield OldRelease(root)
    finally:
        if folder is None:
            _git("worktree", "remove", "--force", str(root))
            root.parent.rmdir()


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, cwd=ROOT)


class OldProcess(Process):
    """A process of the old release, started by the Python of its own installation."""

    release: OldRelease

    def start(self) -> None:
        """Start the process, and write its output to a file next to the journals."""
        through: tuple[str, ...] = ("-m", "worker")
        if self.stopping_at is not None:
            through = ("-m", "tests.chaos.stop_at", self.stopping_at[0], str(self.stopping_at[1]))
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._running = _Running(
                subprocess.Popen(
                    [self.release.python, *through, *self.command],
                    cwd=self.release.root,
                    env=dict(self.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )


class _Running(warm_start.Started):
    """A process that was started the ordinary way."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float | None = None) -> int:
        return self._process.wait(seconds)
