"""Imports: the contract needs no Redis library, and the package itself needs no library at all."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("sendwindow", ["redis", "pydantic", "asyncio"]),
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
    probe = (
        f"import sys, {module}; "
        f"sys.exit(' '.join(name for name in {absent!r} if name in sys.modules) or None)"
    )
    command = [sys.executable, "-c", probe]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
