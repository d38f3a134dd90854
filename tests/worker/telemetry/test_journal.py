"""A journal on a full disk: what it keeps, what it writes later, and what it reports as missing."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from verify.journal_reader import read
from worker.telemetry import journal as journals
from worker.telemetry.journal import Journal, JournalError, PatientJournal


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Disk:
    """A limit on how large a file may grow."""

    def has_room(self, bytes_: int = resource.RLIM_INFINITY) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, resource.RLIM_INFINITY))


@pytest.fixture
def disk() -> Iterator[Disk]:
    found = Disk()
    yield found
    found.has_room()


def test_lines_wait_for_room_and_keep_their_instants(tmp_path: Path, disk: Disk) -> None:
    """Lines wait for room and are then written in order with their instants, after the end of
    the cut line.
    """
    path, clock = tmp_path / "j", iter(range(1, 100))
    journal = PatientJournal(path, "w1", clock=lambda: float(next(clock)))
    journal.write("claimed", id="m1")
    disk.has_room(path.stat().st_size + 10)
    for event in ("decided", "intent", "replied"):
        journal.write(event, id="m1")
    assert (journal.unwritten, isinstance(journal.problem, JournalError)) == (3, True)
    with pytest.raises(JournalError):
        journal.catch_up()
    disk.has_room()
    journal.catch_up()
    assert (journal.unwritten, journal.problem) == (0, None)
    journal.write("settled", id="m1")
    evidence = read([path])
    assert [(line["t"], line["e"]) for line in evidence.lines] == [
        (1.0, "claimed"),
        (2.0, "decided"),
        (3.0, "intent"),
        (4.0, "replied"),
        (5.0, "settled"),
    ]
    assert (evidence.torn, evidence.unreadable) == (1, [])


def test_a_write_tries_again_by_itself(tmp_path: Path, disk: Disk) -> None:
    """The journal writes again by itself once the disk has room."""
    path = tmp_path / "j"
    journal = PatientJournal(path, "w1")
    disk.has_room(0)
    journal.write("claimed", id="m1")
    disk.has_room()
    journal.write("decided", id="m1")
    assert [line["e"] for line in lines(path)] == ["claimed", "decided"]


def test_what_memory_does_not_hold_is_counted(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file says how many lines it lacks, so that silence is not taken for proof."""
    monkeypatch.setattr(journals, "MAX_KEPT_LINES", 2)
    path = tmp_path / "j"
    journal = PatientJournal(path, "w1")
    disk.has_room(0)
    for number in range(5):
        journal.write("callback", id=f"m{number}")
    assert journal.unwritten == 5
    disk.has_room()
    journal.catch_up()
    *kept, gap = lines(path)
    assert [line["id"] for line in kept] == ["m0", "m1"]
    assert (gap["e"], gap["lines"]) == ("gap", 3)


def test_closing_tries_a_last_time(tmp_path: Path, disk: Disk) -> None:
    """Closing tries once more and leaves the number of missing lines to the caller."""
    journal = PatientJournal(tmp_path / "j", "w1")
    disk.has_room(0)
    journal.write("claimed", id="m1")
    journal.close()
    assert journal.unwritten == 1
    other = PatientJournal(tmp_path / "k", "w1")
    other.write("claimed", id="m1")
    disk.has_room()
    other.close()
    other.write("late")
    assert other.unwritten == 0
    assert [line["e"] for line in lines(tmp_path / "k")] == ["claimed"]


def test_a_witness_that_must_not_miss_anything_raises(tmp_path: Path, disk: Disk) -> None:
    """The plain journal of sandbox and commands raises if a line cannot be written."""
    journal = Journal(tmp_path / "j", "sandbox")
    for room in (10, 0):
        disk.has_room(room)
        with pytest.raises(JournalError):
            journal.write("post", id="m1")
    assert journal.problem is None
