"""Sends callbacks to the store in batches, with a bound on how many may wait.

An item whose request has ended in the meantime is not sent to the store.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from worker.gateway.request import RefusedError
from worker.runtime.batcher import Batcher

Item = TypeVar("Item")
Value = TypeVar("Value")

MAX_WAITING_ITEMS: Final = 2_048
"""A healthy store never has this many items waiting.

Above it, the gateway returns 503 at once, and Twilio retries.
"""


@dataclass(slots=True, eq=False)
class _Handed(Generic[Item]):
    item: Item
    is_wanted: bool = True


class BatchedWrites(Generic[Item, Value]):
    """Submits items to the store, up to 32 in one call.

    While the store is unavailable, it holds at most `most_waiting` items.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Value]]],
        most_waiting: int = MAX_WAITING_ITEMS,
    ) -> None:
        self._call = call
        self._most_waiting = most_waiting
        self._waiting = 0
        self._batcher: Batcher[_Handed[Item], Value | None] = Batcher(self._commit)

    async def submit(self, item: Item) -> Value:
        """Submit one item, and wait until the store has stored it. Returns the store's result.

        Raises RefusedError (503) when too many items are already waiting.
        """
        if self._waiting >= self._most_waiting:
            raise RefusedError(503, "busy", "too many requests wait for the store; try again later")
        handed = _Handed(item)
        self._waiting += 1
        try:
            answer = await self._batcher.submit(handed)
        except asyncio.CancelledError:
            handed.is_wanted = False
            raise
        if answer is None:
            raise asyncio.CancelledError
        return answer

    async def drained(self, seconds: float) -> None:
        """Wait until every submitted item is stored. Raises TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            await self._batcher.drained()

    async def _commit(self, batch: Sequence[_Handed[Item]]) -> Sequence[Value | None]:
        # The other requests ended without a 2xx, so Twilio sends those items again.
        wanted = [handed for handed in batch if handed.is_wanted]
        try:
            answers = await self._call([handed.item for handed in wanted]) if wanted else ()
        finally:
            self._waiting -= len(batch)
        by_item = dict(zip(map(id, wanted), answers, strict=True))
        return [by_item.get(id(handed)) for handed in batch]
