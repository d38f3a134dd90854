"""Imports: the contract needs no Redis library, and the package itself needs no library at all."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sendwindow", ["redis", "pydantic", "asyncio"]),
        ("policies", ["redis", "pydantic", "asyncio"]),
        ("sendwindow.vocabulary", ["redis", "pydantic", "asyncio"]),
        ("sendwindow.addresses", ["redis", "pydantic", "asyncio", "socket"]),
        ("sendwindow.contract", ["redis", "arq"]),
        ("sendwindow.codec", ["redis", "arq"]),
        ("sendwindow.message_errors", ["redis", "pydantic"]),
        ("sendwindow.errors", ["redis", "arq"]),
        ("sendwindow.producer", ["arq", "worker", "policies"]),
        ("sendwindow.sync", ["arq", "worker", "policies"]),
    ],
)
def test_a_module_loads_no_more_than_it_says(module: str, absent: list[str], root: Path) -> None:
    """In a fresh interpreter a module loads no more than it says."""
    assert loaded_of(absent, f"import {module}", root) == []


@pytest.mark.parametrize(
    ("names", "loaded"),
    [
        ("Purpose, Stage", []),
        ("SendMessage, Freeform, Template", ["pydantic"]),
        ("Producer", ["pydantic", "redis"]),
    ],
)
def test_a_name_of_the_package_loads_only_its_module(
    names: str, loaded: list[str], root: Path
) -> None:
    """`from sendwindow import …` loads redis only for a producer."""
    assert (
        loaded_of(["pydantic", "redis", "arq"], f"from sendwindow import {names}", root) == loaded
    )


def loaded_of(modules: list[str], statement: str, root: Path) -> list[str]:
    """Return the modules that a statement loads in a fresh interpreter."""
    probe = (
        f"import sys\n{statement}\n"
        f"print(' '.join(name for name in {modules!r} if name in sys.modules))"
    )
    command = [sys.executable, "-c", probe]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()
