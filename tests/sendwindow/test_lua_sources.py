"""A script is assembled from its file, what it includes, and the names that they use."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import pytest

from sendwindow.lua_sources import BadScriptError, Literal, LuaSources, lua_literal
from sendwindow.row_fields import RowField
from sendwindow.script_names import SOURCES, names_of
from sendwindow.vocabulary import Reason, Stage

Write = Callable[..., LuaSources]


class Other(StrEnum):
    QUEUED = "another text"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes Lua files and returns them as sources. `__` in a name is a folder."""

    def sources(**files: str) -> LuaSources:
        (tmp_path / "includes").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / f"{name.replace('__', '/')}.lua").write_text(text)
        return LuaSources(
            (tmp_path,),
            {"stage": "s", "table": "@"},
            {"QUEUED": "queued", "MOST": 64, "OPEN": frozenset({"b", "a"})},
        )

    return sources


def names(sources: LuaSources, script: str) -> list[str]:
    return [part.name for part in sources.parts(script)]


def test_a_helper_comes_once_and_after_what_it_includes(write: Write) -> None:
    """Includes are resolved through all files, each once, and each after what it includes."""
    sources = write(
        script="-- include: upper, lower\nreturn 1",
        includes__upper="-- include: middle\n-- include: lower",
        includes__middle="-- include: lower",
        includes__lower="local function lower() end",
    )
    assert names(sources, "script") == [
        "includes/lower",
        "includes/middle",
        "includes/upper",
        "script",
    ]


def test_a_script_is_only_what_it_includes(write: Write) -> None:
    """A helper that no file of a script includes is not part of it."""
    sources = write(script="return 1", includes__other="local other")
    assert names(sources, "script") == ["script"]
    assert "other" not in sources.assemble("script")


def test_a_helper_declares_outside_only_what_is_used_later(write: Write) -> None:
    """A helper is a block, and no line of it moves."""
    sources = write(
        script="-- include: helper, lonely\nreturn shared(state)",
        includes__helper="""\
-- Says something.
local MAX = 3
local state, other = {}, {}
local later
local function own() return MAX, other, later end
local function shared() return own(later) end -- own
""",
        includes__lonely="local lonely = 1\n",
    )
    assert (
        sources.assemble("script").split("\n", 1)[1]
        == """\
local state, other, shared do -- Says something.
local MAX = 3
state, other = {}, {}
local later
local function own() return MAX, other, later end
function shared() return own(later) end -- own
end -- of the helper
do local lonely = 1
end -- of the helper
-- include: helper, lonely
return shared(state)"""
    )


@pytest.mark.parametrize(
    "files, complaint",
    [
        ({"script": "-- include: lost"}, "there is no Lua file includes/lost.lua"),
        ({}, "there is no Lua file script.lua"),
        (
            {
                "script": "-- include: one",
                "includes__one": "-- include: two",
                "includes__two": "-- include: one",
            },
            "Lua files include each other: includes/one > includes/two > includes/one",
        ),
        ({"script": "return F.lost"}, "script.lua names a field that does not exist: lost"),
        ({"script": "return C.LOST"}, "script.lua names a constant that does not exist: LOST"),
        ({"script": "return K.lost"}, "script.lua names a key that does not exist: lost"),
        ({"script": "return K.tag"}, "script.lua names a key that does not exist: tag"),
    ],
)
def test_what_does_not_exist_fails_before_anything_runs(
    write: Write, files: dict[str, str], complaint: str
) -> None:
    """An unknown or circular include, and an unknown name, fail when the script is assembled."""
    with pytest.raises(BadScriptError, match=complaint):
        write(**files).assemble("script")


def test_names_become_literals(write: Write) -> None:
    """Fields and constants are literals where the script runs, so no call looks them up."""
    sources = write(script="return row[F.stage] == C.QUEUED and n < C.MOST, C.OPEN")
    assert sources.assemble("script").endswith(
        "return row['s'] == 'queued' and n < 64, { ['a'] = true, ['b'] = true }"
    )


