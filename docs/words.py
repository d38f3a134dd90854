"""Finds words that the glossary replaces and that a native reader stumbles over.

`./run check` runs it.

    .venv/bin/python docs/words.py

It reads comments, docstrings, pages, and texts of three or more words in the code, such as errors.
It does not read names, nor the texts of tests.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

PLAIN: Final = {
    r"nobody": "name the actor, or say `no worker`, `no process`",
    r"whoever": "name the actor",
    r"somebody": "name the actor: an operator, another worker, the caller",
    r"anybody": "name the actor",
    r"anew": "again",
    r"mend(?:s|ed|ing)?": "fix, repair",
    r"for ever": "forever",
    r"beside": "next to",
    r"empt(?:y|ies|ied) (?:its|the) hands": "drain",
}
"""A pattern, and what to write instead."""

TRANSLATED: Final = {
    r"(?<!there )(?:is|was) no(?= \w)(?! (?:longer|more|less|reason|use|need|room|way)\b)": (
        "is not a …"
    ),
    r"afresh": "again",
    r"come again": "try again later",
    r"has not the": "does not have the",
    r"of one's own": "of your own",
    r"let (?:it|them|him|her) go|had let \w+ go": "release, drop",
    r"is the same as of": "is the same as that of",
}
"""Phrases that read as translated, and what to write instead. Tests may use them."""

STARTS: Final = ("Tell", "Say", "Give", "Note", "Answer", "Let", "Keep")
"""Words that no docstring of a function begins with: Return, Compute, Record, Parse or Raise says
what happens."""

SKIPPED: Final = (
    "docs/decisions/",
    "CHANGELOG.md",
    "docs/words.py",
    "docs/glossary.md",
    "locks/",
    "tests/golden/",
    "tests/test_words.py",
)
"""Decision records and old changes are never edited; the others name the words."""

_SENTENCES: Final = re.compile(
    r'"""(?P<doc>.*?)"""|#(?P<comment>[^\n]*)|--(?P<lua>[^\n]*)', re.DOTALL
)
_START: Final = re.compile(rf"^\s*(?:{'|'.join(STARTS)})\b")
_MIN_WORDS: Final = 3
"""A text in the code with fewer words may be a name or a value."""


def main() -> int:
    """Print each finding with its place; return 1 when there is one."""
    found = 0
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n"):
        if name.endswith((".py", ".lua", ".md", ".toml", "run")) and not name.startswith(SKIPPED):
            for line, word, remedy in findings(name, (ROOT / name).read_text("utf-8")):
                print(f"{name}:{line}: {word!r}: {remedy}")
                found += 1
    return 1 if found else 0


def findings(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, word and remedy for each word that should not stand there."""
    is_test = name.startswith("tests/")
    remedies = PLAIN if is_test else PLAIN | TRANSLATED
    for line, prose, is_docstring in prose_of(name, text):
        for pattern, remedy in remedies.items():
            for match in re.finditer(rf"\b(?:{pattern})(?!\w)", prose, re.IGNORECASE):
                yield line + prose.count("\n", 0, match.start()), match[0].strip(), remedy
        if is_docstring and not is_test and (match := _START.match(prose)):
            yield line, match[0].strip(), "begin with Return, Compute, Record, Parse, Raise …"


def prose_of(name: str, text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the line of each piece of prose, the piece, and whether it is a docstring."""
    if name.endswith(".md"):
        yield 1, text, False
        return
    for match in _SENTENCES.finditer(text):
        kind = match.lastgroup or "doc"
        if (kind == "lua") == name.endswith(".lua"):
            yield text.count("\n", 0, match.start(kind)) + 1, match[kind], kind == "doc"
    if name.endswith(".py") and not name.startswith("tests/"):
        yield from ((line, sentence, False) for line, sentence in texts_of(ast.parse(text)))


def texts_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the value of each text of several words that is not a docstring."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
            and len(node.value.split()) >= _MIN_WORDS
        ):
            yield node.lineno, node.value


if __name__ == "__main__":
    sys.exit(main())
