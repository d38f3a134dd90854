"""Every part of the pages that is generated, by the name in the pages' markers."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from docgen.decision_table import dated_rules_table, decision_table, reason_table
from docgen.log_events import LogEvent, collect_events, event_index, event_line
from docgen.states import drawing
from policies.policy import Policy
from worker.cli.exit_codes import Exit
from worker.cli.main import COMMANDS
from worker.settings.settings import Settings, settings_table
from worker.wiring import load_rules

ROOT: Final = Path(__file__).resolve().parents[1]

_RECORD: Final = re.compile(
    r"# (?P<title>[^\n]+)\n\n(?:Date: (?P<date>\S+) · )?Status: (?P<status>[^\n]+)\n"
)


class DocsError(Exception):
    """A part cannot be generated. The text names the problem and the remedy."""


def part(name: str) -> str:
    """Return the part that a marker names, as Markdown. Raises DocsError."""
    kind, _, event = name.partition(" ")
    if kind == "event":
        return _event(event)
    if name not in PARTS:
        raise DocsError(
            f"There is no generated part named {name}. Use one of {', '.join(PARTS)}, event NAME."
        )
    return PARTS[name]()


@cache
def _policy() -> Policy:
    return load_rules(Settings()).policy


@cache
def _log_events() -> dict[str, LogEvent]:
    return collect_events(ROOT)


def _event(name: str) -> str:
    if name not in _log_events():
        raise DocsError(
            f"No code writes the log event {name}. Remove its section from docs/events.md."
        )
    return event_line(_log_events()[name])


def _exit_codes() -> str:
    lines = ["| code | means |", "|---|---|"]
    return "\n".join([*lines, *(f"| {code.value} | {code.meaning} |" for code in Exit)])


def _commands() -> str:
    lines = ["| command | is for |", "|---|---|"]
    return "\n".join(
        [*lines, *(f"| `{name}` | {help_text} |" for name, (_, help_text) in COMMANDS.items())]
    )


def _decision_records() -> str:
    lines = ["| record | date | status |", "|---|---|---|"]
    for path in sorted((ROOT / "docs/decisions").glob("0*.md")):
        head = _RECORD.match(path.read_text("utf-8"))
        if head is None:
            raise DocsError(
                f"docs/decisions/{path.name} has no title or no status. Its first line is "
                "`# NUMBER. TITLE`, and its third line names date and status."
            )
        lines.append(
            f"| [{head['title']}]({path.name}) | {head['date'] or ''} | {head['status']} |"
        )
    return "\n".join(lines)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings_table,
    "decisions": lambda: decision_table(_policy()),
    "dated rules": lambda: dated_rules_table(_policy()),
    "decision records": _decision_records,
    "events": lambda: event_index(_log_events().values()),
    "reasons": reason_table,
    "states": drawing,
    "exit codes": _exit_codes,
    "commands": _commands,
}
"""Each generated part, except `event NAME`, which is the line of one log event."""
