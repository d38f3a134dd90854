"""What a worker holds: claimed messages with what is known of them here, and the slots in which POSTs run."""

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.values.claims import Claimed


@dataclass(slots=True, eq=False)
class Held:
    """A claimed message. `store_now` is what the store's clock said at `read_at`, in monotonic seconds of this process.

    `is_lost`: the lease went to somebody else; nothing is begun for it any more. `is_recording`: its result is on the
    way to the store, after which the lease is not ours either.
    """

    claimed: Claimed
    store_now: datetime
    read_at: float
    is_lost: bool = False
    is_recording: bool = False

    def now(self, monotonic: float) -> datetime:
        """The store's clock at an instant of this process's monotonic clock, never earlier than it was."""
        return self.store_now + timedelta(seconds=max(0.0, monotonic - self.read_at))


class Slots:
    """How many POSTs may be open at once, first come, first served. Once closed, nobody new gets one."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free = number
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._closed = False

    @property
    def used(self) -> int:
        """How many are taken."""
        return self._number - self._free

    async def acquire(self) -> bool:
        """Wait for a slot; False when the slots were closed meanwhile and this one got none."""
        if self._closed:
            return False
        if self._free > 0:
            self._free -= 1
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
        """Give a slot back, to the next in the queue where there is one."""
        while self._queue:
            future = self._queue.popleft()
            if not future.done():
                future.set_result(True)
                return
        self._free += 1

    def close(self) -> None:
        """Send everybody who still waits away."""
        self._closed = True
        while self._queue:
            future = self._queue.popleft()
            if not future.done():
                future.set_result(False)