def test_texts_and_comments_stay(write: Write) -> None:
    """Names in texts, in comments and after a dot are not replaced."""
    code = """return 'F.stage', "C.LOST", a.F.stage -- F.lost isn't C.LOST"""
    assert write(script=code).assemble("script").endswith(code)


@pytest.mark.parametrize(
    "code, joined",
    [
        ("'a' .. 'b' .. C.QUEUED", "'abqueued'"),
        ("F.table .. name .. 'a' .. 'b'", "'@' .. name .. 'ab'"),
        ("#F.table .. 'a'", "#'@' .. 'a'"),
        ("'a' .. name .. 'b'", "'a' .. name .. 'b'"),
        ("""'a' .. "b" .. 'c'""", """'a' .. "b" .. 'c'"""),
        ("'a' -- 'b' .. 'c'", "'a' -- 'b' .. 'c'"),
    ],
)
def test_joined_texts_become_one(write: Write, code: str, joined: str) -> None:
    """Texts that are joined are one text already, unless `#` takes the first of them."""
    assert write(script=f"return {code}").assemble("script").endswith(f"return {joined}")


def test_only_keys_that_are_used_are_named(write: Write) -> None:
    """A script builds only the keys that it names, because it builds them on every call."""
    text = write(script="return K.row, K.wake, K.waiting").assemble("script")
    assert "row = function(a1) return 'sw:'..TAG..':m:'..a1 end," in text
    assert "waiting = function(a1, a2) return 'sw:'..TAG..':wait:'..a1..':'..a2 end," in text
    assert "wake = 'sw:'..TAG..':wake'," in text
    assert "lane" not in text


@pytest.mark.parametrize(
    "call, code",
    [
        ("K.row(id)", "('sw:'..TAG..':m:'..(id))"),
        ("K.row(row[F.stage])", "('sw:'..TAG..':m:'..(row['s']))"),
        ("K.waiting(one, 'a)')", "('sw:'..TAG..':wait:'..(one)..':'..('a)'))"),
        ("K.row(f(id))", "K.row(f(id))"),
        ("K.row(one, other)", "K.row(one, other)"),
        ("K.row() -- K.row(id)", "K.row() -- K.row(id)"),
        ("a.K.row(id)", "a.K.row(id)"),
    ],
)
def test_a_key_is_written_out_where_it_is_called_for(write: Write, call: str, code: str) -> None:
    """A key stands in place of its call, unless an argument is a call or has another number."""
    assert write(script=f"return {call}").assemble("script").endswith(f"return {code}")


def test_a_script_may_be_part_of_another_one(write: Write) -> None:
    """A script that another one includes is a function there, and its own includes come first."""
    sources = write(
        script="-- include script: inner\nreturn inner({ 1 })",
        inner="-- include: helper\nreturn ARGV[1]",
        includes__helper="local helper",
    )
    assert names(sources, "script") == ["includes/helper", "inner", "script"]
    assert "local function inner(ARGV)" in sources.assemble("script")


@pytest.mark.parametrize(
    "value, literal",
    [
        (True, "true"),
        (7, "7"),
        ("it's \\", "'it\\'s \\\\'"),
        (["a", 1], "{ 'a', 1 }"),
        ({"of": "a", "is_it": False}, "{ of = 'a', is_it = false }"),
        (frozenset({"with space"}), "{ ['with space'] = true }"),
    ],
)
def test_a_constant_is_written_as_lua_writes_it(value: Literal, literal: str) -> None:
    """Each kind of constant becomes a literal of Lua."""
    assert lua_literal(value) == literal


def test_two_constants_of_one_name_have_one_value() -> None:
    """A stage and a reason of one name are one constant, and two different values are refused."""
    assert names_of(Stage, Reason)["CANCELLED"] == "cancelled"
    with pytest.raises(ValueError, match="two constants are called QUEUED"):
        names_of(Stage, Other)


def test_every_field_of_a_row_has_a_meaning() -> None:
    """A stored field says what it holds, and its stored name is short."""
    assert all(field.meaning and len(field) <= 3 for field in RowField)
    assert SOURCES.fields["stage"] == "s"
