"""`./run` without an installation: its help, and what it prints on a machine without a Python."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import settings

from tests.depth import examples

TOOLS = ("sh", "dirname", "sed")


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """Return a checkout of only `run` and the files that install it."""
    shutil.copytree(root / "locks", tmp_path / "copy" / "locks")
    for name in ("run", "pyproject.toml"):
        shutil.copy(root / name, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Return a PATH with little more than a shell."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def run(
    *command: str | Path, path: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    environ["PATH"] = str(path) if path else os.environ["PATH"]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("arguments", [(), ("help",)])
def test_the_door_explains_itself(copy: Path, tools: Path, arguments: tuple[str, ...]) -> None:
    """Without arguments `./run` lists every command, before any installation."""
    answer = run(copy / "run", *arguments, path=tools)
    assert answer.returncode == 0
    for command in (
        "demo",
        "test",
        "test --all",
        "test --system",
        "check",
        "bench",
        "fmt",
        "docs",
        "release",
    ):
        assert f"./run {command} " in answer.stdout
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize(
    "python3",
    [
        pytest.param(None, id="none"),
        pytest.param("#!/bin/sh\nexit 0\n", id="one older than 3.11"),
        pytest.param("#!/bin/sh\nexit 127\n", id="a shim without one behind it"),
    ],
)
def test_without_a_usable_python_the_remedy_is_named(
    copy: Path, tools: Path, python3: str | None
) -> None:
    """Without Python 3.11, `./run` names the package to install and leaves no files behind."""
    if python3 is not None:
        (tools / "python3").write_text(python3)
        (tools / "python3").chmod(0o755)
    answer = run(copy / "run", "demo", path=tools)
    assert answer.returncode == 1
    assert "No Python 3.11 or later" in answer.stderr
    assert "apt install python3" in answer.stderr
    assert not (copy / ".venv").exists()


def test_compiled_files_are_kept_whatever_the_shell_says(copy: Path, tools: Path) -> None:
    """A shell that wants no compiled files would have each process compile the service again."""
    python3 = '#!/bin/sh\necho "${PYTHONDONTWRITEBYTECODE-kept}" >"$0.told"\n'
    (tools / "python3").write_text(python3)
    (tools / "python3").chmod(0o755)
    run(copy / "run", "demo", path=tools, PYTHONDONTWRITEBYTECODE="1")
    assert (tools / "python3.told").read_text() == "kept\n"


def test_ci_runs_every_python_that_is_promised(root: Path) -> None:
    """CI runs every Python of the classifiers, from requires-python on, and `./run` looks for
    each.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    versions = re.findall(
        r"Programming Language :: Python :: (3\.\d+)$",
        "\n".join(project["classifiers"]),
        re.MULTILINE,
    )
    assert run(root / ".ci" / "python").stdout.split() == versions
    assert project["requires-python"] == f">={versions[0]}"
    stages = re.search(
        r"for version in \$\(\.ci/python\); do\n +stage .* python \"\$version\"",
        (root / ".ci/run").read_text(),
    )
    assert stages, ".ci/run has a stage for each version that .ci/python lists"
    looked_for = re.search(r"for name in (python3 .*); do", (root / "run").read_text())
    assert looked_for is not None
    assert {f"python{version}" for version in versions} < set(looked_for[1].split())


def test_the_locks_fit_the_project(root: Path) -> None:
    """The locks fit pyproject.toml's dependencies."""
    assert run(sys.executable, root / "locks" / "lock.py", "--check").returncode == 0


def test_a_stale_lock_is_named(copy: Path) -> None:
    """The freshness check names the stale lock and the command that writes it again."""
    project = (copy / "pyproject.toml").read_text()
    (copy / "pyproject.toml").write_text(project.replace('"pydantic>=', '"pydantic>2.'))
    answer = run(sys.executable, copy / "locks" / "lock.py", "--check")
    assert answer.returncode == 1
    assert "locks/dev.txt does not fit pyproject.toml. Run ./run lock" in answer.stderr


def test_locks_carry_hashes_and_no_index(root: Path) -> None:
    """Locks have hashes and no index, so that any mirror installs exactly the locked bytes."""
    for lock in sorted((root / "locks").glob("*.txt")):
        text = lock.read_text()
        assert "://" not in text, lock.name
        pins = [
            block
            for block in text.split("\n")
            if "==" in block and not block.startswith(("#", " "))
        ]
        assert pins, lock.name
        assert all(pin.endswith("\\") for pin in pins), f"{lock.name}: an entry has no hash"


def test_the_smaller_locks_agree_with_the_whole(root: Path) -> None:
    """The smaller locks have the versions of the whole.

    `./run test` after `./run demo` would otherwise change the demo's packages.
    """
    whole = _pins(root / "locks" / "dev.txt")
    for name in ("run", "worker"):
        assert _pins(root / "locks" / f"{name}.txt") <= whole


def _pins(lock: Path) -> set[str]:
    return {
        line.split(" ")[0]
        for line in lock.read_text().splitlines()
        if "==" in line and line[0] not in "# "
    }


@pytest.mark.parametrize(("profile", "tried"), [("quick", 60), ("suite", 300), ("search", 300)])
def test_only_the_quick_profile_tries_fewer_examples(profile: str, tried: int) -> None:
    """`./run test PATH` and `--all` try all examples of every property."""
    before = settings.get_current_profile_name()
    settings.load_profile(profile)
    try:
        assert examples(300) == tried
        assert (settings().max_examples < 100) is (profile == "quick")
    finally:
        settings.load_profile(before)
