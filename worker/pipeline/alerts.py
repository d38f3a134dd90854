"""Logs errors about what waits for an operator: held effects, and suspected stops that wait long.

Neither ends by itself.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from worker.ports.effects import HeldEffectsPort
from worker.runtime import clock

MAX_WAIT: Final = timedelta(days=1)
AGAIN_SECONDS: Final = 3600.0


class Waits(Protocol):
    """The part of the store's records that the alert needs."""

    async def suspected_for(self) -> timedelta | None:
        """Return how long the oldest suspected stop has waited, None when there is none."""
        ...


class SuspectedStopAlert:
    """Logs an error once an hour while a suspected stop is older than a day."""

    def __init__(self, waits: Waits, log: FilteringBoundLogger) -> None:
        self._waits = waits
        self._log = log
        self._told_at = float("-inf")

    async def turn(self) -> int:
        """Check once. Returns 0, because there is never more to do at once."""
        if clock.monotonic() - self._told_at < AGAIN_SECONDS:
            return 0
        waited = await self._waits.suspected_for()
        if waited is not None and waited > MAX_WAIT:
            self._told_at = clock.monotonic()
            self._log.error(
                "suspected_stop_waits",
                hours=int(waited.total_seconds() // 3600),
                remedy="decide it: `consent suspected` lists what may mean stop; "
                "marketing to them is held",
            )
        return 0


class HeldEffectsAlert:
    """Checks the held effects of each sender, and logs those that grew since its last check.

    Effects are held when there were too many errors about persons to believe them.
    """

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
                    remedy="so many attempts failed with errors about persons that their effects "
                    "are held; find the cause, then apply or discard them with `contact held`",
                )
        self._told = waiting
        return 0
