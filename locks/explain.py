"""Explains why an installer refused a lock: names the package and the cause.

It reads what pip or uv printed. `./run` starts it with the Python that it found, before anything is
installed, so it uses only the standard library.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

REMEDY_FOR_LOCK: Final = (
    "That is a fault of this checkout: restore locks/, or write it again with ./run lock."
)
REMEDY_FOR_HASH: Final = (
    "Nothing of it was installed. A mirror that rebuilds packages does this, and so does "
    "tampering: set PIP_INDEX_URL (pip) or UV_DEFAULT_INDEX (uv) to an index that serves the "
    "original files."
)
REMEDY_FOR_INDEX: Final = (
    "Behind a mirror, set PIP_INDEX_URL (pip) or UV_DEFAULT_INDEX (uv); behind a proxy, "
    "HTTPS_PROXY. Then run the same command again."
)

# The order matters: where one cause hides another, the operator must act on the earlier one. The
# words are those of pip 22.3 to 26.3 and of uv 0.13. tests/system/test_locks.py tries them with
# each.
_HASH: Final = re.compile(
    r"^ +(?P<pip>\S+==\S+) from .+:\n +Expected sha|^ *cause: Hash mismatch for `(?P<uv>[^`]+)`",
    re.MULTILINE,
)
_NO_HASH: Final = re.compile(
    r"^ +(?P<pip>\S+==\S+) --hash=|must have a hash, but none were provided for: (?P<uv>\S+)",
    re.MULTILINE,
)
_MISSING: Final = re.compile(
    r"^(?P<pip>\S+) \S+ requires (?P<pip_wanted>.+), which is not installed\.$"
    r"|^The package `(?P<uv>[^`]+)` requires `(?P<uv_wanted>[^`]+)`, but it's not installed",
    re.MULTILINE,
)
_CONFLICT: Final = re.compile(
    r"^(?P<pip>\S+) \S+ has requirement (?P<pip_wanted>.+), but you have (?P<pip_found>.+)\.$"
    r"|^The package `(?P<uv>[^`]+)` requires `(?P<uv_wanted>[^`]+)`,"
    r" but `(?P<uv_found>[^`]+)` is installed",
    re.MULTILINE,
)
_UNREACHABLE: Final = re.compile(
    r"connection broken by|Max retries exceeded|Read timed out|error sending request"
    r"|Failed to fetch"
)
_ASKED_FOR: Final = re.compile(
    r"No matching distribution found for (?P<pip>\S+)|/simple/(?P<uv>[^/\s]+)/", re.MULTILINE
)
_NOT_LISTED: Final = re.compile(
    r"No matching distribution found for (?P<pip>\S+)"
    r"|Because there is no version of (?P<uv>\S+) and you"
    r"|Because (?P<uv_project>\S+) was not found in the package registry",
)


def explain(printed: str, lock: str) -> list[str]:
    """Return sentences that name the package, the cause and the remedy.

    `lock` is the path that the sentences use.
    """
    for cause in (_wrong_hash, _no_hash, _incomplete, _contradiction, _unreachable, _not_listed):
        sentences = cause(printed, lock)
        if sentences:
            return sentences
    return [f"Installing {lock} failed. The installer's own words are above."]


def _wrong_hash(printed: str, lock: str) -> list[str]:
    found = [
        f"{name}: the index served a file whose hash is not in {lock}."
        for name in _each(_HASH, printed, "")
    ]
    return [*found, REMEDY_FOR_HASH] if found else []


def _no_hash(printed: str, lock: str) -> list[str]:
    found = [f"{name}: {lock} has no hash for it." for name in _each(_NO_HASH, printed, "")]
    return [*found, REMEDY_FOR_LOCK] if found else []


def _incomplete(printed: str, lock: str) -> list[str]:
    found = _pairs(
        _MISSING,
        printed,
        lambda name, wanted, _: f"{name} requires {wanted}, which {lock} does not name.",
    )
    return [*found, REMEDY_FOR_LOCK] if found else []


def _contradiction(printed: str, lock: str) -> list[str]:
    found = _pairs(
        _CONFLICT,
        printed,
        lambda name, wanted, has: f"{name} requires {wanted}, but {lock} names {has}.",
    )
    return [*found, REMEDY_FOR_LOCK] if found else []


def _unreachable(printed: str, lock: str) -> list[str]:
    if not _UNREACHABLE.search(printed):
        return []
    name = next(iter(_each(_ASKED_FOR, printed, "")), lock)
    return [f"{name}: the package index cannot be reached.", REMEDY_FOR_INDEX]


def _not_listed(printed: str, _lock: str) -> list[str]:
    names = _each(_NOT_LISTED, printed, "") or _each(_NOT_LISTED, printed, "_project")
    found = [
        f"{name}: the package index has no such release for this Python and machine."
        for name in names
    ]
    return [*found, REMEDY_FOR_INDEX] if found else []


def _each(pattern: re.Pattern[str], printed: str, suffix: str) -> list[str]:
    """Return what the groups `pip…` or `uv…` matched, each once, in order."""
    names: dict[str, None] = {}
    for match in pattern.finditer(printed):
        groups = match.groupdict()
        name = groups.get(f"pip{suffix}") or groups.get(f"uv{suffix}")
        if name is not None:
            names[name.rstrip(",")] = None
    return list(names)


def _pairs(
    pattern: re.Pattern[str], printed: str, sentence: Callable[[str, str, str], str]
) -> list[str]:
    found: dict[str, None] = {}
    for match in pattern.finditer(printed):
        groups = match.groupdict()
        name, wanted, has = (
            groups.get(f"pip{suffix}") or groups.get(f"uv{suffix}") or ""
            for suffix in ("", "_wanted", "_found")
        )
        found[sentence(name, wanted, has)] = None
    return list(found)


if __name__ == "__main__":
    print(*explain(Path(sys.argv[1]).read_text(errors="replace"), sys.argv[2]), sep="\n")
