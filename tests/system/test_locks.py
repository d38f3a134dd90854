"""`./run` with locks: old and new installers, a newer index, and incomplete locks."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.system.newcomer import SYSTEM_PYTHON, Machine, add_pip, add_python
from tests.system.tiny_index import Release, lock, served

LEAF: Final = Release("demo-leaf", "1.0")
LEAF_NEWER: Final = Release("demo-leaf", "2.0")
BASE: Final = Release("demo-base", "1.0", extras={"leaf": ["demo-leaf"]})
BASE_NEWER: Final = Release("demo-base", "1.1", extras={"leaf": ["demo-leaf"]})
APP: Final = Release("demo-app", "1.0", requires=["demo-base[leaf]>=1"])
INDEX: Final = (APP, BASE, BASE_NEWER, LEAF, LEAF_NEWER)
"""An index with newer releases than the lock (app, base and leaf, each 1.0) names."""

PIPS: Final = {
    "the pip of Python 3.11.0": "pip==22.3",
    "a pip that resolves extras to newer releases": "pip==23.2.1",
    "the newest pip": "pip",
}

INSTALLERS: Final = [*PIPS, "uv", "the pip of a venv"]

each_installer = pytest.mark.parametrize("equipped", INSTALLERS, indirect=True)
each_wording = pytest.mark.parametrize("equipped", [*list(PIPS)[1:], "uv"], indirect=True)
"""Installers whose texts about a failure differ, or may differ later."""


@pytest.fixture(scope="session")
def pips(place: Path) -> dict[str, Path]:
    """Return folders with one pip each, from the real index."""
    folders: dict[str, Path] = {}
    for number, (name, requirement) in enumerate(PIPS.items()):
        folders[name] = place / f"pip-{number}"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            folders[name],
        ]
        subprocess.run([*command, requirement], check=True, timeout=120)
    return folders


@pytest.fixture
def equipped(
    request: pytest.FixtureRequest, machine: Machine, pips: dict[str, Path], tools: Path
) -> Machine:
    """Yield a newcomer's machine with one installer.

    The installer is a pip outside a bare environment, uv, or the pip of a venv.
    """
    if request.param in pips:
        add_python(machine.home)
        add_pip(machine.home, pips[request.param])
    elif request.param == "uv":
        add_python(machine.home)
        machine.link(tools / "uv")
    else:
        machine.link(SYSTEM_PYTHON)
    machine.own()
    return machine


def install(machine: Machine, text: str, *releases: Release) -> tuple[int, str]:
    """Install locks/run.txt with this text from an index with these releases."""
    (machine.checkout / "locks" / "run.txt").write_text(text)
    with served(*releases) as url:
        return machine.run(
            "lock", "--help", PIP_INDEX_URL=url, UV_DEFAULT_INDEX=url, PIP_FIND_LINKS=""
        )


def installed(machine: Machine) -> set[str]:
    found = (machine.checkout / ".venv").glob("lib/python3*/site-packages/demo_*.dist-info")
    return {folder.name.removesuffix(".dist-info") for folder in found}


@each_installer
def test_a_lock_installs_as_written_while_newer_releases_exist(equipped: Machine) -> None:
    """Exactly the locked releases are installed, extras included, whatever the index has."""
    code, text = install(equipped, lock(APP, BASE, LEAF), *INDEX)
    assert code == 0, text
    assert installed(equipped) == {"demo_app-1.0", "demo_base-1.0", "demo_leaf-1.0"}


@each_installer
def test_a_lock_that_forgot_a_package_is_refused(equipped: Machine) -> None:
    """A lock without a required package is refused, and the error names both packages."""
    code, text = install(equipped, lock(APP, LEAF), *INDEX)
    assert code == 1
    assert "run: demo-app requires demo-base" in text
    assert "which locks/run.txt does not name." in text
    assert "./run lock" in text
    assert not list((equipped.checkout / ".venv").glob("stamp*"))


@each_wording
def test_a_lock_that_contradicts_itself_is_refused(equipped: Machine) -> None:
    """A version that contradicts another package is refused, with the version asked for."""
    needy = Release("demo-needy", "1.0", requires=["demo-leaf>=1.5"])
    code, text = install(equipped, lock(needy, LEAF), needy, *INDEX)
    assert code == 1
    assert "run: demo-needy requires demo-leaf>=1.5, but locks/run.txt names" in text


@each_wording
def test_bytes_that_were_not_locked_are_refused(equipped: Machine) -> None:
    """A file with another hash is named and not installed."""
    other = Release("demo-leaf", "1.0", requires=["demo-base"])
    code, text = install(equipped, lock(APP, BASE, other), *INDEX)
    assert code == 1
    assert (
        "run: demo-leaf==1.0: the index served a file whose hash is not in locks/run.txt." in text
    )
    assert "demo_leaf-1.0" not in installed(equipped)


@each_wording
def test_a_lock_without_a_hash_is_refused(equipped: Machine) -> None:
    """An entry without a hash is named, because any file would satisfy it."""
    code, text = install(equipped, f"{lock(APP, BASE)}demo-leaf==1.0\n", *INDEX)
    assert code == 1
    assert "run: demo-leaf==1.0: locks/run.txt has no hash for it." in text


@each_wording
@pytest.mark.parametrize(
    "releases",
    [
        pytest.param((APP, BASE, LEAF_NEWER), id="the release is gone"),
        pytest.param((APP, BASE), id="the package is gone"),
    ],
)
def test_a_release_that_the_index_lacks_is_named(
    equipped: Machine, releases: tuple[Release, ...]
) -> None:
    """A release that the index lacks is named, and the index is not blamed."""
    code, text = install(equipped, lock(APP, BASE, LEAF), *releases)
    assert code == 1
    assert "run: demo-leaf" in text
    assert "the package index has no such release" in text
    assert "cannot be reached" not in text


@each_wording
def test_an_index_that_does_not_answer_is_called_so(equipped: Machine) -> None:
    """If the index does not answer, the error names package, cause, and how to set a mirror or a
    proxy.
    """
    (equipped.checkout / "locks" / "run.txt").write_text(lock(APP))
    nowhere = "http://127.0.0.1:9/simple"
    code, text = equipped.run("lock", "--help", PIP_INDEX_URL=nowhere, UV_DEFAULT_INDEX=nowhere)
    assert code == 1
    assert "run: demo-app" in text
    assert "the package index cannot be reached." in text
    for remedy in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTPS_PROXY"):
        assert remedy in text
    assert not list((equipped.checkout / ".venv").glob("stamp*"))
