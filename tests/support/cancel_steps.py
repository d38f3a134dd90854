"""Records the ends of cancelled messages as a worker does, for tests that start no worker."""

from typing import Final

from redis.asyncio import Redis

from sendwindow.keys import Keys
from worker.stores.worker_scripts import worker_script

_END_CANCELLED: Final = worker_script("end_cancelled")


async def end_cancelled(redis: Redis, keys: Keys) -> None:
    """Record the end of every message whose cancel was asked for."""
    while await _END_CANCELLED(redis, keys.meta, [64]):
        pass
