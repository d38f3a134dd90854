"""What the system tests share: tools outside the project, and a newcomer's machine."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.newcomer import Machine, add_pip, add_python


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """Yield a folder that other users may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="sendwindow-system-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def tools(place: Path, root: Path) -> Path:
    """Return the folder with the programs of locks/system.txt, in an environment of their own."""
    environment = place / "tools"
    made = subprocess.run(
        [sys.executable, "-m", "venv", environment],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, f"apt install python3-venv, then run again:\n{made.stdout}"
    pip: list[str | Path] = [environment / "bin" / "python", "-m", "pip"]
    lock: list[str | Path] = [
        "--no-deps",
        "--require-hashes",
        "--requirement",
        root / "locks" / "system.txt",
    ]
    subprocess.run([*pip, "install", "--quiet", *lock], check=True, timeout=300)
    subprocess.run([*pip, "check"], check=True, timeout=60)
    return environment / "bin"


@pytest.fixture
def machine(place: Path, root: Path) -> Iterator[Machine]:
    """Yield a fresh user with a clean checkout and a shell, without Python."""
    home = Path(tempfile.mkdtemp(prefix="home-", dir=place))
    fresh = Machine(home)
    fresh.fill(root)
    yield fresh
    shutil.rmtree(home)


@pytest.fixture
def bare(machine: Machine) -> Machine:
    """Put Debian's Python without venv and pip on the newcomer's PATH."""
    add_python(machine.home)
    machine.own()
    return machine


@pytest.fixture
def bare_with_pip(bare: Machine) -> Machine:
    """Add the package python3-pip: Debian 12 after `apt install python3-pip` without
    recommendations.
    """
    add_pip(bare.home)
    return bare
