"""Group commit: together what comes together, in order, errors to everybody."""

import asyncio
from collections.abc import Sequence

import pytest

from worker.batcher import Batcher

pytestmark = pytest.mark.asyncio


class Recorder:
    """Answers each number with its double and remembers the calls."""

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
    """Ten submissions of one turn are one call, and each gets its own answer."""
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
    """Nobody waits for ever, and the next call starts afresh."""
    recorder = Recorder()
    recorder.error = ConnectionError("store away")
    batcher = Batcher(recorder)
    failed = await asyncio.gather(*(batcher.submit(number) for number in range(3)), return_exceptions=True)
    assert all(isinstance(error, ConnectionError) for error in failed)
    recorder.error = None
    assert await batcher.submit(5) == 10


async def test_a_cancelled_waiter_does_not_take_its_item_back() -> None:
    """What was handed in is carried out: a settlement must not vanish with the one who waited for it."""
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
    """A missing answer is never guessed."""

    async def forgetful(items: Sequence[int]) -> list[int]:
        return list(items)[1:]

    batcher = Batcher(forgetful)
    answers = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert all(isinstance(error, RuntimeError) for error in answers)
