"""The spellings of addresses that name one person, read once from the policy data.

It serves modules that need no other rule.
"""

import tomllib
from importlib import resources
from typing import Final

from policies.spellings import FILES, Spellings, parse_spellings

_FOLDER: Final = resources.files("policies") / "data"

SPELLINGS: Final[Spellings] = parse_spellings(
    {name: tomllib.loads((_FOLDER / name).read_text("utf-8")) for name in FILES}
)
"""The spellings that every process of this release uses.

The keys of persons depend on them, so no setting changes them.
"""
