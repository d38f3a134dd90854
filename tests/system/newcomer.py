"""A newcomer's machine: a user who is not root, few programs, and misleading variables in the
shell.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UID: Final = 54_321
"""A user the system does not know."""

SYSTEM_PYTHON: Final = Path("/usr/bin/python3")

SHELL_TOOLS: Final = (
    "cat",
    "cmp",
    "dirname",
    "env",
    "flock",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sh",
    "tail",
)
"""All programs that `./run` may need besides Python: no make, no compiler, no git."""

REACHING_AN_INDEX: Final = ("CERT", "CERT_FILE", "INDEX", "INDEX_URL", "PROXY", "CA_BUNDLE")

LEAKED: Final = {
    "PIP_USER": "1",
    "PYTHONPATH": "/nowhere",
    "REDIS_URL": "redis://127.0.0.1:1",
    "VIRTUAL_ENV": "/nowhere",
}
"""Variables of a developer's shell that no command may believe."""

LEFT_OUT: Final = (
    ".git",
    ".venv*",
    ".data",
    "dist",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".coverage*",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A fresh user's home with a clean checkout. `bin` is the whole PATH and has no Python yet."""

    home: Path

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    @property
    def checkout(self) -> Path:
        return self.home / "sendwindow"

    def fill(self, root: Path) -> None:
        """Fill the home folder with a clean copy of `root` and a shell."""
        self.bin.mkdir()
        (self.home / "tmp").mkdir()
        shutil.copytree(root, self.checkout, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self.link(*(Path(shutil.which(name) or f"/missing/{name}") for name in SHELL_TOOLS))
        self.own()

    def link(self, *programs: Path) -> None:
        """Put programs on the PATH."""
        for program in programs:
            (self.bin / program.name).symlink_to(program)

    def own(self) -> None:
        """Give the newcomer ownership of everything in the home folder."""
        if os.geteuid() == 0:
            for path in [self.home, *self.home.rglob("*")]:
                os.chown(path, UID, UID, follow_symlinks=False)

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Type `./run …` in the checkout."""
        kept = {
            name: text
            for name, text in os.environ.items()
            if name.upper().endswith(REACHING_AN_INDEX)
        }
        here = {"HOME": str(self.home), "PATH": str(self.bin), "TMPDIR": str(self.home / "tmp")}
        return subprocess.Popen(
            [*self._lowered(), str(self.checkout / "run"), *arguments],
            cwd=self.checkout,
            env={**kept, **LEAKED, **here, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """Run `./run …` in the checkout, and return its exit code and output."""
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=900)
        return process.returncode, out + err

    @staticmethod
    def _lowered() -> list[str]:
        # A developer who runs this without being root is a newcomer already.
        if os.geteuid() != 0:
            return []
        return [
            shutil.which("setpriv") or "setpriv",
            f"--reuid={UID}",
            f"--regid={UID}",
            "--clear-groups",
        ]


def add_python(prefix: Path) -> None:
    """Build Debian's Python without python3-venv and python3-pip, in `prefix`/bin and /lib."""
    assert SYSTEM_PYTHON.exists(), "apt install python3 python3-pip, then run again"
    ask = (
        "import os, sys; "
        "print(os.path.realpath(sys.executable)); print(os.path.dirname(os.__file__))"
    )
    answer = subprocess.run(
        [SYSTEM_PYTHON, "-I", "-c", ask], capture_output=True, text=True, check=True
    ).stdout
    program, library = map(Path, answer.split())
    copied = prefix / "lib" / library.name
    copied.mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name != "ensurepip":
            (copied / entry.name).symlink_to(entry)
    # A copy, not a link: Python finds its library next to the program that it really is.
    shutil.copy(program, prefix / "bin" / "python3")


def add_pip(prefix: Path, packages: Path | None = None) -> None:
    """Add pip to that Python: the one of the package python3-pip, or of the folder `packages`."""
    packages = packages or SYSTEM_PYTHON.parent.parent / "lib" / "python3" / "dist-packages"
    assert (packages / "pip").is_dir(), "apt install python3-pip, then run again"
    (prefix / "lib" / "python3").mkdir()
    (prefix / "lib" / "python3" / "dist-packages").symlink_to(packages)
