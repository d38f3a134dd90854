"""Logs an error when there were too many errors about persons to believe them.

Their effects are held, and an operator has to decide.
"""

from collections.abc import Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from worker.ports.held_effects import HeldEffectsPort


class HeldEffectsAlert:
    """Checks the held effects of each sender, and logs those that grew since its last check."""

    def __init__(
        self, held: HeldEffectsPort, senders: Sequence[str], log: FilteringBoundLogger
    ) -> None:
        self._held = held
        self._senders = senders
        self._log = log
        self._told: Mapping[str, int] = {}

    async def turn(self) -> int:
        """Check once. Raises what the store raises."""
        waiting = await self._held.waiting(self._senders)
        for sender, many in waiting.items():
            if many > self._told.get(sender, 0):
                self._log.error(
                    "effects_held",
                    sender=sender,
                    waiting=many,
                    remedy="so many attempts failed with errors about persons that what they "
                    "teach is kept aside; "
                    "find the cause, then apply or discard it with `contact held`",
                )
        self._told = waiting
        return 0
