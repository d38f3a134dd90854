"""Ends background tasks reliably."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

_CANCEL_AGAIN_SECONDS: Final = 0.1


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all of them have ended. Ignores what they raised.

    One `cancel` is not enough. redis-py sends inside `asyncio.wait_for`, and Python 3.11 swallows a
    cancellation that arrives just as the send completes (python/cpython issue 86296).
    """
    every = set(tasks)
    left = {task for task in every if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*every, return_exceptions=True)


async def see_through(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end even if this call is cancelled, then raise the cancellation.

    Use it for work that must not stop halfway, such as closing connections. `end_tasks` cancels
    repeatedly, and `asyncio.shield` protects only against the first cancellation.
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
