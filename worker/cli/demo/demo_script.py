"""The script of the demo: messages with expectations, and what people do.

Times are minutes after the start.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from worker.cli.exit_codes import CommandError, Exit
from worker.cli.input_parsing import load_json

_RELATIVE: Final = re.compile(r"[+-]\d+m")
_INSTANTS: Final = ("not_before", "expires_at")
_NEVER_QUEUED: Final = frozenset({"invalid", "duplicate", "conflict"})
_STRICT: Final = ConfigDict(strict=True, extra="forbid")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Expectation:
    """How a message must come out. None means that it is not checked.

    `form`: as the sandbox saw it. `waits`: what the message waited for.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    end: str
    reason: str | None = None
    form: str | None = None
    status: str | None = None
    waits: str | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """What the demo tells about a message, in sentences.

    `asked`: what the backend asked for. `facts`: what was true at that time. `done`: what was done,
    and why.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    asked: str
    facts: str
    done: str


@dataclass(frozen=True, slots=True)
class ScriptRow:
    """One line of messages.jsonl.

    `rule`: what decides the message. `settles_at`: when it must have come out. `line`: sent exactly
    as it is. `stays_queued`: the message is due but not claimed, because its sender or account is
    paused. `story`: what the demo tells about it afterwards.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    number: int
    rule: Annotated[str, Field(validation_alias="row")]
    at: int
    settles_at: Annotated[int, Field(validation_alias="settles")]
    expect: Expectation
    message: Mapping[str, Any] = field(default_factory=dict)
    line: str | None = None
    via: Literal["producer", "sync", "arq", "arq_pickle"] = "producer"
    fault: Mapping[str, Any] | None = None
    cancel_at: int | None = None
    stays_queued: bool = False
    story: Story | None = None

    @property
    def name(self) -> str:
        return str(self.message.get("message_id") or f"line {self.number}")

    @property
    def is_queued(self) -> bool:
        """Whether the queue should take it as a message of its own."""
        return self.expect.end not in _NEVER_QUEUED

    def fields(self, start: datetime) -> dict[str, Any]:
        """Return the message with its times: `+9m` is nine minutes after this row's own minute."""
        fields = dict(self.message)
        for name in _INSTANTS:
            text = fields.get(name)
            if isinstance(text, str) and _RELATIVE.fullmatch(text):
                fields[name] = (start + timedelta(minutes=self.at + int(text[:-1]))).isoformat()
        return fields


@dataclass(frozen=True, slots=True)
class Act:
    """One line of people.jsonl.

    A person writes or consents, ACCOUNT_UPDATE dies, or workers get other settings.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    at: int
    who: str = ""
    address: str = ""
    writes: str | None = None
    body: str = ""
    consent: tuple[str, ...] = ()
    consent_minutes: int | None = None
    account: str = "main"
    account_update: Literal["alive", "dead"] | None = None
    workers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class DemoScript:
    """Everything the demo plays."""

    rows: tuple[ScriptRow, ...]
    acts: tuple[Act, ...]

    @property
    def steps(self) -> list[int]:
        """The minutes at which something happens or is checked, in order."""
        minutes = {act.at for act in self.acts}
        for row in self.rows:
            minutes |= {row.at, row.settles_at} | (
                {row.cancel_at} if row.cancel_at is not None else set()
            )
        return sorted(minutes)


_ROWS: Final = TypeAdapter(ScriptRow)
_ACTS: Final = TypeAdapter(Act)


def read_script(folder: Path) -> DemoScript:
    """Parse messages.jsonl and people.jsonl. Raises CommandError with file, line and field."""
    messages, people = folder / "messages.jsonl", folder / "people.jsonl"
    rows = [
        _checked(_ROWS, messages, number, {"settles": fields.get("at"), **fields, "number": number})
        for number, fields in _lines(messages)
    ]
    acts = [_checked(_ACTS, people, number, fields) for number, fields in _lines(people)]
    return DemoScript(tuple(rows), tuple(acts))


def _checked(adapter: TypeAdapter[_T], path: Path, number: int, fields: Mapping[str, Any]) -> _T:
    try:
        # Validate from JSON: in strict mode only JSON lets a list become a tuple.
        return adapter.validate_json(json.dumps(fields))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        )
        raise _bad_line(path, number, faults) from error


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read.", "Name the folder with --examples.", Exit.USAGE
        ) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not UTF-8.", "Save it as UTF-8.", Exit.USAGE) from error
    return [
        (number, _object(path, number, line))
        for number, line in enumerate(text.splitlines(), start=1)
    ]


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        fields = load_json(line)
    except ValueError:
        fields = None
    except CommandError as error:
        raise _bad_line(path, number, str(error)) from error
    if not isinstance(fields, dict):
        raise _bad_line(path, number, "is not a JSON object")
    return fields


def _bad_line(path: Path, number: int, fault: str) -> CommandError:
    remedy = f"Write it like the lines of examples/{path.name} in the checkout."
    return CommandError(
        f"{path.name}, line {number}: {fault.removesuffix('.')}.", remedy, Exit.USAGE
    )
