"""Group commit for callbacks: bounded, and what nobody waits for any more is not sent to the store."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from worker.batcher import Batcher
from worker.gateway.request import RefusedError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST_WAITING: Final = 2_048
"""A healthy store never has so many waiting; beyond it Twilio is told to come again at once."""


@dataclass(slots=True, eq=False)
class _Handed(Generic[Item]):
    item: Item
    is_wanted: bool = True


class Group(Generic[Item, Answer]):
    """Submits items to the store, up to 32 in one call. While the store is away it holds a bounded number of them."""

    def __init__(
        self, call: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], most_waiting: int = MOST_WAITING
    ) -> None:
        self._call = call
        self._most_waiting = most_waiting
        self._waiting = 0
        self._batcher: Batcher[_Handed[Item], Answer | None] = Batcher(self._commit)

    async def submit(self, item: Item) -> Answer:
        """Hand in one item and wait until it is stored. Raises RefusedError (503) when too many wait already."""
        if self._waiting >= self._most_waiting:
            raise RefusedError(503, "busy", "too many requests wait for the store; come again")
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
        """Wait until everything handed in is stored, at most so long."""
        async with asyncio.timeout(seconds):
            await self._batcher.drained()

    async def _commit(self, batch: Sequence[_Handed[Item]]) -> Sequence[Answer | None]:
        # Twilio was told that these are not stored, and will bring them again
        wanted = [handed for handed in batch if handed.is_wanted]
        try:
            answers = await self._call([handed.item for handed in wanted]) if wanted else ()
        finally:
            self._waiting -= len(batch)
        by_item = dict(zip(map(id, wanted), answers, strict=True))
        return [by_item.get(id(handed)) for handed in batch]
