"""The check for dead code finds what nothing uses, and spares what something does."""

from pathlib import Path

import pytest

from checks import dead_code

MODULE = """
import json
from dataclasses import dataclass
from enum import Enum

LIMIT = 3
_UNUSED = 4


class Kind(Enum):
    PARSED = "parsed"


@dataclass
class Point:
    x: int
    y: int
    label: str = ""

    def shift(self) -> "Point":
        return Point(self.x + LIMIT, y=0)

    def never(self) -> int:
        return self.never()


class Reader:
    def __init__(self) -> None:
        self.kept = 1
        self.dropped = 2


def used() -> int:
    return Point(1, 2).shift().x + getattr(Reader(), "kept")


def recursive() -> int:
    return recursive()
"""

CALLER = """
from worker import module


def run() -> None:
    module.used()
    print(module.Kind("parsed"))
    match module.Point(1, 2):
        case module.Point(label="a"):
            pass


run()
"""


@pytest.fixture
def found(tmp_path: Path) -> set[str]:
    """The places that the check reports for a small package and a test that uses everything."""
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "module.py").write_text(MODULE)
    (tmp_path / "worker" / "caller.py").write_text(CALLER)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_module.py").write_text(
        "from worker.module import recursive\nrecursive()\n"
    )
    return {one.qualified for one in dead_code.find_dead(tmp_path)}


def test_what_nothing_uses_is_found(found: set[str]) -> None:
    """A constant, a field that is only written, an attribute, and what only calls itself."""
    assert found == {"_UNUSED", "Point.y", "Point.never", "Reader.dropped", "recursive"}


def test_the_project_has_no_dead_code() -> None:
    """Nothing is dead, and every exception still has something that it excuses."""
    assert dead_code.main() == 0


def test_an_exception_that_excuses_nothing_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception goes with the code that it was made for."""
    monkeypatch.setattr(
        dead_code, "EXCEPTIONS", dead_code.EXCEPTIONS | {"a reason": ("worker/gone.py:gone",)}
    )
    assert dead_code.main() == 1
    assert capsys.readouterr().out.startswith("worker/gone.py:gone: an exception that matches")


def test_dead_code_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check names the place of what is dead."""
    monkeypatch.setattr(dead_code, "EXCEPTIONS", {})
    assert dead_code.main() == 1
    assert "nothing uses Counts.avoided" in capsys.readouterr().out
