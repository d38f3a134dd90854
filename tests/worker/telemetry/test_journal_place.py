"""Which journals stop a process at start, and which ones it waits for."""

import errno
from pathlib import Path

import pytest

from worker.telemetry import journal as journals
from worker.telemetry.journal import check_place


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_path: Path) -> int:
        raise OSError(number, "as the system says")

    monkeypatch.setattr(journals, "_open", fail)


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EROFS, errno.ENOENT, errno.EISDIR, errno.ELOOP]
)
def test_a_place_that_stays_unusable_is_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that waiting cannot fix is refused: an operator must change the path or its owner."""
    failing(monkeypatch, number)
    with pytest.raises(OSError, match="as the system says"):
        check_place(tmp_path / "j")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE])
def test_a_place_that_may_get_better_is_waited_for(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is waited for, and a worker that starts on one reports it in its health."""
    failing(monkeypatch, number)
    check_place(tmp_path / "j")


def test_a_file_where_a_folder_should_be_is_called_that(tmp_path: Path) -> None:
    """A file in the place of a folder is reported as "Not a directory", not as "File exists"."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="Not a directory"):
        check_place(tmp_path / "file" / "j")


def test_a_usable_place_is_left_as_it_is(tmp_path: Path) -> None:
    """A usable journal keeps its lines.

    A device without room is usable, and so is no journal at all.
    """
    path = tmp_path / "j"
    path.write_text("one line\n")
    for place in (path, Path("/dev/full"), None):
        check_place(place)
    assert path.read_text() == "one line\n"
