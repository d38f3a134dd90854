"""What the demo plays: messages with their expectations, and what people do when, in minutes after the start."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from worker.commands.exits import CommandError, Exit

_RELATIVE: Final = re.compile(r"[+-]\d+m")
_INSTANTS: Final = ("not_before", "expires_at")
_NEVER_QUEUED: Final = frozenset({"invalid", "duplicate", "conflict"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """How a message must come out; None: not looked at. `form` as the sandbox saw it; `waits`: for what it waited."""

    end: str
    reason: str | None = None
    form: str | None = None
    status: str | None = None
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of messages.jsonl. `rule`: what decides it; `settles_at`: when it must have come out.

    `line`: sent as it is. `stays_queued`: it is due and not looked at, because its sender or account is paused.
    """

    number: int
    rule: str
    at: int
    settles_at: int
    expect: Expectation
    message: Mapping[str, Any] = field(default_factory=dict)
    line: str | None = None
    via: str = "producer"
    fault: Mapping[str, Any] | None = None
    cancel_at: int | None = None
    stays_queued: bool = False

    @property
    def name(self) -> str:
        return str(self.message.get("message_id") or f"line {self.number}")

    @property
    def is_queued(self) -> bool:
        """Whether the queue is to take it as a message of its own."""
        return self.expect.end not in _NEVER_QUEUED

    def fields(self, start: datetime) -> dict[str, Any]:
        """The message with its instants: `+9m` is nine minutes after this row's own minute."""
        fields = dict(self.message)
        for name in _INSTANTS:
            text = fields.get(name)
            if isinstance(text, str) and _RELATIVE.fullmatch(text):
                fields[name] = (start + timedelta(minutes=self.at + int(text[:-1]))).isoformat()
        return fields


@dataclass(frozen=True, slots=True)
class Act:
    """One line of people.jsonl: a person writes or consents, ACCOUNT_UPDATE dies, or workers get other settings."""

    at: int
    who: str = ""
    address: str = ""
    writes: str | None = None
    body: str = ""
    consent: tuple[str, ...] = ()
    consent_minutes: int | None = None
    account: str = "main"
    account_update: str | None = None
    workers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """Everything the demo plays."""

    rows: tuple[Row, ...]
    acts: tuple[Act, ...]

    @property
    def steps(self) -> list[int]:
        """The minutes at which something happens or is looked at, in order."""
        minutes = {act.at for act in self.acts}
        for row in self.rows:
            minutes |= {row.at, row.settles_at} | ({row.cancel_at} if row.cancel_at is not None else set())
        return sorted(minutes)


def read_script(folder: Path) -> Script:
    """Read messages.jsonl and people.jsonl. Raises CommandError that names the line."""
    rows = tuple(_row(number, fields) for number, fields in _lines(folder / "messages.jsonl"))
    acts = []
    for number, fields in _lines(folder / "people.jsonl"):
        try:
            acts.append(Act(**{**fields, "consent": tuple(fields.get("consent", ()))}))
        except TypeError as error:
            raise CommandError(f"people.jsonl, line {number}: {error}.", code=Exit.USAGE) from error
    return Script(rows, tuple(acts))


def _row(number: int, fields: dict[str, Any]) -> Row:
    try:
        rule, at, expect = fields.pop("row"), fields.pop("at"), Expectation(**fields.pop("expect"))
        return Row(number, rule, at, fields.pop("settles", at), expect, **fields)
    except (KeyError, TypeError) as error:
        raise CommandError(f"messages.jsonl, line {number}: {error}.", code=Exit.USAGE) from error


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    found = []
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be read.", "Name the folder with --examples.", Exit.USAGE) from error
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found.append((number, dict(json.loads(line))))
        except ValueError as error:
            raise CommandError(f"{path.name}, line {number}, is no JSON object.", code=Exit.USAGE) from error
    return found
