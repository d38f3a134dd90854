"""Waits for work on a connection of its own.

A token that arrives while no caller waits goes back to the list, so no wake is lost.
"""

import asyncio
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.runtime.cancellation import end_tasks

HANDED_ON: Final = "2"
"""The token of a wake that a claimer without room handed on to another one."""

BLOCK_SECONDS: Final = 10
"""How long one blocking pop lasts. The socket timeout of its connection must be longer."""

_PAUSE_SECONDS: Final = 0.5


class WorkNotifier:
    """Pops wake tokens while a caller waits.

    Usually there is one waiter at a time. Several waiters share a token.
    """

    def __init__(self, redis: Redis, wake_key: str) -> None:
        self._redis = redis
        self._key = wake_key
        self._arrived = asyncio.Event()
        self._wanted = asyncio.Event()
        self._waiters = 0
        self._listener: asyncio.Task[None] | None = None
        self.may_hand_on = False
        """Whether the last wait ended with a wake that no other claimer handed on."""

    async def wait(self, timeout: float) -> bool:
        """Return True as soon as a lane became ready, False after `timeout` seconds.

        Never raises when the store is lost.
        """
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="waker")
        self._waiters += 1
        self._wanted.set()
        self.may_hand_on = False
        try:
            async with asyncio.timeout(timeout):
                await self._arrived.wait()
        except TimeoutError:
            return False
        finally:
            self._waiters -= 1
        self._arrived.clear()
        return True

    async def close(self) -> None:
        """Stop listening.

        It puts back a token, because it may just have popped one. A wake too many costs one empty
        claim.
        """
        if self._listener is None:
            return
        await end_tasks({self._listener})
        self._listener = None
        try:
            async with asyncio.timeout(1):
                await self._hand_on()
        except (RedisError, OSError, TimeoutError):
            pass  # while the store is down, no worker can be woken

    async def _listen(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                reply: Any = self._redis.blpop([self._key], timeout=BLOCK_SECONDS)
                token = await reply
                if not token:
                    if not self._waiters:
                        self._wanted.clear()
                elif self._waiters:
                    # One token for one waiter: the next one is popped when a caller waits again.
                    self.may_hand_on = token[1] != HANDED_ON.encode()
                    self._arrived.set()
                    self._wanted.clear()
                else:
                    self._wanted.clear()
                    await self._hand_on()
            except (RedisError, OSError):
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _hand_on(self) -> None:
        reply: Any = self._redis.lpush(self._key, "1")
        await reply
