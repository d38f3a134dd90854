"""How many examples a property tries: all, or a few under the profile `quick`."""

from typing import Final

from hypothesis import settings

QUICK: Final = "quick"
"""The profile of `./run test`. Any other profile tries every example."""

QUICK_EXAMPLES: Final = 25
"""Examples under `quick` for a property without a number of its own."""

_QUICK_SHARE: Final = 5
"""Under `quick`, a property with a number tries this fraction of it."""


def examples(full: int) -> int:
    """Return how many examples to try of a property whose full depth is `full`."""
    return max(full // _QUICK_SHARE, 5) if settings.get_current_profile_name() == QUICK else full
