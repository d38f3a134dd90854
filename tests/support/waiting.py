"""How a test waits: for a state that it reads, and no longer than a hang.

A wait that fails names what was awaited and what was there instead.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn, TypeVar, overload

HANG_SECONDS: Final = 60
"""The longest wait for anything. No wait is expected to come near it."""

POLL_SECONDS: Final = 0.01

Found = TypeVar("Found")


@overload
async def until(
    look: Callable[[], Awaitable[Found]],
    what: str,
    *,
    holds: Callable[[Found], object] = ...,
    seen: Callable[[], object] | None = ...,
    while_it_moves: bool = ...,
    poll: float = ...,
) -> Found: ...


@overload
async def until(
    look: Callable[[], Found],
    what: str,
    *,
    holds: Callable[[Found], object] = ...,
    seen: Callable[[], object] | None = ...,
    while_it_moves: bool = ...,
    poll: float = ...,
) -> Found: ...


async def until(
    look: Callable[[], Any],
    what: str,
    *,
    holds: Callable[[Any], object] = bool,
    seen: Callable[[], object] | None = None,
    while_it_moves: bool = False,
    poll: float = POLL_SECONDS,
) -> Any:
    """Return the first thing that `look` finds for which `holds` is true.

    Raises AssertionError after `HANG_SECONDS`, with what `look` found last, or with `seen()`.
    `while_it_moves`: the seconds begin again whenever `look` finds something else.
    """
    wait = _Wait(what, seen, while_it_moves=while_it_moves)
    while True:
        found = look()
        if inspect.isawaitable(found):
            found = await found
        if holds(found):
            return found
        wait.check(found)
        await asyncio.sleep(poll)


def until_now(
    look: Callable[[], Found],
    what: str,
    *,
    holds: Callable[[Found], object] = bool,
    seen: Callable[[], object] | None = None,
    poll: float = POLL_SECONDS,
) -> Found:
    """Do what `until` does, in a test without a loop."""
    wait = _Wait(what, seen)
    while not holds(found := look()):
        wait.check(found)
        time.sleep(poll)
    return found


class _Wait:
    """Ends a wait that hangs."""

    def __init__(
        self, what: str, seen: Callable[[], object] | None, *, while_it_moves: bool = False
    ) -> None:
        self._what = what
        self._seen = seen
        self._while_it_moves = while_it_moves
        self._before: object = None
        self._since = time.monotonic()

    def check(self, found: object) -> None:
        """Raise AssertionError when the wait has taken too long."""
        if self._while_it_moves and found != self._before:
            self._before, self._since = found, time.monotonic()
        if time.monotonic() - self._since > HANG_SECONDS:
            _give_up(self._what, self._seen() if self._seen else found)


@asynccontextmanager
async def no_hang(what: str, seen: Callable[[], object] = lambda: "nothing") -> AsyncIterator[None]:
    """Limit a block that waits for events. Raises AssertionError as `until` does."""
    limit = asyncio.timeout(HANG_SECONDS)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        _give_up(what, seen())


def _give_up(what: str, seen: object) -> NoReturn:
    raise AssertionError(f"waited {HANG_SECONDS:.0f} s for {what}; saw instead: {seen!r}")


def is_written(persistence: Mapping[str, Any]) -> bool:
    """Return whether a store has handed every change to the kernel, from INFO persistence.

    While a slow disk syncs, a store with `appendfsync everysec` keeps up to two seconds of changes
    that it has acknowledged. A kill loses them, which is the store's promise and not ours.
    """
    return not (persistence["aof_buffer_length"] or persistence["aof_pending_bio_fsync"])
