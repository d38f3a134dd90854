"""Reads journals: every line of every file, in the order of time. A line cut by a kill counts as never written."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

Line = dict[str, Any]

_CHUNK: Final = 5_000
_BEGIN: Final = b'{"t":'


@dataclass(slots=True)
class Evidence:
    """What the journals say. `torn`: lines a kill has cut. `unreadable`: where lines are something else."""

    lines: list[Line] = field(default_factory=list)
    torn: int = 0
    unreadable: list[str] = field(default_factory=list)


def read(paths: Iterable[Path]) -> Evidence:
    """Read all files and sort their lines by time. Raises OSError when a file cannot be read."""
    evidence = Evidence()
    for path in paths:
        with path.open("rb") as file:
            number = 1
            while chunk := list(islice(file, _CHUNK)):
                evidence.lines.extend(_parsed(chunk, evidence, path.name, number))
                number += len(chunk)
    evidence.lines.sort(key=itemgetter("t"))
    return evidence


def _parsed(chunk: list[bytes], evidence: Evidence, name: str, first: int) -> Iterator[Line]:
    """Parse a chunk at once, which shares its keys; line by line only where something is wrong with it."""
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
    return isinstance(value, dict) and isinstance(value.get("t"), int | float) and isinstance(value.get("e"), str)
