"""The rules as they ship, read once."""

import tomllib
from functools import cache
from pathlib import Path

from policies.rules import FILES, Rules, parse_rules

DATA = Path(__file__).resolve().parents[2] / "policies" / "data"


@cache
def rules() -> Rules:
    """Read the rules without what settings may change in them."""
    return parse_rules({name: tomllib.loads((DATA / name).read_text("utf-8")) for name in FILES})
