"""Ends a service that shares its process with others, as kill -9 would: tasks, sockets, open
files.
"""

import asyncio
import gc
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from tests.chaos.mutants_gates import OWNER
from worker.gateway.server import RunningGateway


class OwnedTasks:
    """Every task by its owner, so that a kill ends all tasks of a service."""

    def __init__(self) -> None:
        self._tasks: defaultdict[str, set[asyncio.Task[Any]]] = defaultdict(set)

    def keep(self) -> None:
        """Record the owner of every task that is made from now on."""

        def factory(
            loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
        ) -> asyncio.Task[Any]:
            context = options.get("context") or copy_context()
            task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
            owned = self._tasks[context.get(OWNER, "")]
            owned.add(task)
            task.add_done_callback(owned.discard)
            return task

        asyncio.get_running_loop().set_task_factory(factory)

    async def end(self, owner: str, main: asyncio.Task[Any]) -> None:
        """Cancel all tasks of an owner until they have ended.

        `main` only once, because it then closes its connections.
        """
        main.cancel()
        while alive := {task for task in self._tasks[owner] - {main} if not task.done()}:
            for task in alive:
                task.cancel()
            # Again for a task that swallowed it (python/cpython issue 86296).
            await asyncio.wait(alive, timeout=0.1)
        await asyncio.wait({main})


async def cut_off(listening: RunningGateway) -> None:
    """Close the sockets of a gateway that was killed, as the kernel would.

    None of its tasks runs any more.
    """
    listening._listener.close()
    server = listening._runner.server
    assert server is not None
    await server.shutdown(0)


@contextmanager
def orphans_collected() -> Iterator[None]:
    """Let the collector close what a kill left open, without a warning.

    The kernel closes a dead process's sockets.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.freeze()  # what was there before need not be looked at
        try:
            yield
        finally:
            gc.collect()
            gc.unfreeze()
