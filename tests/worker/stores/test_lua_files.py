"""The Lua files: each includes what it uses and nothing else, and each is used."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sendwindow import script_names
from sendwindow.lua_sources import LuaSources, included_by, scripts_included_by
from worker.stores import worker_scripts

ROOT: Final = Path(__file__).parents[3]
PRODUCER: Final = ROOT / "sendwindow" / "lua"
WORKER: Final = ROOT / "worker" / "stores" / "lua"
HELPERS: Final = {
    path.stem: path.read_text("utf-8")
    for folder in (PRODUCER, WORKER)
    for path in sorted((folder / "includes").glob("*.lua"))
}
SCRIPTS: Final = {
    path.stem: path.read_text("utf-8")
    for folder in (PRODUCER, WORKER)
    for path in sorted(folder.glob("*.lua"))
}
FILES: Final = {**{f"includes/{name}": text for name, text in HELPERS.items()}, **SCRIPTS}
MAX_LOCALS: Final = 200
"""How many local variables Lua allows in one function, and so in a script."""

MAX_COLUMNS: Final = 100

_CODE: Final = re.compile(r"--[^\n]*|'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_NAME: Final = re.compile(r"(?<![\w.:])([A-Za-z_]\w*)(?!\w)(?! =[^=])")
_DEFINED: Final = re.compile(r"^local (?:function (\w+)|([\w, ]+?)(?: =|$))", re.MULTILINE)


_BLOCK: Final = re.compile(
    r"^(?:local ([\w, ]+) )?do (.*?)^end -- of the helper$", re.MULTILINE | re.DOTALL
)


def defined_in(text: str) -> Iterator[str]:
    """Yield the names that a file defines for the files that include it."""
    for function, variables in _DEFINED.findall(text):
        yield from (name.strip() for name in (function or variables).split(","))


def used_in(text: str) -> set[str]:
    return set(_NAME.findall(_CODE.sub("''", text)))


OWNER: Final = {name: helper for helper, text in HELPERS.items() for name in defined_in(text)}
"""The helper that defines each name."""


def needed_by(name: str) -> set[str]:
    """Return the helpers whose names a file uses."""
    text = FILES[name]
    own = set(defined_in(text))
    found = {OWNER[used] for used in used_in(text) - own if used in OWNER}
    return found - {name.removeprefix("includes/")}


@pytest.mark.parametrize("name", FILES)
def test_a_file_includes_what_it_uses_and_nothing_else(name: str) -> None:
    """A file names each helper that it calls, once, in order, and no other helper."""
    included = included_by(FILES[name])
    assert included == sorted(set(included))
    assert set(included) == needed_by(name)


def test_no_helper_is_without_a_user() -> None:
    """Each helper is part of a script, and each name that two helpers share is theirs alone."""
    sources = worker_scripts.SOURCES
    used = {part.name for script in SCRIPTS for part in sources.parts(script)}
    assert {f"includes/{name}" for name in HELPERS} - used == set()
    assert len(OWNER) == sum(len(list(defined_in(text))) for text in HELPERS.values())


def test_a_producer_has_no_helper_of_a_worker() -> None:
    """A wheel carries the producers' scripts with all their helpers, and no helper that only
    workers use.
    """
    used = {
        part.name
        for script in ("enqueue", "cancel")
        for part in script_names.SOURCES.parts(script)
        if part.name.startswith("includes/")
    }
    assert used == {f"includes/{path.stem}" for path in (PRODUCER / "includes").glob("*.lua")}


def scripts() -> list[tuple[str, LuaSources]]:
    own = [(path.stem, script_names.SOURCES) for path in sorted(PRODUCER.glob("*.lua"))]
    return own + [(path.stem, worker_scripts.SOURCES) for path in sorted(WORKER.glob("*.lua"))]


@pytest.mark.parametrize("name, sources", scripts(), ids=lambda each: str(each)[:20])
def test_a_script_has_room_for_its_local_variables(name: str, sources: LuaSources) -> None:
    """Every script stays below Lua's limit of local variables.

    A helper is a block. What it declares in the block counts only while the block is read.
    """
    outside, most = 0, 0
    text = [*_BLOCK.split(sources.assemble(name)), "", ""]
    for code, shared, block in zip(text[::3], text[1::3], text[2::3], strict=True):
        outside += len(list(defined_in(code))) + len((shared or "").split())
        most = max(most, outside + len(list(defined_in(block))))
    assert most < MAX_LOCALS


@pytest.mark.parametrize("name", FILES)
def test_a_line_has_at_most_100_columns(name: str) -> None:
    """No line is longer than the lines of the Python code."""
    assert [line for line in FILES[name].split("\n") if len(line) > MAX_COLUMNS] == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_takes_and_who_calls_it(name: str) -> None:
    """The head of a script names its arguments, its reply, its keys and its callers."""
    text = SCRIPTS[name]
    head = text[: re.search(r"^(?!--)", text, re.MULTILINE).start()]  # type: ignore[union-attr]
    needed = {"Returns", "Keys:", "Callers:"} | (
        {"ARGV:"} if "ARGV" in text[len(head) :] else set()
    )
    assert {word for word in needed if not re.search(rf"\b{word}", head)} == set()


@pytest.mark.parametrize("name", HELPERS)
def test_a_helper_says_what_it_does(name: str) -> None:
    """Each function that other files call has a comment."""
    lines = HELPERS[name].split("\n")
    functions = [at for at, line in enumerate(lines) if line.startswith("local function")]
    called = {
        used
        for other, text in FILES.items()
        if name in included_by(text) or name in scripts_included_by(text)
        for used in used_in(text)
    }
    silent = [
        lines[at]
        for at in functions
        if not lines[at - 1].startswith("--")
        and re.findall(r"function (\w+)", lines[at])[0] in called
    ]
    assert silent == []
