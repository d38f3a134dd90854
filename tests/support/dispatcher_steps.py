"""Ledgers that lose or hold calls, for the tests of the dispatcher."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from tests.support.pipeline_world import (
    Between,
    Twilio,
    World,
    accepting,
)
from worker.pipeline.dispatcher import Dispatcher
from worker.ports.admissions import Admission, AdmitRequest
from worker.ports.claims import ClaimBatch, ClaimRoom, Suspects
from worker.ports.settlements import Settled, Settlement


class Gate:
    """A Twilio that answers when the test allows it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        self.asked.set()
        await self.open.wait()
        return await accepting(twilio, form)


def is_ready(dispatcher: Dispatcher) -> bool:
    return dispatcher.ready


async def known(world: World, count: int = 1) -> None:
    """Queue messages that may go."""
    await world.consents()
    await world.writes()
    for number in range(1, count + 1):
        await world.enqueue(f"m{number}")


class Away(Between):
    """A ledger that fails where the test says, until it is back."""

    def __init__(self, world: World, *calls: str) -> None:
        super().__init__(world)
        self.calls = set(calls)

    def _fail(self, call: str) -> None:
        if call in self.calls:
            raise ConnectionError("away")

    async def claim(
        self, limit: int, suspects: Suspects, room: ClaimRoom | None = None
    ) -> ClaimBatch:
        self._fail("claim")
        return await self._ledger.claim(limit, suspects, room)

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        self._fail("admit")
        return await self._ledger.admit(requests)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._fail("settle")
        return await self._ledger.settle(settlements)
