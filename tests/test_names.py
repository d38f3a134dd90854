"""One name means one thing, and a constant says what it bounds and in which unit."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVICE = ("sendwindow", "policies", "worker")
NAMED = (*SERVICE, "sandbox", "verify", "bench", "docgen", "checks", "release")

BOUNDS = re.compile(
    "CAP|FARTHEST|FEWEST|HIGHEST|LARGEST|LEAST|LENGTH|LIMIT|LONGEST|LOWEST|MOST|SHORTEST|SIZE|"
    "SMALLEST|WIDEST"
)
"""Words for a bound or a size that are neither MAX_ or MIN_ nor a unit."""

SAME_CLASS: Mapping[str, str] = {
    "Producer": "The blocking twin is generated from the asynchronous producer.",
}
SAME_STEM: Mapping[str, str] = {
    "consent": "policies/ decides on it; the command records it.",
    "pipeline": "The module is the main one of its package.",
    "settings": "The module is the main one of its package.",
    "unknown": "policies/ has its rules, pipeline/unknown/ searches, and the command resolves it.",
}
"""Files of one stem outside of the rooms that share names, and why they mean the same thing."""
ROOMS = frozenset({"worker/ports", "worker/stores", "worker/cli"})
"""A port, its store and the command about it have one name."""

_LUA_CONSTANT = re.compile(r"^local ([A-Z][A-Z_]+) =", re.MULTILINE)


def _parsed(*tops: str) -> Iterator[tuple[Path, ast.Module]]:
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))


def _assigned(body: Iterable[ast.stmt]) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield name


def _repeated(places: Mapping[str, list[Path]]) -> dict[str, list[str]]:
    return {
        name: [str(place) for place in found] for name, found in places.items() if len(found) > 1
    }


def _says_bound(name: str) -> bool:
    return name.isupper() and any(map(BOUNDS.fullmatch, name.split("_")))


@pytest.mark.parametrize("name", ["LARGEST_BATCH", "_PAUSE_CAP", "LIMIT", "PAGE_SIZE"])
def test_a_bound_in_other_words_is_found(name: str) -> None:
    """The search below finds the words that constants once had for a bound."""
    assert _says_bound(name)


@pytest.mark.parametrize("name", ["MAX_BATCH_BYTES", "_CAPPED", "largest", "MOSTLY"])
def test_other_names_pass(name: str) -> None:
    """MAX_ with a unit, a longer word and a variable are fine."""
    assert not _says_bound(name)


def test_a_constant_that_is_a_bound_is_named_max_or_min() -> None:
    """A reader finds every bound by MAX_ or MIN_, in Python and in Lua."""
    names = {
        f"{path}: {name}" for path, tree in _parsed(*NAMED) for name in _assigned(tree.body)
    } | {
        f"{path.relative_to(ROOT)}: {name}"
        for top in SERVICE
        for path in (ROOT / top).rglob("*.lua")
        for name in _LUA_CONSTANT.findall(path.read_text("utf-8"))
    }
    assert len(names) > 500
    assert not sorted(name for name in names if _says_bound(name.rpartition(" ")[2]))


def test_no_two_classes_have_one_name() -> None:
    """A class's name says which one is meant, without its module."""
    places: dict[str, list[Path]] = defaultdict(list)
    for path, tree in _parsed(*SERVICE):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    assert set(_repeated(places)) == set(SAME_CLASS), _repeated(places)


def test_no_two_files_of_one_stem_mean_different_things() -> None:
    """A file's name says what is in it, without its folder.

    A package counts as a file of its name.
    """
    places: dict[str, list[Path]] = defaultdict(list)
    in_rooms: dict[str, list[Path]] = defaultdict(list)
    for path, _ in _parsed(*SERVICE):
        named = path.parent if path.name == "__init__.py" else path
        (in_rooms if str(named.parent) in ROOMS else places)[named.stem].append(named)
    for stem, found in in_rooms.items():
        places[stem].append(found[0])
    repeated = _repeated(places)
    assert set(repeated) == set(SAME_STEM), repeated
