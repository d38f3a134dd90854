"""Compares the results with the expectations.

The sandbox's journal and the timelines are the evidence.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.cli.demo.demo_script import DemoScript, ScriptRow
from worker.cli.demo.play import Result

if TYPE_CHECKING:
    from worker.ports.records import Record


UNDECIDED: Final = frozenset({"cancelled", "unreadable"})
"""Rules of rows that end before the policy decides about them."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One thing about a row that differs from its expectation."""

    row: ScriptRow
    what: str
    expected: object
    got: object

    def __str__(self) -> str:
        return (
            f"{self.row.name}: {self.what} is {self.got or 'none'}, expected "
            f"{self.expected or 'none'}"
        )


def deviations(
    script: DemoScript,
    results: Mapping[int, Result],
    records: Mapping[str, "Record"],
    forms: Mapping[str, str],
) -> list[Deviation]:
    """Return every difference.

    `forms`: message id → the form of its last POST, as the sandbox saw it.
    """
    found: list[Deviation] = []
    for row in script.rows:
        result = results.get(row.number, Result("lost"))
        got = {
            "end": result.end,
            "reason": result.reason,
            "status": result.status,
            "form": forms.get(row.name, "none"),
        }
        for what in ("end", "reason", "status", "form"):
            expected = getattr(row.expect, what)
            if (expected is not None or what == "end") and got[what] != expected:
                found.append(Deviation(row, what, expected, got[what]))
        record = records.get(row.name)
        if row.expect.waits is not None and (waited := waits_of(record)) != row.expect.waits:
            found.append(Deviation(row, "wait", row.expect.waits, waited))
        rule = deciding_rule(record) if record is not None and row.is_queued else None
        expected_rule = row.rule if row.is_queued and row.rule not in UNDECIDED else None
        if rule != expected_rule:
            found.append(Deviation(row, "deciding rule", expected_rule, rule))
    return found


def deciding_rule(record: "Record") -> str | None:
    """Return the rule that decided last in a message's timeline, or None if nothing was decided."""
    for event in reversed(record.timeline):
        if trace := event.get("trace"):
            return str(trace[-1][0])
    return None


def waits_of(record: "Record | None") -> str | None:
    """Return what a message waited for last, or None if it never waited."""
    for event in reversed(record.timeline if record is not None else ()):
        if event["e"] == "waiting":
            return str(event.get("reason"))
    return None


def forms_posted(journal: Path) -> dict[str, str]:
    """Return the form of each message's last POST, from the sandbox's journal."""
    forms: dict[str, str] = {}
    for line in journal.read_text("utf-8").splitlines():
        event = json.loads(line)
        if event["e"] == "post" and event.get("id") and event.get("form"):
            forms[event["id"]] = event["form"]
    return forms


def summary(results: Sequence[Result]) -> list[dict[str, object]]:
    """Return the number of results by end and reason."""
    counts = Counter((result.end, result.reason or "") for result in results)
    return [
        {"end": end, "reason": reason, "messages": count}
        for (end, reason), count in sorted(counts.items())
    ]
