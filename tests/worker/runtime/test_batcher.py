"""Group commit: items that arrive together go together, in order.

An error reaches all their callers.
"""

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.waiting import HANG_SECONDS
from worker.runtime.batcher import Batcher

pytestmark = pytest.mark.asyncio


class Recorder:
    """Doubles each number, and remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.calls.append(list(items))
        self.started.set()
        await self.gate.wait()
        if self.error:
            raise self.error
        return [item * 2 for item in items]


async def test_what_comes_in_one_loop_turn_goes_out_in_one_call() -> None:
    """Ten submissions in one loop iteration are one call, and each gets its own result."""
    recorder = Recorder()
    batcher = Batcher(recorder)
    answers = await asyncio.gather(*(batcher.submit(number) for number in range(10)))
    assert answers == [number * 2 for number in range(10)]
    assert recorder.calls == [list(range(10))]


async def test_what_comes_during_a_call_waits_for_the_next_and_no_call_is_above_the_limit() -> None:
    """One call at a time, in order, at most `limit` items each."""
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder, limit=4)
    tasks = [asyncio.create_task(batcher.submit(0))]
    await recorder.started.wait()
    tasks += [asyncio.create_task(batcher.submit(number)) for number in range(1, 8)]
    recorder.gate.set()
    assert await asyncio.gather(*tasks) == [number * 2 for number in range(8)]
    assert recorder.calls == [[0], [1, 2, 3, 4], [5, 6, 7]]


async def test_an_error_reaches_every_waiter_of_its_call_and_no_other() -> None:
    """An error reaches every caller of its batch and no other caller, and the next call starts
    fresh.
    """
    recorder = Recorder()
    recorder.error = ConnectionError("store away")
    batcher = Batcher(recorder)
    failed = await asyncio.gather(
        *(batcher.submit(number) for number in range(3)), return_exceptions=True
    )
    assert all(isinstance(error, ConnectionError) for error in failed)
    recorder.error = None
    assert await batcher.submit(5) == 10


async def test_a_cancelled_waiter_does_not_take_its_item_back() -> None:
    """A caller that is cancelled does not take its item back, so that no settlement vanishes."""
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder)
    task = asyncio.create_task(batcher.submit(1))
    other = asyncio.create_task(batcher.submit(2))
    await recorder.started.wait()
    task.cancel()
    recorder.gate.set()
    assert await other == 4
    await batcher.drained()
    assert recorder.calls == [[1, 2]]


async def test_a_call_that_answers_too_few_is_an_error_for_all() -> None:
    """A call with too few results is an error for all its callers."""

    async def forgetful(items: Sequence[int]) -> list[int]:
        return list(items)[1:]

    batcher = Batcher(forgetful)
    answers = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert all(isinstance(error, RuntimeError) for error in answers)


async def test_what_comes_while_a_call_gathers_goes_out_with_it() -> None:
    """A call that gathers takes what comes in later loop turns, and goes when it is full."""
    recorder = Recorder()
    batcher = Batcher(recorder, limit=3, gather=HANG_SECONDS)
    tasks = []
    for number in range(3):
        tasks.append(asyncio.create_task(batcher.submit(number)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == [0, 2, 4]
    assert recorder.calls == [[0, 1, 2]]


async def test_a_call_that_is_not_full_goes_when_its_time_is_over() -> None:
    """An item does not wait for others that never come."""
    recorder = Recorder()
    assert await Batcher(recorder, gather=0.001).submit(4) == 8


async def test_draining_does_not_wait_for_more() -> None:
    """At the end of a process, what is gathered goes out at once."""
    recorder = Recorder()
    batcher = Batcher(recorder, gather=HANG_SECONDS)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in range(2)]
    await asyncio.sleep(0)
    await batcher.drained()
    assert await asyncio.gather(*tasks) == [0, 2]
    assert recorder.calls == [[0, 1]]
