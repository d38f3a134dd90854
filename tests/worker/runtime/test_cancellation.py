"""Background tasks that are ended, and work that must not be left half done."""

import asyncio

import pytest

from worker.runtime.cancellation import end_tasks, see_through

pytestmark = pytest.mark.asyncio


async def test_work_is_seen_through_however_often_it_is_cancelled() -> None:
    """Protected work runs to its end, and only then does the cancellation take effect."""
    began, may_end, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        await may_end.wait()
        done.set()

    running = asyncio.create_task(see_through(work()))
    await began.wait()
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
        assert not running.done()
    may_end.set()
    await end_tasks([running])
    assert done.is_set()
    assert running.cancelled()


async def test_what_fails_while_it_is_seen_through_is_raised() -> None:
    """Without a cancellation, an error of protected work reaches the caller."""

    async def work() -> None:
        raise OSError("no such thing")

    with pytest.raises(OSError, match="no such thing"):
        await see_through(work())
