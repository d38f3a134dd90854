"""Steps at which a scenario makes a message wait, and the owner of each step.

Knows nothing of the service.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar

OWNER: ContextVar[str] = ContextVar("owner", default="")
"""The owner of a task. A task passes its owner on to the tasks that it starts."""


class Gate:
    """A step where one message (or one worker) waits. `reached` is set once it waits there."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    def open(self) -> None:
        """Open the gate, so that nothing waits here again."""
        self.opened.set()


class Gates:
    """The steps at which messages wait: claim, admit, post, settle, status."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._gates: dict[tuple[str, str], Gate] = {}
        self._notify = notify

    def hold(self, step: str, name: str) -> Gate:
        """Make a message wait at a step from now on.

        `service/message` waits only in that service; for `claim` the name is a worker's.
        """
        return self._gates.setdefault((step, name), Gate())

    async def passing(self, step: str, names: Iterable[str]) -> None:
        """Wait here while a gate is closed for one of the names."""
        for name in names:
            gate = self._gates.get((step, name)) or self._gates.get((step, f"{OWNER.get()}/{name}"))
            if gate is not None and not gate.opened.is_set():
                gate.reached.set()
                self._notify()
                await gate.opened.wait()
