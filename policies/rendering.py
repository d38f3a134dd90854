"""A template's approved text with its values filled in, as the person reads it."""

import re
from collections.abc import Mapping
from typing import Final

_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
"""`{{1}}` or `{{name}}` (Twilio, "Using variables with Content templates", read 2026-11-20)."""


def placeholders(body: str) -> frozenset[str]:
    """Return the names of the variables in a template's body."""
    return frozenset(_PLACEHOLDER.findall(body))


def render(body: str, variables: Mapping[str, str]) -> str | None:
    """Return a template's body with its values filled in, None when a placeholder has no value."""
    if placeholders(body) - variables.keys():
        return None
    return _PLACEHOLDER.sub(lambda found: variables[found[1]], body)
