"""`./run docs`: writes the generated parts of docs/. With `--check` it fails when one is stale."""

import argparse
import re
import sys
from pathlib import Path
from typing import Final

from docgen.parts import ROOT, DocsError, part

FILES: Final = (
    "docs/architecture.md",
    "docs/commands.md",
    "docs/decision-table.md",
    "docs/decisions/README.md",
    "docs/events.md",
    "docs/reasons.md",
    "docs/settings.md",
)
"""The pages that have generated parts."""

_PART: Final = re.compile(r"(<!-- generated: ([a-z_ ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def main(argv: list[str]) -> int:
    """Write the parts, or check them. Returns 1 when a part is stale or cannot be generated."""
    parser = argparse.ArgumentParser(prog="./run docs", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when a generated part is stale"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    try:
        stale = refresh(arguments.root, write=not arguments.check)
    except DocsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if stale:
        print(("stale: " if arguments.check else "written: ") + ", ".join(stale))
    if stale and arguments.check:
        sys.stderr.write("error: Run `./run docs` and commit what it writes.\n")
        return 1
    return 0


def refresh(root: Path, *, write: bool) -> list[str]:
    """Return the names of the stale pages, and write them again if `write`. Raises DocsError."""
    stale = []
    for name in FILES:
        path = root / name
        before = path.read_text("utf-8")
        after = generated(before)
        if after == before:
            continue
        stale.append(name)
        if write:
            path.write_text(after, "utf-8")
    return stale


def generated(text: str) -> str:
    """Return a page with every generated part replaced.

    Raises DocsError for a part that cannot be generated.
    """
    return _PART.sub(lambda match: f"{match[1]}{part(match[2]).strip()}\n{match[4]}", text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
