"""Reads the attempts table of a row (docs/decisions/0018). Pure. The scripts in `lua/` write it."""

import re
from collections.abc import Mapping
from typing import Final

from worker.ports.records import SidLine

MARK: Final = "@"
"""What the names of the table's fields begin with."""

_ATTEMPT: Final = re.compile(r"([0-9]+)([a-z?])([^!-]*)!?([a-z]*)-?")
_SID: Final = re.compile(r"([0-9]+),(-?[0-9]+),([a-zA-Z]*),([^,]*),([0-9]*),[0-9]*,[0-9]*")


def sids_of(fields: Mapping[str, str]) -> dict[str, SidLine]:
    """Read the SIDs in the table. A line that cannot be read is left out."""
    lines = {}
    for name, value in fields.items():
        match = _SID.fullmatch(value) if name.startswith(MARK) else None
        if match is not None:
            attempt, rank, flags, status, code = match.groups()
            lines[name.removeprefix(MARK)] = SidLine(
                int(attempt),
                int(rank),
                status,
                "f" in flags,
                "r" in flags,
                int(code) if code else None,
            )
    return lines


def told(fields: Mapping[str, str]) -> dict[str, str]:
    """Return a row without its table, with what the table says in the fields of earlier rows.

    `i` and `fm`: intent and form of the last attempt. `fa`: attempts that are not tries. `tg`:
    attempts that rely on ACCOUNT_UPDATE. A row that no script has folded yet has these fields
    already.
    """
    row = {name: value for name, value in fields.items() if not name.startswith(MARK)}
    last = _attempt(fields, row.get("n", "0"))
    if last is not None:
        row |= {"i": last[0], "fm": "t" if last[1] == "t" else "f"}
    if MARK + "0" in fields:
        row["fa"] = fields[MARK + "0"]
    numbers = (name.removeprefix(MARK) for name in fields if name.startswith(MARK))
    relied = [
        n
        for n in numbers
        if n.isdecimal() and n != "0" and (_attempt(fields, n) or ("", ""))[1] == "g"
    ]
    if relied:
        row["tg"] = " ".join(sorted(relied, key=int))
    return row


def _attempt(fields: Mapping[str, str], number: str) -> tuple[str, str] | None:
    match = _ATTEMPT.fullmatch(fields.get(MARK + number, ""))
    return None if match is None else (match[1], match[2])
