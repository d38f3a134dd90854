"""Writes the hashed requirements files, and tells whether they still fit pyproject.toml.

Standard library only.

`./run lock` needs a package index; `python locks/lock.py --check` needs nothing.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MARK: Final = "# pyproject dependencies: sha256:"

PROJECT: Final = ["pyproject.toml", "--extra", "worker"]

LOCKS: Final = {
    "dev": ([*PROJECT, "--extra", "embedded", "--extra", "dev"], ""),
    "run": ([*PROJECT, "--extra", "embedded", "--constraint", "locks/dev.txt"], ""),
    "worker": ([*PROJECT, "--constraint", "locks/dev.txt"], ""),
    "docs": (["-"], "furo\nmyst-parser\nsphinx"),
    "newest-redis": (["-"], "redis>5"),
    "uv": (["-"], "uv"),
    "system": (["-"], "check-jsonschema\nhadolint-bin\nshellcheck-py\nuv\nyamllint"),
}
"""What each file contains: arguments for uv, and requirements that are in no extra.

`dev` is everything. `run` is what the demo and the service need. `worker` is what the image
carries, without the embedded store. Both use the versions of `dev`, so that each can be installed
on top of another. A producer must work with redis-py 5, which arq requires, and with
`newest-redis`, which `./run` installs separately. `docs` builds the site of `./run docs` in an
environment of its own. `uv` writes these files where no uv is installed. `system` holds the tools
of `./run test --system`.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a file is out of date"
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases that fit")
    arguments = parser.parse_args()
    digest = dependencies_digest(ROOT / "pyproject.toml")
    if arguments.check:
        return check(digest)
    uv = shutil.which("uv")
    if uv is None:
        print("Locking needs uv. Call it as `./run lock`, which installs one.", file=sys.stderr)
        return 1
    for name, (wanted, requirements) in LOCKS.items():
        write(
            uv, name, [*wanted, *(["--upgrade"] if arguments.upgrade else [])], requirements, digest
        )
    return 0


def dependencies_digest(pyproject: Path) -> str:
    """Return the digest of everything that decides the locks, and of nothing else.

    A changed lint rule must not make them stale.
    """
    content = tomllib.loads(pyproject.read_text())
    project = content["project"]
    wanted = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        LOCKS,
    ]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


def check(digest: str) -> int:
    stale = [
        name
        for name in LOCKS
        if not (ROOT / "locks" / f"{name}.txt").read_text().startswith(MARK + digest)
    ]
    for name in stale:
        print(f"locks/{name}.txt does not fit pyproject.toml. Run ./run lock", file=sys.stderr)
    return 1 if stale else 0


def write(uv: str, name: str, arguments: list[str], requirements: str, digest: str) -> None:
    path = ROOT / "locks" / f"{name}.txt"
    # fmt: off
    command = [
        uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
        "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header",
        "--annotation-style", "line",
        "--output-file", str(path),
        *arguments,
    ]
    # fmt: on
    subprocess.run(command, cwd=ROOT, check=True, text=True, input=requirements)
    locked = path.read_text()
    path.write_text(
        f"{MARK}{digest}\n"
        "# Written by ./run lock; installs with uv and with pip --require-hashes.\n"
        f"{locked}"
    )


if __name__ == "__main__":
    sys.exit(main())
