"""Runs luacheck over the Lua scripts, in `./run check`.

    .venv/bin/python -m checks.lua [--required]

It reads each script as Redis gets it, so that an unused helper, an unknown name and a hidden name
are findings, and it reports them at their place in the file that they are from. luacheck is in a
Debian package. If it is missing, this says how to install it and ends with 77, or, with
`--required`, with 1.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sendwindow import script_names
from sendwindow.lua_sources import LuaSources
from worker.stores import worker_scripts

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = (ROOT / "sendwindow" / "lua", ROOT / "worker" / "stores" / "lua")
SKIPPED: Final = 77
"""What this ends with when luacheck is not installed."""

_FINDING: Final = re.compile(r"(?P<file>[^:]+)\.lua:(?P<line>\d+):(?P<column>\d+): (?P<text>.*)")
_LINE_FORM: Final = "6"
"""What a finding about the form of a line begins with: its length, its spaces."""


def main() -> int:
    """Print the findings; return 1 when there is one."""
    luacheck = shutil.which("luacheck")
    if luacheck is None:
        print("not installed: apt install lua-check")
        return 1 if "--required" in sys.argv[1:] else SKIPPED
    found = sorted({*findings_in_scripts(luacheck), *findings_in_lines(luacheck)})
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


def findings_in_scripts(luacheck: str) -> Iterator[str]:
    """Yield what luacheck finds in the assembled scripts, at its place in a file of ours."""
    scripts = {
        path.stem: sources
        for folder, sources in zip(
            FOLDERS, (script_names.SOURCES, worker_scripts.SOURCES), strict=True
        )
        for path in sorted(folder.glob("*.lua"))
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, sources in scripts.items():
            (Path(folder) / f"{name}.lua").write_text(sources.assemble(name), "utf-8")
        for match in _findings(luacheck, folder, "--no-max-line-length"):
            name = Path(match["file"]).name
            place = place_of(scripts[name], name, int(match["line"]))
            yield f"{place}: {match['text']}"


def findings_in_lines(luacheck: str) -> Iterator[str]:
    """Yield what luacheck finds in the form of the lines of our files."""
    for match in _findings(luacheck, *map(str, FOLDERS), "--only", _LINE_FORM):
        file = Path(match["file"]).relative_to(ROOT)
        yield f"{file}.lua:{match['line']}: {match['text']}"


def place_of(sources: LuaSources, script: str, line: int) -> str:
    """Return `<file>:<line>` of a line of an assembled script."""
    lengths = [(part, part.text.count("\n") + 1) for part in sources.parts(script)]
    # The names of the keys come first.
    start = sources.assemble(script).count("\n") + 1 - sum(length for _, length in lengths)
    for part, length in lengths:
        if line <= start + length:
            return f"{_file_of(part.name)}:{line - start}"
        start += length
    return f"{script}.lua:{line}"


def _file_of(part: str) -> Path:
    for folder in FOLDERS:
        if (folder / f"{part}.lua").is_file():
            return (folder / f"{part}.lua").relative_to(ROOT)
    return Path(f"{part}.lua")


def _findings(luacheck: str, *arguments: str) -> Iterator[re.Match[str]]:
    """Run luacheck and yield its findings. Raises RuntimeError if it could not run."""
    done = subprocess.run(
        [
            luacheck,
            *("--config", str(ROOT / ".luacheckrc")),
            *("--formatter", "plain", "--codes", "--no-cache"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 2:
        raise RuntimeError(f"luacheck could not run: {done.stderr or done.stdout}")
    for line in done.stdout.splitlines():
        if match := _FINDING.fullmatch(line):
            yield match


if __name__ == "__main__":
    sys.exit(main())
