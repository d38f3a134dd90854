"""The list of words in `docs/words.py` finds them where prose stands, and nowhere else."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def words(root: Path) -> ModuleType:
    """Return the script as a module; it does not belong to a package."""
    spec = importlib.util.spec_from_file_location("words", root / "docs/words.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.py", 'x = 1\n"""Whoever asks."""\n', [(2, "Whoever")]),
        ("a.py", "x = 1  # it is mended\n", [(1, "mended")]),
        ("a.py", 'def f():\n    """Tell a thing."""\n', [(2, "Tell")]),
        ("a.py", 'x = "for ever"\nnobody = 1\n', []),
        ("a.py", 'x = 1\nsay(f"it is no URL: {x}, mend it")\n', [(2, "is no"), (2, "mend")]),
        ("a.py", 'say("there is no message, and it is no longer sent")\n', []),
        ("tests/a.py", 'say("it is no URL, mend it")\n', []),
        ("tests/a.py", '"""Say it."""\n', []),
        ("a.lua", "local beside = 1\n-- anew, for\n", [(2, "anew")]),
        ("a.md", "Once\n\nnobody, somebody\n", [(3, "nobody"), (3, "somebody")]),
        ("a.md", "It amends a besides.\n", []),
    ],
)
def test_words_are_found_in_prose_only(
    words: ModuleType, name: str, text: str, found: list[tuple[int, str]]
) -> None:
    """A finding names the line and the word.

    Names and short values may use any word. Texts of several words, such as errors, may not.
    """
    assert [(line, word) for line, word, _ in words.findings(name, text)] == found


def test_the_checkout_has_none(words: ModuleType) -> None:
    """`./run check` runs this script."""
    assert words.main() == 0
