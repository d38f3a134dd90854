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
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check a small package, and a test that uses everything, instead of the project."""
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "module.py").write_text(MODULE)
    (tmp_path / "worker" / "caller.py").write_text(CALLER)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_module.py").write_text(
        "from worker.module import recursive\nrecursive()\n"
    )
    monkeypatch.setattr(dead_code, "ROOT", tmp_path)
    monkeypatch.setattr(dead_code, "EXCEPTIONS", {})


@pytest.mark.usefixtures("checked")
def test_what_nothing_uses_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """A constant, a field that is only written, an attribute, and what only calls itself."""
    assert dead_code.main() == 1
    dead = {line.split(";")[0].split(" uses ")[1] for line in capsys.readouterr().out.splitlines()}
    assert dead == {"_UNUSED", "Point.y", "Point.never", "Reader.dropped", "recursive"}


@pytest.mark.usefixtures("checked")
def test_an_exception_spares_what_it_names_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception goes with the code that it was made for."""
    places = tuple(f"worker/module.py:{name}" for name in ("_UNUSED", "Point.*", "Reader.dropped"))
    patch = {"a reason": places, "another": ("worker/module.py:recursive",)}
    monkeypatch.setattr(dead_code, "EXCEPTIONS", patch)
    assert dead_code.main() == 0
    monkeypatch.setattr(dead_code, "EXCEPTIONS", patch | {"a third": ("worker/gone.py:gone",)})
    assert dead_code.main() == 1
    assert capsys.readouterr().out.startswith("worker/gone.py:gone: an exception that matches")
