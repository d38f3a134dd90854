"""A small module with one importer has to know something of its own."""

import ast
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MAX_LINES: Final = 40

KEPT: Final[Mapping[str, str]] = {
    "worker.pipeline.charges": "what a message costs; neither decisions nor attempts know segments",
    "worker.cli.settings_drift": "the one rule for what a command says about other processes",
    "worker.pipeline.breaker_questions": "asks Twilio; the dispatcher only says when",
    "worker.ports.processes": "the values of a port; its adapter is in stores",
    "worker.runtime.garbage": "how a process collects garbage is no business of what it serves",
    "worker.stores.breakers": "one store of the partition; Store opens them all",
    "worker.stores.inbound_coverage": "one store of the partition; Store opens them all",
    "worker.stores.spellings_lua": "writes Lua; the script runner must not know the rules",
}
"""Modules that stay apart, each with the reason."""


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_a_small_module_with_one_importer_has_a_reason(root: Path) -> None:
    """A module of at most 40 lines that one module imports is merged into it, or is listed here
    with a reason.
    """
    paths = [
        path
        for package in ("sendwindow", "policies", "worker")
        for path in (root / package).rglob("*.py")
        if not path.name.startswith("__")
    ]
    names = {path: ".".join(path.relative_to(root).with_suffix("").parts) for path in paths}
    importers: defaultdict[str, set[str]] = defaultdict(set)
    for path, name in names.items():
        for imported in _imports(path):
            importers[imported].add(name)
    small = {
        name
        for path, name in names.items()
        if len(importers[name]) == 1 and len(path.read_text("utf-8").splitlines()) <= MAX_LINES
    }
    assert len(names) > len(small)
    assert small - KEPT.keys() == set()
