"""The journals of the service and of the sandbox keep whole lines through kills.

Both are written for `verify`, so both promise the same.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.journal import Journal as SandboxJournal
from worker.telemetry.journal import Journal

Open = Callable[[Path | None], Journal | SandboxJournal]


@pytest.fixture(params=["service", "sandbox"])
def open_journal(request: pytest.FixtureRequest) -> Open:
    """Return what opens a journal of one of the two kinds."""
    return (lambda path: Journal(path, "w")) if request.param == "service" else SandboxJournal


def test_a_line_of_the_sandbox_carries_time_writer_and_event(tmp_path: Path) -> None:
    """Every line is JSON with t, who, e and the given fields; a given t dates it back."""
    journal = SandboxJournal(tmp_path / "j.jsonl")
    before = journal.now()
    journal.write("post", id="m1")
    journal.write("callback", t=12.5)
    first, second = (json.loads(line) for line in (tmp_path / "j.jsonl").read_text().splitlines())
    assert before <= first.pop("t") <= journal.now()
    assert first == {"who": "sandbox", "e": "post", "id": "m1"}
    assert second == {"t": 12.5, "who": "sandbox", "e": "callback"}
    journal.close()


def test_a_line_carries_time_writer_and_event(tmp_path: Path) -> None:
    """Every line is JSON with t, who, e and the given fields."""
    journal = Journal(tmp_path / "j.jsonl", "worker-1", clock=lambda: 12.5)
    journal.write("claimed", id="m1", fence=3)
    assert json.loads((tmp_path / "j.jsonl").read_text()) == {
        "t": 12.5,
        "who": "worker-1",
        "e": "claimed",
        "id": "m1",
        "fence": 3,
    }
    journal.close()


def test_two_writers_share_a_file_without_mixing_lines(tmp_path: Path) -> None:
    """Lines of several processes in one file stay whole: O_APPEND, and one write a line."""
    path = tmp_path / "j.jsonl"
    first, second = Journal(path, "a"), Journal(path, "b")
    for number in range(50):
        first.write("x", n=number)
        second.write("y", n=number)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["n"] for line in lines if line["who"] == "a"] == list(range(50))
    assert len(lines) == 100
    first.close()
    second.close()


@pytest.mark.parametrize(
    "made", ["worker.telemetry.journal import Journal", "sandbox.journal import Journal"]
)
def test_what_was_written_survives_kill_9(tmp_path: Path, made: str) -> None:
    """A line is in the file when write returns, even if the process is killed right after."""
    path = tmp_path / "j.jsonl"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        f"from {made}\n"
        "Journal(Path(sys.argv[1]), *sys.argv[2:]).write('intent', id='m1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(path), *(["w"] if "worker" in made else [])],
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert killed.returncode == -signal.SIGKILL
    assert json.loads(path.read_text())["e"] == "intent"


def test_a_torn_last_line_does_not_swallow_the_next(tmp_path: Path, open_journal: Open) -> None:
    """A new process starts on a new line after one that a kill has cut."""
    path = tmp_path / "j.jsonl"
    path.write_text('{"t":1.0,"who":"w","e":"cla')
    journal = open_journal(path)
    journal.write("claimed", id="m1")
    journal.close()
    torn, whole = path.read_text().splitlines()
    assert torn.endswith("cla")
    assert json.loads(whole)["id"] == "m1"


def test_without_a_path_nothing_is_written(open_journal: Open) -> None:
    """Without a path no line is written."""
    journal = open_journal(None)
    journal.write("claimed", id="m1")
    assert not journal.is_on
    journal.close()


def test_a_line_cut_short_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_journal: Open
) -> None:
    """A line that is cut by a full disk is an error, because a journal with holes proves too
    much.
    """
    journal = open_journal(tmp_path / "j.jsonl")
    monkeypatch.setattr(os, "write", lambda fd, data: len(data) - 1)
    with pytest.raises(OSError, match="cut short"):
        journal.write("claimed", id="m1")
    monkeypatch.undo()
    journal.close()
