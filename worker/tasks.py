"""Ends background work for good."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

_CANCEL_AGAIN: Final = 0.1


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended, whatever they ended with.

    One `cancel` is not enough: redis-py sends inside `asyncio.wait_for`, which on Python 3.11 swallows a cancellation
    that comes as the sending completes (python/cpython issue 86296).
    """
    every = set(tasks)
    left = {task for task in every if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN)
    await asyncio.gather(*every, return_exceptions=True)


async def see_through(work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end, however often this is cancelled meanwhile; then raise that cancellation.

    For what must not be left half done, such as closing connections: `end_tasks` cancels again and again, and a shield
    alone holds only once.
    """
    task = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
    task.result()
