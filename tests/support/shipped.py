"""The shipped rules and their data, read once."""

import tomllib
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from policies.ruleset import FILES, Ruleset, parse_ruleset

DATA = Path(__file__).resolve().parents[2] / "policies" / "data"


def shipped() -> dict[str, dict[str, Any]]:
    """Return the shipped data files as data that a test may change."""
    return deepcopy(_read())


@cache
def rules() -> Ruleset:
    """Return the rules without the settings' changes."""
    return parse_ruleset(_read())


@cache
def _read() -> dict[str, dict[str, Any]]:
    """Read the files once: to parse them takes longer than most tests."""
    return {name: tomllib.loads((DATA / name).read_text("utf-8")) for name in FILES}
