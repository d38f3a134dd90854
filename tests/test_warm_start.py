"""A process that warm_start forks is as one that `python -m` starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support import warm_start
from tests.support.waiting import HANG_SECONDS, until_now

ENVIRON = {"PATH": os.environ["PATH"]}


def test_a_command_answers_as_when_started_by_python(tmp_path: Path) -> None:
    """Exit code, output and errors of a forked command are those of the ordinary start."""
    for arguments in (["--version"], ["nonsense"], ["verify", "--journal", "nowhere"], ["run"]):
        forked = warm_start.run("worker", arguments, cwd=tmp_path, environ=ENVIRON)
        ordinary = subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=tmp_path,
            env=ENVIRON | {"PYTHONPATH": str(warm_start.ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (forked.returncode, forked.stdout, forked.stderr) == (
            ordinary.returncode,
            ordinary.stdout,
            ordinary.stderr,
        )


def timed(statement: str) -> list[str]:
    """Return arguments of the module `timeit` that run a statement once."""
    return ["-n", "1", "-r", "1", statement]


def test_each_process_has_its_folder_environment_and_signals(tmp_path: Path) -> None:
    """A process has a folder and environment of its own, and ends by the signal that it is sent."""
    waits = "import os, time; open('here', 'w').write(os.environ['MARK']); time.sleep(600)"
    process = warm_start.start(
        "timeit", timed(waits), cwd=tmp_path, environ=ENVIRON | {"MARK": "mine"}
    )
    try:
        here = tmp_path / "here"
        until_now(
            lambda: here.exists() and here.read_text(),
            "the file",
            holds=lambda text: text == "mine",
        )
        assert process.poll() is None
    finally:
        process.send(signal.SIGKILL)
    assert process.wait(HANG_SECONDS) == -signal.SIGKILL
    process.send(signal.SIGTERM)  # it has ended: no other process may get the signal


def test_processes_draw_different_random_numbers(tmp_path: Path) -> None:
    """A fork does not repeat its siblings' random numbers."""
    draws = timed("import random; print(random.random())")
    drawn = {
        warm_start.run("timeit", draws, cwd=tmp_path, environ=ENVIRON).stdout.splitlines()[0]
        for _ in range(3)
    }
    assert len(drawn) == 3
