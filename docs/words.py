"""Finds words that the glossary replaces and that a native reader stumbles over.

`./run check` runs it.

    .venv/bin/python docs/words.py

It reads comments, docstrings and pages, not names or string values that the code sends or stores.
"""

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
_WORDS: Final = re.compile(rf"\b(?:{'|'.join(PLAIN)})\b", re.IGNORECASE)
_START: Final = re.compile(rf"^\s*(?:{'|'.join(STARTS)})\b")


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
    for start, prose, is_docstring in prose_of(name, text):
        for match in _WORDS.finditer(prose):
            remedy = next(
                say
                for pattern, say in PLAIN.items()
                if re.fullmatch(pattern, match[0], re.IGNORECASE)
            )
            yield text.count("\n", 0, start + match.start()) + 1, match[0], remedy
        if is_docstring and not name.startswith("tests/") and (match := _START.match(prose)):
            yield (
                text.count("\n", 0, start) + 1,
                match[0].strip(),
                "begin with Return, Compute, Record, Parse, Raise …",
            )


def prose_of(name: str, text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield where each piece of prose starts, the piece, and whether it is a docstring."""
    if name.endswith(".md"):
        yield 0, text, False
        return
    for match in _SENTENCES.finditer(text):
        kind = match.lastgroup or "doc"
        if (kind == "lua") == name.endswith(".lua"):
            yield match.start(kind), match[kind], kind == "doc"


if __name__ == "__main__":
    sys.exit(main())
