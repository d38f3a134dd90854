"""`./run release`: builds wheel and sdist, checks both, and sets the tag. A dry run sets no tag."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from release.artifacts import faults_of_sdist, faults_of_wheel, is_reserved
from release.readiness import Candidate, GitFailedError, examine, git

ROOT: Final = Path(__file__).resolve().parents[1]


def main() -> int:
    """Release, or print what is missing. Returns 1 when something is missing, and 0 otherwise."""
    parser = argparse.ArgumentParser(prog="./run release", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="build and check, and set no tag")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    root: Path = arguments.root
    try:
        candidate = examine(root)
        if candidate.faults and not arguments.dry_run:
            return _refuse(candidate)
        wheel, sdist = build(root, candidate.version)
        faults = list(check(wheel, sdist, candidate.version))
        if faults:
            return _say("These files must not be released:", faults)
        print(f"built and checked: {wheel.relative_to(root)}, {sdist.relative_to(root)}")
        _warn_of_urls(root)
        if candidate.faults:
            return _refuse(candidate)
        if arguments.dry_run:
            print(f"A release would set the tag {candidate.tag}.")
        else:
            tag(root, candidate)
            print(f"The tag {candidate.tag} is set. Nothing was uploaded and nothing was pushed.")
    except GitFailedError as error:
        return _say("A release needs git:", [str(error)])
    return 0


def build(root: Path, version: str) -> tuple[Path, Path]:
    """Build wheel and sdist into dist/ and return their paths.

    The same commit gives the same bytes.
    """
    folder = root / "dist"
    _hatchling(root, root, "-d", str(folder))
    return (
        folder / f"sendwindow-{version}-py3-none-any.whl",
        folder / f"sendwindow-{version}.tar.gz",
    )


def check(wheel: Path, sdist: Path, version: str) -> list[str]:
    """Return what is wrong with the files, and with the wheel that the sdist builds."""
    faults = [f"{wheel.name}: {fault}" for fault in faults_of_wheel(wheel, version)]
    faults += [f"{sdist.name}: {fault}" for fault in faults_of_sdist(sdist, version)]
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(sdist, folder)
        unpacked = Path(folder, f"sendwindow-{version}")
        _hatchling(wheel.parents[1], unpacked, "-t", "wheel", "-d", folder)
        if Path(folder, wheel.name).read_bytes() != wheel.read_bytes():
            faults.append(f"{sdist.name}: it builds another wheel than the checkout does")
    return faults


def tag(root: Path, candidate: Candidate) -> None:
    """Set an annotated tag whose text is the version's section of the changelog."""
    text = f"Sendwindow {candidate.version}\n\n{candidate.notes}\n"
    # Otherwise git takes the headings of the changelog for comments, and removes them.
    git(root, "tag", "--annotate", "--cleanup=whitespace", "-m", text, candidate.tag)


def _hatchling(checkout: Path, folder: Path, *options: str) -> None:
    # Archives date their files with the commit's time, so that a build can be repeated bit for bit.
    environ = os.environ | {"SOURCE_DATE_EPOCH": git(checkout, "log", "-1", "--format=%ct")}
    command = [sys.executable, "-m", "hatchling", "build", *options]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"The build failed:\n{done.stdout}{done.stderr}")


def _warn_of_urls(root: Path) -> None:
    urls = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    if any(is_reserved(url) for url in urls.values()):
        print(
            "note: project.urls still names a reserved address. Set the real one before you "
            "upload these files."
        )


def _refuse(candidate: Candidate) -> int:
    return _say(f"Version {candidate.version} cannot be released:", candidate.faults)


def _say(heading: str, faults: list[str] | tuple[str, ...]) -> int:
    print("\n- ".join([heading, *faults]), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
