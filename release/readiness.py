"""Decides whether a checkout may be released: its version, its changelog, its tags and its tree."""

import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
_HEADING: Final = re.compile(
    r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?$", re.MULTILINE
)


class GitFailedError(Exception):
    """A git command failed.

    The folder is not a checkout, git is missing, or git knows no author.
    """


@dataclass(frozen=True, slots=True)
class Candidate:
    """What would be released. `faults`: what must be fixed first, each with its remedy."""

    version: str
    notes: str
    faults: tuple[str, ...]

    @property
    def tag(self) -> str:
        return f"v{self.version}"


def examine(root: Path) -> Candidate:
    """Return the candidate in a checkout. Raises GitFailedError."""
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    notes, faults = read_changelog((root / "CHANGELOG.md").read_text("utf-8"), version)
    if not _VERSION.fullmatch(version):
        faults.append(
            f"The version {version} is not of the form 1.2.3. Correct it in pyproject.toml."
        )
    if git(root, "status", "--porcelain"):
        faults.append(
            "The tree has changes that are not committed. Commit them, or take them back."
        )
    if git(root, "tag", "--list", f"v{version}"):
        faults.append(f"The tag v{version} exists already. Raise the version in pyproject.toml.")
    return Candidate(version, notes, tuple(faults))


def read_changelog(text: str, version: str) -> tuple[str, list[str]]:
    """Return what the changelog says about a version, and what is wrong with it."""
    heads = list(_HEADING.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    sections = {
        head["name"]: (head["date"], text[head.end() : end].strip())
        for head, end in zip(heads, ends, strict=True)
    }
    faults = []
    if sections.get("Unreleased", (None, ""))[1]:
        faults.append(
            f"CHANGELOG.md has entries under Unreleased. Move them under `## [{version}] - DATE`."
        )
    date, notes = sections.get(version, (None, ""))
    if not notes or date is None:
        faults.append(
            f"CHANGELOG.md has no section for {version}. Write a section "
            f"`## [{version}] - YYYY-MM-DD`."
        )
    return notes, faults


def git(root: Path, *arguments: str) -> str:
    """Return what a git command prints. Raises GitFailedError."""
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or error
        raise GitFailedError(f"`git {' '.join(arguments[:2])}` failed: {why}") from error
