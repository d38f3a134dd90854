"""`./run check` reads the Lua scripts with luacheck where it is installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from checks.lua import FOLDERS, ROOT, SKIPPED, findings_in_scripts, place_of
from worker.stores.worker_scripts import SOURCES


def check(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the check with nothing on the PATH but one folder."""
    return subprocess.run(
        [sys.executable, "-m", "checks.lua", *options],
        cwd=ROOT,
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def a_luacheck(folder: Path, script: str) -> Path:
    """Return a stand-in for luacheck, so that the test needs no Debian package."""
    file = folder / "luacheck"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_without_luacheck_the_check_says_how_to_install_it(tmp_path: Path) -> None:
    """Without luacheck the step is passed over with the remedy, and fails only where it is
    required.
    """
    done = check(tmp_path)
    assert (done.returncode, done.stdout) == (SKIPPED, "not installed: apt install lua-check\n")
    assert check(tmp_path, "--required").returncode == 1


def test_a_check_without_findings_is_silent(tmp_path: Path) -> None:
    """When luacheck finds nothing, the check prints nothing and passes."""
    a_luacheck(tmp_path, "exit 0")
    done = check(tmp_path, "--required")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_finding_fails_the_check_at_its_place(tmp_path: Path) -> None:
    """A finding in an assembled script is shown once, with the file and line that it is from."""
    lines = SOURCES.assemble("probe").split("\n")
    at = next(at for at, line in enumerate(lines, 1) if "'probed_at'" in line)
    finding = f"{tmp_path}/probe.lua:{at}:7: (W211) unused variable 'found'"
    a_luacheck(tmp_path, f'echo "{finding}"\nexit 1')
    file = ROOT / "worker" / "stores" / "lua" / "probe.lua"
    own = next(
        at for at, line in enumerate(file.read_text().split("\n"), 1) if "'probed_at'" in line
    )
    found = list(findings_in_scripts(str(tmp_path / "luacheck")))
    assert found == [f"worker/stores/lua/probe.lua:{own}: (W211) unused variable 'found'"]


def test_a_broken_luacheck_is_no_success(tmp_path: Path) -> None:
    """A luacheck that cannot run raises instead of finding nothing."""
    a_luacheck(tmp_path, "echo broken >&2\nexit 3")
    with pytest.raises(RuntimeError, match="broken"):
        list(findings_in_scripts(str(tmp_path / "luacheck")))


@pytest.mark.parametrize("script", ["probe", "settle", "claim"])
def test_a_line_of_a_script_is_found_in_its_file(script: str) -> None:
    """Each line of an assembled script that defines a helper is found in the helper's file."""
    for at, line in enumerate(SOURCES.assemble(script).split("\n"), 1):
        name = re.match(r"local function (\w+)\(", line)
        if name is not None:
            file, _, number = place_of(SOURCES, script, at).rpartition(":")
            text = (ROOT / file).read_text("utf-8").split("\n")[int(number) - 1]
            assert text.startswith(f"local function {name[1]}(")


def test_the_folders_are_all_that_have_lua() -> None:
    """No Lua file is outside the folders that the check reads."""
    listed = subprocess.run(
        ["git", "ls-files", "*.lua"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert listed
    assert [
        name
        for name in listed
        if not any((ROOT / name).is_relative_to(folder) for folder in FOLDERS)
    ] == []
