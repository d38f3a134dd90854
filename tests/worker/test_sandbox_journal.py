"""The journal keeps whole lines through kills and says nothing when it is off."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worker.journal import Journal


def test_a_line_carries_time_writer_and_event(tmp_path: Path) -> None:
    """Every line is JSON with t, who, e and the fields given."""
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
    """O_APPEND and one write a line: lines of several processes stay whole."""
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


def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    """A line is in the file when write returns: the process may be killed right after."""
    path = tmp_path / "j.jsonl"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from worker.journal import Journal\n"
        "Journal(Path(sys.argv[1]), 'w').write('intent', id='m1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(path)], timeout=60, check=False, env={**os.environ, "PYTHONPATH": "."}
    )
    assert killed.returncode == -signal.SIGKILL
    assert json.loads(path.read_text())["e"] == "intent"


def test_a_torn_last_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    """A new process starts on a new line after one that a kill has cut."""
    path = tmp_path / "j.jsonl"
    path.write_text('{"t":1.0,"who":"w","e":"cla')
    journal = Journal(path, "w")
    journal.write("claimed", id="m1")
    journal.close()
    torn, whole = path.read_text().splitlines()
    assert torn.endswith("cla")
    assert json.loads(whole)["id"] == "m1"


def test_without_a_path_nothing_is_written() -> None:
    """Journals are for tests and the demo; a service without one pays nothing."""
    journal = Journal(None, "w")
    journal.write("claimed", id="m1")
    assert not journal.is_on
    journal.close()


def test_a_line_cut_short_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal with holes would prove too much: a full disk is reported, not passed over."""
    journal = Journal(tmp_path / "j.jsonl", "w")
    monkeypatch.setattr(os, "write", lambda fd, data: len(data) - 1)
    with pytest.raises(OSError, match="cut short"):
        journal.write("claimed", id="m1")
    monkeypatch.undo()
    journal.close()
