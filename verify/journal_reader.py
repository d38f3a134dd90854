"""Reads journals: every line of every file, ordered by time.

A line that a kill cut short counts as never written.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

Line = dict[str, Any]

_CHUNK_LINES: Final = 5_000
_BEGIN: Final = b'{"t":'


@dataclass(slots=True)
class JournalLines:
    """What the journals say.

    `torn`: how many lines a kill cut short. `unreadable`: the places of other lines that are no
    journal line.
    """

    lines: list[Line] = field(default_factory=list)
    torn: int = 0
    unreadable: list[str] = field(default_factory=list)


def read(paths: Iterable[Path]) -> JournalLines:
    """Read all files and sort their lines by time. Raises OSError when a file cannot be read."""
    evidence = JournalLines()
    for path in paths:
        with path.open("rb") as file:
            number = 1
            while chunk := list(islice(file, _CHUNK_LINES)):
                evidence.lines.extend(_parsed(chunk, evidence, path.name, number))
                number += len(chunk)
    evidence.lines.sort(key=itemgetter("t"))
    return evidence


def _parsed(chunk: list[bytes], evidence: JournalLines, name: str, first: int) -> Iterator[Line]:
    """Parse a chunk of lines in one go, and line by line only if that fails.

    Parsing them together lets the lines share their keys in memory.
    """
    try:
        parsed = json.loads(b"[" + b",".join(chunk) + b"]")
    except ValueError:
        parsed = None
    if parsed is not None and len(parsed) == len(chunk) and all(_is_line(each) for each in parsed):
        yield from parsed
        return
    for number, raw in enumerate(chunk, first):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except ValueError:
            line = None
        if _is_line(line):
            yield line
        elif line is None and (raw.startswith(_BEGIN) or _BEGIN.startswith(raw)):
            evidence.torn += 1
        else:
            evidence.unreadable.append(f"{name}:{number}")


def _is_line(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("t"), int | float)
        and isinstance(value.get("e"), str)
    )
