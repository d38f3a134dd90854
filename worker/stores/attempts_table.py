"""Reads the attempts table of a row (docs/decisions/0018). Pure. The scripts in `lua/` write it."""

import re
from collections.abc import Mapping
from typing import Final

from sendwindow.row_fields import OldRowField, RowField, TableField
from worker.ports.records import SidLine

_ATTEMPT: Final = re.compile(r"([0-9]+)([a-z?])([^!-]*)!?([a-z]*)-?")
_SID: Final = re.compile(r"([0-9]+),-?[0-9]+,([a-zA-Z]*),([^,]*),([0-9]*),[0-9]*,[0-9]*")


def sids_of(fields: Mapping[str, str]) -> dict[str, SidLine]:
    """Read the SIDs in the table. A line that cannot be read is left out."""
    lines = {}
    for name, value in fields.items():
        match = _SID.fullmatch(value) if name.startswith(TableField.TABLE) else None
        if match is not None:
            attempt, flags, status, code = match.groups()
            lines[name.removeprefix(TableField.TABLE)] = SidLine(
                int(attempt),
                status,
                "f" in flags,
                "r" in flags,
                int(code) if code else None,
            )
    return lines


def without_table(fields: Mapping[str, str]) -> dict[str, str]:
    """Return a row without its table, with what the table says in the fields of earlier rows.

    `OldRowField` names these fields. A row that no script has loaded yet has them already.
    """
    row = {name: value for name, value in fields.items() if not name.startswith(TableField.TABLE)}
    last = _attempt(fields, row.get(RowField.ATTEMPT, "0"))
    if last is not None:
        row |= {
            OldRowField.INTENT_AT: last[0],
            OldRowField.FORM: "t" if last[1] == "t" else "f",
        }
    if TableField.FREE_ATTEMPTS in fields:
        row[OldRowField.UNCOUNTED] = fields[TableField.FREE_ATTEMPTS]
    numbers = (
        name.removeprefix(TableField.TABLE) for name in fields if name.startswith(TableField.TABLE)
    )
    relied = [
        n
        for n in numbers
        if n.isdecimal() and n != "0" and (_attempt(fields, n) or ("", ""))[1] == "g"
    ]
    if relied:
        row[OldRowField.TAG_ATTEMPTS] = " ".join(sorted(relied, key=int))
    return row


def _attempt(fields: Mapping[str, str], number: str) -> tuple[str, str] | None:
    match = _ATTEMPT.fullmatch(fields.get(TableField.TABLE + number, ""))
    return None if match is None else (match[1], match[2])
