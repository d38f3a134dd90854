"""Says loudly that errors about persons were too many to be believed, and that an operator has to look."""

from collections.abc import Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from worker.ports import Held


class AsideWatch:
    """Looks at what is kept aside for each sender; logs what has grown since this worker looked last."""

    def __init__(self, held: Held, senders: Sequence[str], log: FilteringBoundLogger) -> None:
        self._held = held
        self._senders = senders
        self._log = log
        self._told: Mapping[str, int] = {}

    async def turn(self) -> int:
        """Look once. Raises what the store raises."""
        waiting = await self._held.waiting(self._senders)
        for sender, many in waiting.items():
            if many > self._told.get(sender, 0):
                self._log.error(
                    "effects_held",
                    sender=sender,
                    waiting=many,
                    remedy="so many attempts failed with errors about persons that what they teach is kept aside; "
                    "find the cause, then apply or discard it with `contact held`",
                )
        self._told = waiting
        return 0
