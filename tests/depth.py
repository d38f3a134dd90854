"""How many examples a property tries: all of them, or under the profile `quick` a few."""

from typing import Final

from hypothesis import settings

QUICK: Final = "quick"
"""The profile of `./run test`. Any other profile tries every example."""

QUICK_EXAMPLES: Final = 25
"""Examples under `quick` of a property that names no number of its own."""

_QUICK_SHARE: Final = 5
"""A property that names a number tries one in so many under `quick`."""


def examples(full: int) -> int:
    """Return how many examples to try of a property whose full depth is `full`."""
    return max(full // _QUICK_SHARE, 5) if settings.get_current_profile_name() == QUICK else full
