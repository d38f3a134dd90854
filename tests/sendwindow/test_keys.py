"""Every key of a partition carries its hash tag, in Python and in Lua."""

import inspect

import pytest

from sendwindow.keys import Keys, lua_key

NAMES = sorted(
    name for name in vars(Keys) if not name.startswith("_") and name not in {"tag", "partition"}
)


def _arguments(name: str) -> list[str]:
    member = vars(Keys)[name]
    return [] if isinstance(member, property) else list(inspect.signature(member).parameters)[1:]


def _key(name: str, partition: str, values: list[str]) -> str:
    member = getattr(Keys(partition), name)
    key: str = member(*values) if _arguments(name) else member
    return key


@pytest.mark.parametrize("name", NAMES)
def test_a_key_has_the_tag_of_its_partition(name: str) -> None:
    """On a cluster all keys of a partition are in one slot, so each has its tag, and those of two
    partitions differ.
    """
    values = [f"value{at}" for at, _ in enumerate(_arguments(name))]
    key = _key(name, "p7", values)
    assert key.count("{p7}") == 1
    assert all(value in key for value in values)
    assert key != _key(name, "p8", values)


def test_no_two_keys_have_one_name() -> None:
    """Two kinds of data never share a key."""
    keys = [_key(name, "p7", ["same"] * len(_arguments(name))) for name in NAMES]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", NAMES)
def test_lua_writes_the_same_key(name: str) -> None:
    """The Lua code of a key has the same text between its arguments."""
    given = [f"A{at}" for at, _ in enumerate(_arguments(name))]
    code = lua_key(name, given)
    assert code is not None
    parts = [part.strip("'") for part in code.split("..")]
    text = "".join("{p7}" if part == "TAG" else part for part in parts)
    assert text == _key(name, "p7", given)
    assert lua_key(name, [*given, "one more"]) is None
