"""Runs a mock of the Messages API with a script, for one run of a row."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Final

from bench.child import Child
from bench.mock_api import Script

SLOTS: Final = 25
"""POSTs in flight, the default of `dispatch.slots`."""

LIKE_TWILIO: Final = Script(mean=0.2, p95=0.4)
"""How long Twilio takes: log-normal with a mean of 200 ms and a 95th percentile of 400 ms."""

_LOOK_SECONDS: Final = 0.05
_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Post:
    """A POST that came to the mock. `at`: in seconds of the machine's monotonic clock."""

    at: float
    message_id: str
    is_accepted: bool


class ScriptedMock:
    """A running mock with its base URL."""

    def __init__(self, child: Child, base_url: str) -> None:
        self._child = child
        self.base_url = base_url

    async def posts(self) -> list[Post]:
        """Return every POST so far. The script must say that the mock remembers them."""
        return [Post(*one) for one in (await self._child.ask("posts"))["posts"]]

    async def asked(self) -> int:
        """Return how many POSTs have come so far, those included that still hang."""
        return int((await self._child.ask("asked"))["asked"])

    async def wait_for(self, number: int) -> None:
        """Wait until so many POSTs have come. Raises TimeoutError."""
        async with asyncio.timeout(_SECONDS):
            while await self.asked() < number:  # noqa: ASYNC110 -- the mock is another process
                await asyncio.sleep(_LOOK_SECONDS)

    async def go_down(self) -> None:
        """Make every POST fail with 503 from now on."""
        await self._child.ask("down")

    async def come_back(self) -> float:
        """End the outage, and return when it ended."""
        return float((await self._child.ask("up"))["at"])


@asynccontextmanager
async def scripted_mock(script: Script) -> AsyncIterator[ScriptedMock]:
    """Run a mock with this script for a block."""
    async with await Child.start("bench.mock_api", {"script": asdict(script)}) as child:
        yield ScriptedMock(child, f"http://127.0.0.1:{(await child.answer())['port']}")
