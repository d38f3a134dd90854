"""Group commit: items that arrive during one call go out together in the next call."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")

MAX_BATCH_ITEMS: Final = 32
"""The most items in one call, so that a script never blocks the store for long."""


class Batcher(Generic[Item, Value]):
    """Combines single submissions into calls of up to `limit` items, in order.

    Only one call runs at a time. The first item goes out at the end of the loop turn in which it
    was submitted, together with every other item of that turn. When a call raises, every caller
    whose item was in it gets the error. Cancelling a caller does not withdraw its item.

    `gather`: for how many seconds each call first waits for more items, until it has `limit` of
    them. Give it only where no caller needs the result soon.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Value]]],
        *,
        limit: int = MAX_BATCH_ITEMS,
        gather: float = 0.0,
    ) -> None:
        self._call = call
        self._limit = limit
        self._waiting: deque[tuple[Item, asyncio.Future[Value]]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._gather_seconds = gather
        self._may_go = asyncio.Event()

    async def submit(self, item: Item) -> Value:
        """Submit one item, and return its result. Raises whatever the call raised."""
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        # A task that is cancelled before its first step never runs its `finally`, so `_running`
        # may still hold it.
        if self._running is None or self._running.done():
            # A task starts in the next loop turn, so the first call gets every item of this turn.
            self._running = asyncio.create_task(self._run(), name="batcher")
        if len(self._waiting) >= self._limit:
            self._may_go.set()
        return await future

    async def drained(self) -> None:
        """Send what is gathered now, and wait until every submitted item has its result."""
        self._gather_seconds = 0.0
        self._may_go.set()
        while self._running is not None and not self._running.done():
            await asyncio.wait({self._running})

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                count = min(self._limit, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                await self._answer(batch)
        finally:
            self._running = None

    async def _gather(self) -> None:
        if not self._gather_seconds or len(self._waiting) >= self._limit:
            return
        self._may_go.clear()
        late = asyncio.get_running_loop().call_later(self._gather_seconds, self._may_go.set)
        try:
            await self._may_go.wait()
        finally:
            late.cancel()

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Value]]]) -> None:
        try:
            answers = await self._call([item for item, _ in batch])
            if len(answers) != len(batch):
                raise RuntimeError(
                    f"{len(answers)} answers for {len(batch)} items; the store must answer each one"
                )
        except Exception as error:  # noqa: BLE001 -- each caller decides what the error means
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
