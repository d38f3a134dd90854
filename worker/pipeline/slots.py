"""Limits how many POSTs a worker has open at once."""

import asyncio
from collections import deque

from worker.pipeline.shares import Shares
from worker.ports.claims import Owner

_Waiting = tuple[Owner, "asyncio.Future[bool]"]


class Slots:
    """A fixed number of slots, divided into shares. After `close` no waiter gets one.

    Urgent messages come first, and otherwise the first that its share has room for.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._urgent: deque[_Waiting] = deque()
        self._ordinary: deque[_Waiting] = deque()
        self._closed = False

    @property
    def used(self) -> int:
        """How many slots are taken."""
        return self._shares.used

    async def acquire(self, owner: Owner) -> bool:
        """Wait for a slot. Return False when the slots are closed and this caller got none."""
        if self._closed:
            return False
        if self._shares.has_room_for(owner):
            self._shares.take(owner)
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        (self._urgent if owner.is_urgent else self._ordinary).append((owner, future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result():
                self.release(owner)
            raise

    def release(self, owner: Owner) -> None:
        """Free a slot, and give free slots to the waiters that there is room for."""
        self._shares.give(owner)
        while (waiter := self._next()) is not None:
            self._shares.take(waiter[0])
            waiter[1].set_result(True)

    def _next(self) -> _Waiting | None:
        """Take the next waiter that there is room for out of its queue."""
        for queue in (self._urgent, self._ordinary):
            for waiter in list(queue):
                owner, future = waiter
                if future.done():
                    queue.remove(waiter)
                elif self._shares.has_room_for(owner):
                    queue.remove(waiter)
                    return waiter
        return None

    def close(self) -> None:
        """Close the slots: all waiters and all later callers get none."""
        self._closed = True
        for queue in (self._urgent, self._ordinary):
            while queue:
                _, future = queue.popleft()
                if not future.done():
                    future.set_result(False)
