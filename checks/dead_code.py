"""Finds functions, classes, methods, constants and fields that no code of the product uses.

    .venv/bin/python -m checks.dead_code

`./run check` runs this. Tests and benchmarks do not count as users: code that only they call is
dead. A field counts as used when something reads it; to write it is not enough.

The check goes by names. A name at the top of a module is used if its own module reads it or another
module imports it. A member of a class is used if any module reads an attribute of that name, or if
a Lua script reads a key of that name. Members of enums are left out, because values are parsed into
them. `EXCEPTIONS` lists what something outside of our Python uses, with the reason.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CHECKED: Final = ("sendwindow", "policies", "worker", "sandbox", "verify", "release", "checks")
USERS: Final = (*CHECKED, "docs", "docgen", "examples", "locks")

EXCEPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "pydantic calls the validators and reads the configuration": (
        "sendwindow/contract.py:Freeform._has_content",
        "sendwindow/contract.py:SendMessage._fits_together",
        "*.model_config",
    ),
    "aiohttp, prometheus-client or hatchling calls it": (
        "worker/gateway/server.py:_Connection.handle_error",
        "worker/telemetry/stored_metrics.py:StoredMetrics.describe",
        "release/long_description.py:LongDescription",
    ),
    "the report of verify prints every field": (
        "verify/counts.py:Counts.avoided",
        "verify/counts.py:Counts.callbacks_answered",
        "verify/counts.py:Counts.duplicates_allowed",
        "verify/counts.py:Counts.first_claim_ms",
        "verify/counts.py:Counts.inbounds_*",
        "verify/counts.py:Counts.late_settles",
        "verify/counts.py:Counts.open*",
        "verify/counts.py:Counts.opt_out_confirmations",
        "verify/counts.py:Counts.overlaps",
        "verify/counts.py:Counts.posts_accepted",
        "verify/counts.py:Counts.repeated",
    ),
    "the demo prints the parts of a story by name": ("worker/cli/demo/demo_script.py:Story.asked",),
    "it lists the stored names of a row, with which tests compare golden rows": (
        "sendwindow/row_fields.py:FOLDED_FIELDS",
        "sendwindow/row_fields.py:ROW_FIELDS",
    ),
}
"""Why something that looks dead is not, and the patterns of its places."""

_LUA_KEY: Final = re.compile(r"\b[A-Z]\.([A-Za-z_]\w*)")
_BY_NAME: Final = frozenset({"getattr", "hasattr", "attrgetter", "methodcaller"})


@dataclass(frozen=True, slots=True)
class Definition:
    """A name that a file defines. `place` is its path and its qualified name."""

    path: str
    line: int
    qualified: str
    name: str
    is_member: bool

    @property
    def place(self) -> str:
        return f"{self.path}:{self.qualified}"


@dataclass(slots=True)
class Uses:
    """What the code reads.

    `loads`: names, by file. `imports`: names that any file imports. `attributes`: names after a dot
    in any file. `parts`: those after the name of a module, by file.
    """

    loads: set[tuple[str, str]] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    modules: set[tuple[str, str]] = field(default_factory=set)
    parts: set[tuple[str, str, str]] = field(default_factory=set)

    def has(self, one: Definition) -> bool:
        """Return whether something uses this definition."""
        if one.is_member:
            return one.name in self.attributes or (one.path, one.qualified) in self.loads
        return (
            (one.path, one.name) in self.loads
            or one.name in self.imports
            or any(
                name == one.name and (path, value) in self.modules
                for path, value, name in self.parts
            )
        )


def main() -> int:
    """Print what is dead and which exceptions match nothing. Return 1 if there is any."""
    dead = list(find_dead(ROOT))
    patterns = [pattern for group in EXCEPTIONS.values() for pattern in group]
    left = [one for one in dead if not any(fnmatchcase(one.place, each) for each in patterns)]
    for one in left:
        print(f"{one.path}:{one.line}: nothing uses {one.qualified}; remove it or say why not")
    idle = [each for each in patterns if not any(fnmatchcase(one.place, each) for one in dead)]
    for each in idle:
        print(f"{each}: an exception that matches nothing; remove it from {Path(__file__).name}")
    return 1 if left or idle else 0


def find_dead(root: Path) -> Iterator[Definition]:
    """Yield every definition under `CHECKED` that nothing under `USERS` uses."""
    uses = Uses()
    definitions: list[Definition] = []
    for top in USERS:
        for file in sorted((root / top).rglob("*.lua")):
            for name in _LUA_KEY.findall(file.read_text("utf-8")):
                # `F.stage` in Lua is `RowField.STAGE`.
                uses.attributes.update((name, name.upper()))
        for file in sorted((root / top).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            tree = ast.parse(file.read_text("utf-8"))
            _read(tree, path, uses, (), "")
            if top in CHECKED:
                definitions += _definitions(path, tree.body)
    yield from (one for one in definitions if not uses.has(one))


def _definitions(path: str, body: list[ast.stmt], outer: str = "") -> Iterator[Definition]:
    for statement in body:
        for name in _names(statement):
            if not (name.startswith("__") and name.endswith("__")):
                yield Definition(path, statement.lineno, f"{outer}{name}", name, bool(outer))
        if isinstance(statement, ast.ClassDef) and not _is_enum(statement):
            yield from _definitions(path, statement.body, f"{outer}{statement.name}.")
        if isinstance(statement, ast.If | ast.Try):
            yield from _definitions(path, statement.body, outer)
        if outer and isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            yield from _attributes(path, statement, outer)


def _names(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _attributes(path: str, init: ast.FunctionDef, outer: str) -> Iterator[Definition]:
    """Yield the attributes that `__init__` sets."""
    for node in ast.walk(init):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield Definition(path, node.lineno, f"{outer}{name}", name, is_member=True)


def _is_enum(statement: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith(("Enum", "Flag")) for base in statement.bases)


def _read(node: ast.AST, path: str, uses: Uses, inside: tuple[str, ...], outer: str) -> None:
    """Add what a node reads to the uses.

    `inside`: the functions around the node. A function that only calls itself is dead. `outer`: the
    class whose body the node is part of, with a dot, or nothing.
    """
    _add(node, path, uses, inside, outer)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        inside, outer = (*inside, node.name), ""
    elif isinstance(node, ast.ClassDef):
        outer = f"{outer}{node.name}."
    for child in ast.iter_child_nodes(node):
        _read(child, path, uses, inside, outer)


def _add(node: ast.AST, path: str, uses: Uses, inside: tuple[str, ...], outer: str) -> None:
    match node:
        case ast.Name(id=name, ctx=ast.Load()) if name not in inside:
            uses.loads.update({(path, name), (path, f"{outer}{name}")})
        case ast.Attribute(value=ast.Name(id=owner), attr=name, ctx=ast.Load()):
            uses.parts.add((path, owner, name))
            if owner != "self" or name not in inside:
                uses.attributes.add(name)
        case ast.Attribute(attr=name, ctx=ast.Load()):
            uses.attributes.add(name)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            uses.imports.update(alias.name for alias in names)
            uses.modules.update((path, alias.asname or alias.name) for alias in names)
        case ast.MatchClass(kwd_attrs=names):
            uses.attributes.update(names)
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in _BY_NAME:
            uses.attributes.update(_texts(arguments))


def _texts(arguments: list[ast.expr]) -> Iterator[str]:
    for each in arguments:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


if __name__ == "__main__":
    sys.exit(main())
