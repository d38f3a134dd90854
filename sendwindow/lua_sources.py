"""Assembles Lua scripts: a file, the helpers that it includes, and the names that both use.

A line `-- include: clock, add_to_timeline` puts `includes/clock.lua` and
`includes/add_to_timeline.lua`, and what they include themselves, before the script. A line
`-- include script: enqueue` puts the script `enqueue` there, as a function of its `ARGV`.

A script writes `K.row(id)` for a key, `F.stage` for a stored field and `C.QUEUED` for a constant.
Fields and constants become literals here, texts that `..` joins become one text, and a key is
written out where a script calls for it, so names cost nothing when the script runs. A name that
does not exist fails before anything runs.

Lua allows 200 local variables at a time. So a helper becomes a block, and only the names that a
later file uses are declared outside of it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable

from sendwindow.keys import Keys, lua_key, lua_keys

Literal = str | int | bool | Sequence["Literal"] | AbstractSet[str] | Mapping[str, "Literal"]
"""What a constant may be: a text, a number, a list, a set of texts, or a table of these."""

_INCLUDE = re.compile(r"^-- include: (.+)$", re.MULTILINE)
_INCLUDE_SCRIPT = re.compile(r"^-- include script: (.+)$", re.MULTILINE)
_COMMENT, _TEXT, _OTHER_TEXT = r"--[^\n]*", r"'(?:[^'\\\n]|\\.)*'", r'"(?:[^"\\\n]|\\.)*"'
_NAMED = re.compile(rf"{_COMMENT}|{_TEXT}|{_OTHER_TEXT}|(?<![\w.])([FCK])\.(\w+)")
# `#` comes before `..`, so the text after it stays alone.
_TEXTS = re.compile(rf"{_COMMENT}|{_OTHER_TEXT}|#\s*{_TEXT}|({_TEXT}(?: *\.\. *{_TEXT})+)|{_TEXT}")
_JOINT = re.compile(r"' *\.\. *'")
_KEY_CALL = re.compile(
    rf"{_COMMENT}|{_TEXT}|{_OTHER_TEXT}|(?<![\w.])K\.(\w+)\(((?:[^()'\"\n]|{_TEXT})+)\)"
)
_CODE = re.compile(rf"{_COMMENT}|{_TEXT}|{_OTHER_TEXT}")
_IDENTIFIER = re.compile(r"(?<![\w.:])[A-Za-z_]\w*")
_LOCAL = re.compile(
    r"^local (?:function (?P<function>\w+).*|(?P<names>\w+(?:, \w+)*)(?P<rest>.*))$", re.MULTILINE
)
_SUBJECTS = {"F": "field", "C": "constant", "K": "key"}


class BadScriptError(Exception):
    """A script includes or names something that does not exist, or includes itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a script. `name` is its path without folder and ending, such as `includes/int`.

    `text` begins with the comment that describes it.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class LuaSources:
    """Lua files in some folders, with the fields and the constants that they may use.

    A folder that comes later may not have a file of the same name as an earlier one.
    """

    folders: tuple[Traversable, ...]
    fields: Mapping[str, str]
    constants: Mapping[str, Literal]
    _parts: dict[str, Part] = field(default_factory=dict, init=False, compare=False, repr=False)
    _expanded: dict[str, tuple[str, frozenset[str]]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def parts(self, script: str) -> list[Part]:
        """Return the files that a script consists of, each once, and each after what it includes.

        Raises BadScriptError for a file that does not exist or that includes itself.
        """
        return self._parts_of(self._read(script))

    def assemble(self, script: str) -> str:
        """Return the text of a script, without its first line, which has the flags.

        Raises BadScriptError.
        """
        return self.assemble_text(script, self._read(script).text)

    def assemble_text(self, script: str, text: str) -> str:
        """Return the text of a script that is in no file, like `assemble`."""
        parts = self._parts_of(Part(script, text))
        expanded = [self._expand(script, part) for part in parts]
        keys = frozenset().union(*(keys for _, keys in expanded))
        bodies: list[str] = []
        used_later: set[str] = set()
        for part, (body, _) in zip(reversed(parts), reversed(expanded), strict=True):
            is_helper = part.name.startswith("includes/")
            bodies.append(_as_block(body, used_later) if is_helper else body)
            used_later.update(_IDENTIFIER.findall(_CODE.sub("''", body)))
        return lua_keys(keys) + "\n".join(reversed(bodies))

    def _expand(self, script: str, part: Part) -> tuple[str, frozenset[str]]:
        """Return the text of a file with literals for its names, and the keys that it names."""
        known = self._expanded.get(part.text)
        if known is not None:
            return known
        tables: dict[str, Mapping[str, Literal]] = {
            "F": self.fields,
            "C": self.constants,
            "K": _KEYS,
        }

        def replaced(match: re.Match[str]) -> str:
            table, name = match.groups()
            if table is None:
                return match[0]
            if name not in tables[table]:
                raise BadScriptError(
                    f"{script}.lua names a {_SUBJECTS[table]} that does not exist: {name}"
                )
            return match[0] if table == "K" else lua_literal(tables[table][name])

        body = _KEY_CALL.sub(_inlined, _NAMED.sub(replaced, part.text))
        keys = frozenset(name for table, name in _NAMED.findall(body) if table == "K")
        self._expanded[part.text] = _TEXTS.sub(_joined, body), keys
        return self._expanded[part.text]

    def _parts_of(self, script: Part) -> list[Part]:
        return list(self._with_includes(script, (), set()))

    def _with_includes(self, part: Part, above: tuple[str, ...], seen: set[str]) -> Iterator[Part]:
        if part.name in above:
            circle = " > ".join((*above[above.index(part.name) :], part.name))
            raise BadScriptError(f"Lua files include each other: {circle}")
        if part.name in seen:
            return
        above = (*above, part.name)
        for name in included_by(part.text):
            yield from self._with_includes(self._read(f"includes/{name}"), above, seen)
        for name in scripts_included_by(part.text):
            script = self._read(name)
            for each in included_by(script.text):
                yield from self._with_includes(self._read(f"includes/{each}"), above, seen)
            yield Part(name, f"local function {name}(ARGV)\n{script.text}\nend\n")
        seen.add(part.name)
        yield part

    def _read(self, name: str) -> Part:
        part = self._parts.get(name)
        if part is None:
            files = [folder / f"{name}.lua" for folder in self.folders]
            text = next((file.read_text("utf-8") for file in files if file.is_file()), None)
            if text is None:
                raise BadScriptError(f"there is no Lua file {name}.lua")
            part = self._parts[name] = Part(name, text)
        return part


def _inlined(match: re.Match[str]) -> str:
    """Return the code of a key in place of a call, so that no call builds and calls a function."""
    name, arguments = match.groups()
    if name is None:
        return match[0]
    code = lua_key(name, [f"({argument})" for argument in arguments.split(", ")])
    return match[0] if code is None else f"({code})"


def _joined(match: re.Match[str]) -> str:
    """Return texts that `..` joins as one text. Lua would join them again on every call."""
    return match[0] if match[1] is None else _JOINT.sub("", match[1])


def _as_block(body: str, used_later: AbstractSet[str]) -> str:
    """Return a helper as a block, with the names that are used later declared outside of it.

    No line moves, so that a line of the script can be found in its file.
    """
    shared: list[str] = []

    def declared(match: re.Match[str]) -> str:
        function, names, rest = match["function"], match["names"], match["rest"]
        own = [function] if function else names.split(", ")
        if used_later.isdisjoint(own):
            return match[0]
        shared.extend(own)
        if function:
            return match[0].removeprefix("local ")
        return names + rest if rest else ""

    block = _LOCAL.sub(declared, body)
    outside = f"local {', '.join(shared)} " if shared else ""
    return f"{outside}do {block}end -- of the helper"


def included_by(text: str) -> list[str]:
    """Return the names of the helpers that a Lua file includes itself."""
    return [name.strip() for line in _INCLUDE.findall(text) for name in line.split(",")]


def scripts_included_by(text: str) -> list[str]:
    """Return the names of the scripts that a Lua file includes as functions."""
    return [name.strip() for line in _INCLUDE_SCRIPT.findall(text) for name in line.split(",")]


def lua_literal(value: Literal) -> str:
    """Return a value as Lua code. A set becomes a table whose members are true."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case Mapping():
            members = [f"{name} = {lua_literal(member)}" for name, member in value.items()]
        case AbstractSet():
            members = [f"[{lua_literal(name)}] = true" for name in sorted(value)]
        case _:
            members = [lua_literal(member) for member in value]
    return "{ " + ", ".join(members) + " }"


_KEYS: Mapping[str, Literal] = {
    name: name
    for name in vars(Keys)
    if not name.startswith("_") and name not in {"partition", "tag"}
}
