"""Stops a service in order at the first signal.

The second signal, or the watchdog, ends it earlier. A play is cancelled at once.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, Protocol

from worker.cli.exit_codes import Exit

MARGIN_SECONDS: Final = 5.0
"""Seconds beyond the grace period before the watchdog ends a stop that hangs."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Service(Protocol):
    """Something that starts, runs until it is stopped, and stops in order."""

    async def run(self) -> None:
        """Work until stopped. Raises the error that ended the work."""
        ...

    async def stop(self) -> None:
        """Take nothing new, finish open work within the grace period, and release the rest."""
        ...


async def run_until_signal(service: Service, grace: float, *, with_stdin: bool = False) -> Exit:
    """Run a service until SIGTERM or SIGINT, then stop it. `grace` is in seconds.

    `with_stdin`: the end of standard input counts as a signal too, so that the service does not
    outlive its parent.

    Raises the error with which the service ended by itself.
    """
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)

    def on_input() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            first.set()

    if with_stdin:
        loop.add_reader(0, on_input)
    try:
        work = asyncio.create_task(service.run(), name="service")
        asked = asyncio.create_task(first.wait(), name="first signal")
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if work.done():
            await work
            return Exit.DONE
        return await _stop(service.stop, work, second, grace + MARGIN_SECONDS)
    finally:
        if with_stdin:
            loop.remove_reader(0)
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def run_or_cancel(work: Coroutine[object, object, int]) -> int:
    """Run a coroutine to its end, or cancel it at SIGTERM or SIGINT and return INTERRUPTED.

    It is cancelled only once: further signals do not cut its cleanup short, which must be bounded.
    """
    loop = asyncio.get_running_loop()
    task, told = asyncio.ensure_future(work), asyncio.Event()

    def on_signal() -> None:
        if not told.is_set():
            told.set()
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        return await task
    except asyncio.CancelledError:
        if told.is_set():
            return Exit.INTERRUPTED
        raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _stop(
    stop: Callable[[], Awaitable[None]],
    work: asyncio.Task[None],
    second: asyncio.Event,
    limit: float,
) -> Exit:
    # A thread, because the loop itself may hang. os._exit, because leases cover what is in flight.
    watchdog = threading.Timer(limit + 3 * MARGIN_SECONDS, os._exit, (int(Exit.STOPPED_EARLY),))
    watchdog.daemon = True
    watchdog.start()
    try:
        stopping = asyncio.ensure_future(stop())
        again = asyncio.create_task(second.wait(), name="second signal")
        await asyncio.wait({stopping, again}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        if not stopping.done():
            # A second stop() ends a service at once. Its intents later show which POSTs were open.
            hurrying = asyncio.ensure_future(stop())
            await asyncio.wait({stopping, hurrying, work}, timeout=MARGIN_SECONDS)
            for task in (stopping, hurrying, work):
                task.cancel()
            await asyncio.wait({stopping, hurrying, work}, timeout=MARGIN_SECONDS)
            return Exit.STOPPED_EARLY
        await stopping
        await work
        return Exit.DONE
    finally:
        watchdog.cancel()
