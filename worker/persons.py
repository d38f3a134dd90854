"""The spellings of addresses that name one person, read once from the policy data, for whoever needs no other rule."""

import tomllib
from importlib import resources
from typing import Final

from policies.spellings import FILES, Spellings, parse_spellings

_FOLDER: Final = resources.files("policies") / "data"

SPELLINGS: Final[Spellings] = parse_spellings(
    {name: tomllib.loads((_FOLDER / name).read_text("utf-8")) for name in FILES}
)
"""What every process of this release goes by: the keys of persons follow from it, so no setting changes it."""
