"""`docs`: writes the generated parts of docs/, so that they cannot become stale."""

import argparse
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.cli.exit_codes import CommandError, Exit

if TYPE_CHECKING:
    from worker.cli.log_events import LogEvent

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = (
    "docs/architecture.md",
    "docs/commands.md",
    "docs/decision-table.md",
    "docs/decisions/README.md",
    "docs/events.md",
    "docs/reasons.md",
    "docs/settings.md",
)

_RECORD: Final = re.compile(
    r"# (?P<title>[^\n]+)\n\n(?:Date: (?P<date>\S+) · )?Status: (?P<status>[^\n]+)\n"
)

_PART: Final = re.compile(r"(<!-- generated: ([a-z_ ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when a generated part is stale"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the parts, or check them. Raises CommandError when --check finds a stale file."""
    stale = []
    for name in FILES:
        path = arguments.root / name
        try:
            before = path.read_text("utf-8")
        except OSError as error:
            raise CommandError(
                f"{name} cannot be read.", "Run it in a checkout.", Exit.USAGE
            ) from error
        after = generated(before)
        if after == before:
            continue
        stale.append(name)
        if not arguments.check:
            path.write_text(after, "utf-8")
    if stale:
        print(("stale: " if arguments.check else "written: ") + ", ".join(stale))
    if stale and arguments.check:
        raise CommandError(
            "Generated parts are stale.", "Run `./run docs` and commit what it writes."
        )
    return Exit.DONE


def generated(text: str) -> str:
    """Return a document with every generated part replaced.

    Raises CommandError for a part that this command does not generate.
    """
    return _PART.sub(_replace, text)


def _replace(match: re.Match[str]) -> str:
    begin, name, _, end = match.groups()
    kind, _, event = name.partition(" ")
    if kind == "event":
        part = _event(event)
    elif name in PARTS:
        part = PARTS[name]()
    else:
        raise CommandError(
            f"Nobody generates a part named {name}.", f"There are {', '.join(PARTS)}, event NAME."
        )
    return f"{begin}{part.strip()}\n{end}"


def _settings() -> str:
    from worker.settings.settings import settings_table

    return settings_table()


def _decisions() -> str:
    from policies.table import decision_table
    from worker.settings.settings import Settings
    from worker.wiring import load_rules

    return decision_table(load_rules(Settings()).policy)


def _dated_rules() -> str:
    from policies.table import dated_rules_table
    from worker.settings.settings import Settings
    from worker.wiring import load_rules

    return dated_rules_table(load_rules(Settings()).policy)


def _reasons() -> str:
    from policies.table import reason_table

    return reason_table()


def _states() -> str:
    from worker.cli.states import drawing

    return drawing()


def _exit_codes() -> str:
    lines = ["| code | means |", "|---|---|"]
    return "\n".join([*lines, *(f"| {code.value} | {code.meaning} |" for code in Exit)])


def _commands() -> str:
    from worker.cli.main import COMMANDS

    lines = ["| command | is for |", "|---|---|"]
    return "\n".join(
        [*lines, *(f"| `{name}` | {help_text} |" for name, (_, help_text) in COMMANDS.items())]
    )


@cache
def _log_events() -> "dict[str, LogEvent]":
    from worker.cli.log_events import collect_events

    return collect_events(ROOT)


def _events() -> str:
    from worker.cli.log_events import event_index

    return event_index(_log_events().values())


def _event(name: str) -> str:
    from worker.cli.log_events import event_line

    if name not in _log_events():
        raise CommandError(
            f"No code writes the log event {name}.", "Remove its section from docs/events.md."
        )
    return event_line(_log_events()[name])


def _decision_records() -> str:
    lines = ["| record | date | status |", "|---|---|---|"]
    for path in sorted((ROOT / "docs/decisions").glob("0*.md")):
        head = _RECORD.match(path.read_text("utf-8"))
        if head is None:
            raise CommandError(
                f"docs/decisions/{path.name} has no title or no status.",
                "Its first line is `# NUMBER. TITLE`, and its third line names date and status.",
            )
        lines.append(
            f"| [{head['title']}]({path.name}) | {head['date'] or ''} | {head['status']} |"
        )
    return "\n".join(lines)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": _settings,
    "decisions": _decisions,
    "dated rules": _dated_rules,
    "decision records": _decision_records,
    "events": _events,
    "reasons": _reasons,
    "states": _states,
    "exit codes": _exit_codes,
    "commands": _commands,
}
"""What is generated, by the name in the documents' markers."""
