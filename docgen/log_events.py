"""Collects every log event that the code writes, by reading the source.

docs/events.md is generated from it and tested with it.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = ("sendwindow", "policies", "worker", "sandbox", "verify")
"""The packages that may write log events. Folders that do not exist are skipped."""

LEVELS: Final[Mapping[str, str]] = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
"""Method of a logger → the level that it writes."""

LOGGERS: Final = frozenset({"log", "_log"})
"""The names of loggers, as variables and as attributes. A test enforces them."""

_RENDERED: Final[Mapping[str, str]] = {"exc_info": "exception"}
"""Arguments that a line shows under another name, and only when they are set."""


class UnclearEventError(Exception):
    """A log call cannot be read from the source."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}:{line}: {problem}")


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event.

    `levels`: the levels at which it is written. `fields`: those that each line has. `optional`:
    fields that only some lines have.
    """

    name: str
    levels: tuple[str, ...]
    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    level: str
    fields: tuple[str, ...]
    optional: tuple[str, ...]


def collect_events(root: Path) -> dict[str, LogEvent]:
    """Return every log event of a checkout by name, sorted.

    Raises UnclearEventError for a call that cannot be read.
    """
    calls: dict[str, list[_Call]] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for call in calls_of(path.read_text("utf-8"), path.relative_to(root)):
                calls.setdefault(call.name, []).append(call)
    return {name: _merged(name, calls[name]) for name in sorted(calls)}


def calls_of(source: str, path: Path) -> Iterator[_Call]:
    """Yield the log calls of one module. Raises UnclearEventError."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and node.attr in LEVELS and _is_logger(node.value)):
            continue
        parent = parents[node]
        if isinstance(parent, ast.Call) and parent.func is node:
            yield _read(parent, LEVELS[node.attr], _function_of(parent, parents), path)
        else:
            yield from _through_a_name(node, parents, path)


def _is_logger(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in LOGGERS
        case ast.Call(func=ast.Name(id="get_log")):
            return True
    return False


def _through_a_name(
    node: ast.Attribute, parents: Mapping[ast.AST, ast.AST], path: Path
) -> Iterator[_Call]:
    """Yield the calls of a logger's method that is first assigned to a name.

    For example, `write = log.warning if bad else log.info`.
    """
    above = parents[node]
    while isinstance(above, ast.IfExp):
        above = parents[above]
    if not (isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Name)):
        raise UnclearEventError(
            path, node.lineno, "a method of a logger is passed on; call it here"
        )
    name, function = above.targets[0].id, _function_of(node, parents)
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name:
            yield _read(call, LEVELS[node.attr], function, path)


def _function_of(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> ast.AST:
    while not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
        node = parents[node]
    return node


def _read(call: ast.Call, level: str, function: ast.AST, path: Path) -> _Call:
    match call.args:
        case [ast.Constant(value=str(name))]:
            pass
        case _:
            raise UnclearEventError(
                path, call.lineno, "an event is one literal; its values are fields"
            )
    fields: list[str] = []
    optional: list[str] = []
    for keyword in call.keywords:
        if keyword.arg is None:
            fields += _keys_of(keyword.value, function, path)
        elif keyword.arg in _RENDERED:
            optional.append(_RENDERED[keyword.arg])
        else:
            fields.append(keyword.arg)
    return _Call(name, level, tuple(fields), tuple(optional))


def _keys_of(value: ast.expr, function: ast.AST, path: Path) -> list[str]:
    """Return the keys of `**value`.

    The value must be a literal dictionary, or the name of one in the same function.
    """
    if isinstance(value, ast.Name):
        assigned = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and any(
                isinstance(target, ast.Name) and target.id == value.id for target in node.targets
            )
        ]
        if len(assigned) == 1:
            value = assigned[0]
    keys = value.keys if isinstance(value, ast.Dict) else [None]
    names = [
        key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
    ]
    if len(names) < len(keys):
        raise UnclearEventError(
            path, value.lineno, "fields of an event are named where it is written"
        )
    return names


def _merged(name: str, calls: Iterable[_Call]) -> LogEvent:
    calls = list(calls)
    every = list(dict.fromkeys(field for call in calls for field in call.fields))
    always = [field for field in every if all(field in call.fields for call in calls)]
    optional = dict.fromkeys(field for call in calls for field in call.optional)
    levels = {call.level for call in calls}
    return LogEvent(
        name,
        tuple(level for level in dict.fromkeys(LEVELS.values()) if level in levels),
        tuple(always),
        (*(field for field in every if field not in always), *optional),
    )


def event_line(event: LogEvent) -> str:
    """Return the levels and fields of an event as one line of Markdown."""
    fields = [f"`{field}`" for field in event.fields]
    fields += [f"`{field}` (not in each line)" for field in event.optional]
    return (
        f"{' or '.join(f'`{level}`' for level in event.levels)}: "
        f"{', '.join(fields) or 'no fields of its own'}"
    )


def event_index(events: Iterable[LogEvent]) -> str:
    """Return a table of the levels, the most urgent first, each with its events."""
    by_level: dict[str, list[str]] = {}
    for event in events:
        for level in event.levels:
            by_level.setdefault(level, []).append(f"[`{event.name}`](#{event.name})")
    levels = [level for level in reversed(dict.fromkeys(LEVELS.values())) if level in by_level]
    rows = [f"| `{level}` | {', '.join(by_level[level])} |" for level in levels]
    return "\n".join(["| level | events |", "|---|---|", *rows])
