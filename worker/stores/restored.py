"""A store restored from a copy: marked by an operator, swept of what may have gone out since."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final

from sendwindow.instants import from_ms, to_ms
from worker.stores.calls import Calls, worker_script
from worker.stores.digests import Digests
from worker.stores.encoding import flat
from worker.values.restored import Restoring

_RESTORING: Final = worker_script("restoring")
_SWEEP: Final = worker_script("sweep", "restored", reads_addresses=True)

# Unknown attempts first: what the other lists hold becomes unknown.
_LISTS: Final = ("unknown", "leases", "suspects")


class RestoredStore:
    """Marks a restored store, and moves its open messages to where they are looked for."""

    def __init__(self, calls: Calls, digests: Digests) -> None:
        self._calls = calls
        self._digests = digests

    async def read(self) -> Restoring:
        """Return the mark. Raises redis-py's errors."""
        return _restoring(await self._calls.run(_RESTORING, ["read", ""]))

    async def begin(self, copied_at: datetime | None) -> Restoring:
        """Mark the store, unless it is marked, a process is alive, or it shows no life sign.

        `copied_at` None: the last life sign in the store. Raises what `Calls.run_durably` raises.
        """
        instant = to_ms(copied_at) if copied_at else ""
        return _restoring(await self._calls.run_durably(_RESTORING, ["begin", instant]))

    async def end(self) -> None:
        """End the mark, so that workers claim. Raises what `Calls.run_durably` raises."""
        await self._calls.run_durably(_RESTORING, ["end", ""])

    async def sweep(self, listings: Mapping[str, str]) -> AsyncIterator[int]:
        """Move what may have gone out since the copy to stage `unknown`, in bounded steps.

        `listings`: sender → which list at Twilio shows it. Yields how many each step moved.
        """
        keys, redis = self._calls.keys, self._calls.redis
        lanes: list[bytes] = [
            *await redis.zrange(keys.ready, 0, -1),
            *await redis.zrange(keys.timers, 0, -1),
        ]
        rest = [self._digests.inner, self._digests.outer, *flat(sorted(listings.items()))]
        for place in (*_LISTS, *(lane.decode() for lane in lanes)):
            start = 0
            while start >= 0:
                start, moved = await self._calls.run_durably(_SWEEP, [place, start, *rest])
                yield int(moved)


def _restoring(answer: Any) -> Restoring:
    copied, restored, alive, living = answer
    return Restoring(_instant(copied), _instant(restored), _instant(alive), int(living))


def _instant(value: bytes) -> datetime | None:
    return from_ms(int(value)) if value else None
