"""Limits how many POSTs a worker has open at once."""

import asyncio
from collections import deque


class Slots:
    """A fixed number of slots, first come, first served. After `close` no waiter gets one.

    `used`: how many slots are taken.
    """

    def __init__(self, number: int) -> None:
        self.used = 0
        self._number = number
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._closed = False

    async def acquire(self) -> bool:
        """Wait for a slot. Return False when the slots are closed and this caller got none."""
        if self._closed:
            return False
        if self.used < self._number:
            self.used += 1
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result():
                self.release()
            raise

    def release(self) -> None:
        """Free a slot, or pass it to the next waiter if there is one."""
        while self._queue:
            future = self._queue.popleft()
            if not future.done():
                future.set_result(True)
                return
        self.used -= 1

    def close(self) -> None:
        """Close the slots: all waiters and all later callers get none."""
        self._closed = True
        while self._queue:
            future = self._queue.popleft()
            if not future.done():
                future.set_result(False)
