"""Group commit: what arrives while one call is under way goes out together in the next, whatever it is."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

LIMIT: Final = 32
"""Most items of one call, so that a script never holds the store for long."""


class Batcher(Generic[Item, Answer]):
    """Turns single submissions into calls of up to `limit` items, in order, one call at a time.

    The first item goes out at the end of the loop turn in which it came, with everything else of that turn. An error
    of a call reaches every waiter of that call. A waiter that was cancelled does not take its item back.
    """

    def __init__(self, call: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, limit: int = LIMIT) -> None:
        self._call = call
        self._limit = limit
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """Hand in one item and wait for its answer. Raises whatever the call raised."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        # A task that was cancelled before its first step never ran its `finally`.
        if self._running is None or self._running.done():
            # A task starts with the next loop turn, so everything of this turn is in the first call.
            self._running = asyncio.create_task(self._run(), name="batcher")
        return await future

    async def drained(self) -> None:
        """Wait until every item handed in so far has been answered."""
        while self._running is not None and not self._running.done():
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = min(self._limit, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                await self._answer(batch)
        finally:
            self._running = None

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._call([item for item, _ in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers for {len(batch)} items; the store must answer each one")
        except Exception as error:  # noqa: BLE001 -- whoever waits decides what it means
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
