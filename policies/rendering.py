"""Fills values into the approved text of a template, as the person will read it."""

import re
from collections.abc import Mapping
from typing import Final

_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
"""Matches `{{1}}` or `{{name}}`.

Source: Twilio, "Using variables with Content templates", read 2026-11-20.
"""


def placeholders(body: str) -> frozenset[str]:
    """Return the names of the variables in a template's body."""
    return frozenset(_PLACEHOLDER.findall(body))


def render(body: str, variables: Mapping[str, str]) -> str | None:
    """Return a template's body with its values filled in, or None if a placeholder has no value."""
    if placeholders(body) - variables.keys():
        return None
    return _PLACEHOLDER.sub(lambda found: variables[found[1]], body)
