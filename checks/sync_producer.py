"""Writes `sendwindow/sync.py`, the blocking twin of `sendwindow/producer.py`.

    .venv/bin/python -m checks.sync_producer [--check]

`./run fmt` writes the twin. `./run check` runs this with `--check`, which writes nothing and fails
if the twin is stale. Each replacement must match, so a change of the producer that the twin cannot
follow fails here and not in a backend.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "sendwindow" / "producer.py"
TWIN: Final = ROOT / "sendwindow" / "sync.py"

DROPPED: Final = ("_stay_home", "_each")
"""Functions that only the asyncio producer has. Lines that call them as a statement go as well."""

TEXTS: Final = (
    (
        "The producer for asyncio backends: queues messages, reads their status and cancels them.",
        "The producer for backends without asyncio, such as Django, Flask and Celery.",
    ),
    (
        "`sync.py` is its blocking twin, which `./run fmt` writes from this file.",
        "`./run fmt` writes this file from its twin `producer.py`: edit only that one.",
    ),
    (
        "It belongs to the event loop of\n    its first call. A call in another loop or after a",
        "Threads may share it. After a\n    fork, each process opens its own connections.",
    ),
    (" fork raises OtherLoop.\n", "\n"),
    ("import asyncio\n", "import time\n"),
    ("        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None\n", ""),
    ("Iterable[Message] | AsyncIterable[Message]", "Iterable[Message]"),
    ("_each(protocol.many(messages))", "protocol.many(messages)"),
    ("asyncio.sleep", "time.sleep"),
)
"""Texts of the producer, and what the twin says instead."""

PATTERNS: Final = (
    (r"\basync (def|for|with) ", r"\1 "),
    (r"\bawait ", ""),
    (r"Awaitable\[(\w+)\]", r"\1"),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"\b(connect|disconnect|execute_together)\b(?=[(,]| *$)", r"\1_sync"),
    (r"protocol\.(ENQUEUE|CANCEL|CAMPAIGN)\(", r"protocol.\1.run_sync("),
)
"""Patterns of the producer, and what the twin says instead."""


class StaleError(Exception):
    """The producer no longer has something that this generator replaces."""


def main(arguments: list[str]) -> int:
    """Write or check the twin. Return 1 if `--check` finds it stale."""
    twin = to_sync(SOURCE.read_text("utf-8"))
    if "--check" not in arguments:
        TWIN.write_text(twin, "utf-8")
    elif TWIN.read_text("utf-8") != twin:
        print(f"{TWIN.relative_to(ROOT)} is not what {SOURCE.name} makes; run ./run fmt")
        return 1
    return 0


def to_sync(source: str) -> str:
    """Return the blocking twin of an asyncio module. Raises StaleError."""
    text = _without_dropped(source)
    for old, new in TEXTS:
        if old not in text:
            raise StaleError(f"the producer has no {old!r}; correct TEXTS in {Path(__file__).name}")
        text = text.replace(old, new)
    for pattern, new in PATTERNS:
        text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
        if not count:
            raise StaleError(f"the producer has no {pattern!r}; correct PATTERNS")
    # Imports that only the asyncio producer needs go, and the others are sorted again.
    for command in (["check", "--fix-only", "--select", "F401,I"], ["format"]):
        text = _ruff([*command, "--quiet", "--stdin-filename", str(TWIN), "-"], text)
    if left := re.search(r"\b(?:async|await|asyncio\.)\b", _without_docstrings(text)):
        raise StaleError(f"the twin still has {left[0]!r}; correct PATTERNS")
    return text


def _without_dropped(source: str) -> str:
    lines = source.splitlines(keepends=True)
    gone: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in DROPPED:
            gone.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute)
            and node.value.func.attr in DROPPED
        ):
            gone.add(node.lineno)
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def _without_docstrings(text: str) -> str:
    return re.sub(r'""".*?"""', "", text, flags=re.DOTALL)


def _ruff(arguments: list[str], text: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments]
    return subprocess.run(
        command, cwd=ROOT, input=text, capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
