"""The shipped rules, read once."""

import tomllib
from functools import cache
from pathlib import Path

from policies.ruleset import FILES, Ruleset, parse_ruleset

DATA = Path(__file__).resolve().parents[2] / "policies" / "data"


@cache
def rules() -> Ruleset:
    """Return the rules without the settings' changes."""
    return parse_ruleset({name: tomllib.loads((DATA / name).read_text("utf-8")) for name in FILES})
