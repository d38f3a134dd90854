"""What verify found for each promise, with numbers and the histories of the first offenders.

It is printed as text or as JSON.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.console import Console

from verify.counts import Counts
from verify.journal_reader import Line
from verify.judge_context import Breach

P5_NOTE: Final = (
    "P5 (no message holds up another) is not judged: journals do not say when a message fell due, "
    "who was paused and which limits had room, and without these a long wait proves nothing. "
    "first_claim_ms is for information."
)
_MAX_SHOWN_IDS: Final = 20
_SHOWN_FIRST: Final = ("t", "who", "e", "id")


@dataclass(slots=True)
class Promise:
    """One promise.

    `checked` is False when the journals hold no witness for it. `note` then names what is missing.
    """

    name: str
    title: str
    checked: bool = True
    note: str = ""
    breaches: list[Breach] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One of kept, broken, unchecked."""
        if not self.checked:
            return "unchecked"
        return "broken" if self.breaches else "kept"

    @property
    def ids(self) -> list[str]:
        """The messages concerned, each once, in the order of their breaches."""
        return list(
            dict.fromkeys(
                breach.message_id for breach in self.breaches if breach.message_id is not None
            )
        )


@dataclass(slots=True)
class Report:
    """The result.

    `histories`: message id → its lines, for the offenders shown. `not_judged`: rule → how often it
    could not be judged, and why. `missing`: how many lines the processes could not write. No check
    could use them.
    """

    promises: tuple[Promise, ...]
    counts: Counts
    histories: Mapping[str, list[Line]] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    not_judged: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0

    @property
    def ok(self) -> bool:
        """Whether something was checked and nothing is broken.

        Single promises may be unchecked; see `unchecked`.
        """
        return not self.is_broken and self.checked_any

    @property
    def is_broken(self) -> bool:
        """Whether a promise is refuted, or a line is not a journal line."""
        return bool(self.unreadable) or any(
            promise.verdict == "broken" for promise in self.promises
        )

    @property
    def checked_any(self) -> bool:
        """Whether the journals bear witness to any promise."""
        return len(self.unchecked) < len(self.promises)

    @property
    def headline(self) -> str:
        """The verdict, and the promises that it does not cover."""
        if not self.checked_any:
            return (
                "NOTHING CHECKED: no line of a sandbox, worker, gateway or producer; name their "
                "journals"
            )
        if self.is_broken:
            return "BROKEN"
        return "nothing broken" + (
            f"; NOT CHECKED: {', '.join(self.unchecked)}" if self.unchecked else ""
        )

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The promises that no journal bears witness to."""
        return tuple(promise.name for promise in self.promises if promise.verdict == "unchecked")


def to_json(report: Report) -> dict[str, Any]:
    """Build the report as JSON values."""
    return {
        "ok": report.ok,
        "promises": {
            promise.name: {
                "title": promise.title,
                "verdict": promise.verdict,
                "note": promise.note,
                "breaches": len(promise.breaches),
                "by_rule": dict(Counter(breach.rule for breach in promise.breaches)),
                "ids": promise.ids[:_MAX_SHOWN_IDS],
                "first": [asdict(breach) for breach in promise.breaches[:_MAX_SHOWN_IDS]],
            }
            for promise in report.promises
        },
        "counts": asdict(report.counts),
        "unreadable": list(report.unreadable),
        "histories": {name: list(lines) for name, lines in report.histories.items()},
        "not_judged": {"P5": P5_NOTE, **_not_judged(report)},
    }


def render(report: Report, console: Console) -> None:
    """Print the report as plain text."""
    _say(console, f"verify: {report.headline}")
    for promise in report.promises:
        _promise(console, promise, report)
    for where in report.unreadable[:_MAX_SHOWN_IDS]:
        _say(
            console,
            f"  unreadable line at {where}: no journal wrote it; verify what produced that file",
        )
    _say(console, "")
    for name, value in asdict(report.counts).items():
        _wrap(console, f"  {name:<22} {_counted(value)}", 25)
    _say(console, "")
    for rule, why in _not_judged(report).items():
        _wrap(console, f"  not judged: {rule}: {why}", 4)
    _wrap(console, f"  {P5_NOTE}", 4)


def _wrap(console: Console, text: str, indent: int) -> None:
    """Print a text as lines that fit the screen, without breaking a word."""
    lines = textwrap.wrap(
        text,
        console.width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    _say(console, "\n".join(lines))


def _not_judged(report: Report) -> dict[str, str]:
    gap = (
        {"gap": f"{report.missing} lines could be neither written nor kept in memory"}
        if report.missing
        else {}
    )
    return {**report.not_judged, **gap}


def _counted(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number}" for key, number in sorted(value.items())) or "none"
    return str(value)


def _promise(console: Console, promise: Promise, report: Report) -> None:
    note = f" ({promise.note})" if promise.note else ""
    _say(console, f"  {promise.name:<9} {promise.verdict:<9} {promise.title}{note}")
    for rule, number in Counter(breach.rule for breach in promise.breaches).most_common():
        _say(console, f"      {rule}: {number}")
    shown: set[str] = set()
    for breach in promise.breaches:
        name = breach.message_id or ""
        if name in report.histories and name not in shown:
            shown.add(name)
            _say(console, f"      {name}: {breach.rule}: {breach.detail}")
            _history(console, report.histories[name])
    rest = [name for name in promise.ids if name not in shown]
    if rest:
        more = " …" if len(rest) > _MAX_SHOWN_IDS else ""
        _say(console, f"      also: {', '.join(rest[:_MAX_SHOWN_IDS])}{more}")


def _history(console: Console, lines: list[Line]) -> None:
    begin = lines[0]["t"] if lines else 0.0
    for line in lines:
        rest = " ".join(
            f"{name}={value}"
            for name, value in line.items()
            if name not in _SHOWN_FIRST and value is not None
        )
        _say(
            console,
            f"        {line['t'] - begin:>10.1f} ms  {line.get('who', '?'):<12} {line['e']:<14} "
            f"{rest}",
        )


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
