"""`./run` on newcomers' machines: each way to install, without root, from a real index."""

import os
import shutil
from pathlib import Path

import pytest

from tests.system.newcomer import SYSTEM_PYTHON, Machine

SOME_TESTS = ("test", "tests/worker/runtime/test_embedded_store.py", "--quiet")
"""Enough to show that all of locks/dev.txt is installed and that a real server starts."""

INSTALLING = "run: installing into .venv"


def environment_of(machine: Machine) -> tuple[bool, bool]:
    """Return which way an installation took: (made by uv, has a pip inside)."""
    settings = (machine.checkout / ".venv" / "pyvenv.cfg").read_text()
    pip = list((machine.checkout / ".venv").glob("lib/python3*/site-packages/pip"))
    return "uv = " in settings, bool(pip)


def assert_runs_tests_and_starts_warm(machine: Machine) -> None:
    code, text = machine.run(*SOME_TESTS)
    assert code == 0, text
    assert INSTALLING in text
    code, text = machine.run("test", "--version")
    assert code == 0, text
    assert INSTALLING not in text, "a second start must install nothing"


def test_with_uv(machine: Machine, tools: Path) -> None:
    """With uv on the PATH, uv installs everything for the Python that is there."""
    machine.link(SYSTEM_PYTHON, tools / "uv")
    assert_runs_tests_and_starts_warm(machine)
    assert environment_of(machine) == (True, False)


def test_with_the_venv_package(machine: Machine) -> None:
    """Without uv, Python's venv and its pip install everything."""
    machine.link(SYSTEM_PYTHON)
    assert_runs_tests_and_starts_warm(machine)
    assert environment_of(machine) == (False, True)


@pytest.mark.usefixtures("bare_with_pip")
def test_without_uv_and_without_the_venv_package(machine: Machine) -> None:
    """On a fresh Debian 12 the pip outside fills a bare environment, and its own packages stay
    unchanged.
    """
    assert_runs_tests_and_starts_warm(machine)
    assert environment_of(machine) == (False, False)


@pytest.mark.usefixtures("bare_with_pip")
def test_the_demo_on_a_fresh_debian(machine: Machine) -> None:
    """The README's first command works with only Python and pip, without root."""
    code, text = machine.run("demo")
    assert code == 0, text


def test_a_broken_uv_is_passed_over(machine: Machine) -> None:
    """A shim without a uv behind it, as version managers leave it, is passed over."""
    (machine.bin / "uv").write_text("#!/bin/sh\nexit 127\n")
    (machine.bin / "uv").chmod(0o755)
    machine.link(SYSTEM_PYTHON)
    code, text = machine.run("lock", "--help")
    assert code == 0, text
    assert environment_of(machine) == (False, True)


def test_two_commands_on_a_fresh_checkout_install_once(machine: Machine, tools: Path) -> None:
    """Two commands at once on a fresh checkout install one whole environment."""
    machine.link(SYSTEM_PYTHON, tools / "uv")
    both = [machine.start("lock", "--help") for _ in range(2)]
    texts = ["".join(process.communicate(timeout=300)) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert sum(INSTALLING in text for text in texts) == 1


def test_a_moved_or_interrupted_installation_is_made_again(machine: Machine, tools: Path) -> None:
    """An installation that was moved or interrupted is made again.

    Its stamp, written last, says where it is and what it holds.
    """
    machine.link(SYSTEM_PYTHON, tools / "uv")
    assert machine.run("lock", "--help")[0] == 0
    (machine.checkout / ".venv" / "stamp-run").unlink()
    code, text = machine.run("lock", "--help")
    assert (code, INSTALLING in text) == (0, True)

    machine.checkout.rename(machine.home / "moved")
    shutil.copytree(machine.home / "moved", machine.checkout, symlinks=True)
    shutil.rmtree(machine.home / "moved")
    machine.own()
    code, text = machine.run("lock", "--help")
    assert (code, INSTALLING in text) == (0, False), "the same place again: nothing to do"
    stamp = machine.checkout / ".venv" / "stamp-run"
    stamp.write_text("/elsewhere\n" + stamp.read_text().split("\n", 1)[1])
    code, text = machine.run("lock", "--help")
    assert (code, INSTALLING in text) == (0, True)


@pytest.mark.usefixtures("bare")
def test_with_neither_uv_nor_venv_nor_pip(machine: Machine) -> None:
    """Python alone cannot install, and the error names each remedy."""
    code, text = machine.run("demo")
    assert code == 1
    for remedy in ("apt install python3-venv", "apt install python3-pip", "docs.astral.sh/uv"):
        assert remedy in text


@pytest.mark.usefixtures("bare_with_pip")
def test_without_a_network(machine: Machine) -> None:
    """Without an index the error says how to name a mirror or a proxy, and the next run starts
    over.
    """
    code, text = machine.run("demo", PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert code == 1
    for remedy in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTPS_PROXY"):
        assert remedy in text
    assert not list((machine.checkout / ".venv").glob("stamp*"))


def test_a_checkout_that_is_not_ones_own(machine: Machine) -> None:
    """In a checkout without write permission the error says so first."""
    machine.link(SYSTEM_PYTHON)
    machine.checkout.chmod(0o555)
    if os.geteuid() == 0:
        os.chown(machine.checkout, 0, 0)
    code, text = machine.run("demo")
    machine.checkout.chmod(0o755)
    assert code == 1
    assert "Cannot write to" in text
