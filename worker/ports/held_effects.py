"""Effects of errors about persons that are held until an operator decides."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class HeldEffectsPort(Protocol):
    """Counts the effects about persons that are held until an operator decides.

    `Store.held` implements it.
    """

    async def waiting(self, senders: Sequence[str]) -> Mapping[str, int]:
        """Return how many effects are held for each sender. Senders without any are left out."""
        ...
