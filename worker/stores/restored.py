"""A store that was restored from a copy.

An operator marks it, and a sweep finds the messages that may have been sent since the copy.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final

from sendwindow.timestamps import from_ms, to_ms
from worker.ports.restored import Restoring
from worker.stores.lanes import lane_names
from worker.stores.person_digests import PersonDigests
from worker.stores.script_runner import ScriptRunner, compact
from worker.stores.worker_scripts import worker_script

_RESTORING: Final = worker_script("restoring")
_SWEEP: Final = worker_script("sweep")

# Unknown attempts come first, because messages of the other lists become unknown.
_LISTS: Final = ("unknown", "leases", "suspects")


class RestoredStore:
    """Marks a restored store, and sweeps it.

    The sweep moves open messages to stage `unknown`, so that workers look for them.
    """

    def __init__(self, calls: ScriptRunner, digests: PersonDigests) -> None:
        self._calls = calls
        self._digests = digests

    async def read(self) -> Restoring:
        """Return the mark. Raises redis-py's errors."""
        return _restoring(await self._calls.run(_RESTORING, ["read", ""]))

    async def begin(self, copied_at: datetime | None) -> Restoring:
        """Mark the store, unless it is marked, a process is alive, or it shows no life sign.

        `copied_at` None: the last life sign in the store. Raises what `ScriptRunner.run_durably`
        raises.
        """
        instant = to_ms(copied_at) if copied_at else ""
        return _restoring(await self._calls.run_durably(_RESTORING, ["begin", instant]))

    async def end(self) -> None:
        """End the mark, so that workers claim. Raises what `ScriptRunner.run_durably` raises."""
        await self._calls.run_durably(_RESTORING, ["end", ""])

    async def sweep(self, listings: Mapping[str, str]) -> AsyncIterator[int]:
        """Move messages that may have been sent since the copy to stage `unknown`.

        It works in bounded steps and yields how many messages each step moved. `listings`: sender →
        which of Twilio's lists shows its messages.
        """
        lanes = await lane_names(self._calls)
        blocks = (self._digests.inner, self._digests.outer)
        for place in (*_LISTS, *lanes):
            start = 0
            while start >= 0:
                asked = compact({"list": place, "start": start, "listings": listings})
                start, moved = await self._calls.run_durably(_SWEEP, [asked, *blocks])
                yield int(moved)


def _restoring(answer: Any) -> Restoring:
    copied, _restored, alive, living = answer
    return Restoring(_instant(copied), _instant(alive), int(living))


def _instant(value: bytes) -> datetime | None:
    return from_ms(int(value)) if value else None
