"""A wait that fails says what it waited for, and what it saw instead."""

import asyncio
import operator
from types import SimpleNamespace

import pytest

from tests.support import waiting
from tests.support.waiting import no_hang, until, until_now


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every wait give up at once."""
    monkeypatch.setattr(waiting, "HANG_SECONDS", -1)


def test_a_wait_without_a_loop_returns_what_it_found() -> None:
    """The first thing that holds is returned, however often something else was found before."""
    found = iter([1, 2, 3])
    assert until_now(lambda: next(found), "three", holds=lambda number: number == 3, poll=0) == 3


@pytest.mark.asyncio
async def test_a_wait_looks_at_values_and_at_awaitables() -> None:
    """What is looked at may be a value or an awaitable."""

    async def look() -> str:
        return "found"

    assert await until(look, "something") == "found"
    assert await until(lambda: 7, "something") == 7


@pytest.mark.asyncio
async def test_a_wait_that_fails_says_what_it_saw(hasty: None) -> None:
    """The error names what was awaited and what was found last, or what `seen` returns."""
    with pytest.raises(AssertionError, match="for three; saw instead: 2"):
        await until(lambda: 2, "three", holds=lambda number: number == 3)
    with pytest.raises(AssertionError, match="for a stop; saw instead: 'the log'"):
        until_now(lambda: False, "a stop", seen=lambda: "the log")
    with pytest.raises(AssertionError, match="for an event; saw instead: 'nothing'"):
        async with no_hang("an event"):
            await asyncio.Event().wait()


@pytest.mark.asyncio
async def test_a_wait_may_last_while_something_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `while_it_moves` only a standstill ends a wait, so a slow machine does not."""
    clock = iter(range(0, 1000, 40))
    monkeypatch.setattr("tests.support.waiting.time", SimpleNamespace(monotonic=clock.__next__))
    left = iter([3, 2, 1, 0])
    assert (
        await until(
            lambda: next(left), "none left", holds=operator.not_, while_it_moves=True, poll=0
        )
        == 0
    )
    with pytest.raises(AssertionError, match="saw instead: 1"):
        await until(lambda: 1, "none left", holds=operator.not_, while_it_moves=True, poll=0)


@pytest.mark.asyncio
async def test_a_block_keeps_its_own_time_outs() -> None:
    """A TimeoutError of the block itself stays what it is."""
    with pytest.raises(TimeoutError):
        async with no_hang("an event"):
            raise TimeoutError
