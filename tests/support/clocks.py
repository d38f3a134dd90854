"""A clock that a test moves, in place of the one that the service reads."""

from types import ModuleType

import pytest


class Clock:
    """The monotonic clock of some modules. It stands still until the test changes `now`."""

    def __init__(
        self, patch: pytest.MonkeyPatch, *modules: ModuleType, now: float = 1000.0
    ) -> None:
        self.now = now
        for module in modules:
            patch.setattr(module, "monotonic", lambda: self.now)

    async def sleep(self, seconds: float) -> None:
        """Let the time pass that a caller wants to sleep."""
        self.now += seconds
