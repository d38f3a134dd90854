"""Parks messages as unknown, and lets a search look for them."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from sendwindow.vocabulary import Stage
from tests.support.cast import GRETA, sid
from tests.support.pipeline_world import Twilio, World

ABSENT_AFTER: Final = timedelta(minutes=11)


async def parked(world: World, message_id: str = "m1", **wish: object) -> datetime:
    """Park a message as unknown by a reset connection. Returns when its intent was written."""
    to = str(wish.get("to", GRETA))
    await world.consents(to)
    await world.writes(to)
    await world.later(seconds=1)  # what the person wrote is older than what the POST teaches
    await world.enqueue(message_id, **wish)
    before = len([stage for stage, _ in world.watch.stages if stage is Stage.UNKNOWN])
    await world.run_until(Stage.UNKNOWN, before + 1)
    return await world.store.now()


async def look_after(world: World, pause: timedelta) -> str:
    """Let time pass, search once, and return the finding."""
    await world.later(seconds=pause.total_seconds())
    assert await world.search().turn() == 1
    return world.watch.findings[-1]


async def known_message(world: World, message_id: str, to: str) -> str:
    """Have another message accepted, and return its SID, which we know."""
    posts = len(world.twilio.posts)
    answer, world.twilio.answer = world.twilio.answer, accept
    await world.consents(to)
    await world.writes(to)
    await world.enqueue(message_id, to=to)
    await world.run_until(Stage.ACCEPTED)
    world.twilio.answer = answer
    return sid(1000 + posts + 1)


async def accept(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
    return web.json_response({"sid": sid(1000 + len(twilio.posts)), "status": "queued"}, status=201)


class Unacknowledged:
    """A part of the store whose first call is done, but raises because the replica is away."""

    def __init__(self, world: World, part: Any) -> None:
        self._calls = world.store._calls
        self._part = part
        self._is_first = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    async def _once_in_vain(self, call: Callable[[Any], Awaitable[Any]], argument: Any) -> Any:
        self._calls._replicas = 1 if self._is_first else 0
        self._is_first = False
        return await call(argument)

    async def resolve(self, resolutions: Any) -> Any:
        return await self._once_in_vain(self._part.resolve, resolutions)

    async def apply(self, updates: Any) -> Any:
        return await self._once_in_vain(self._part.apply, updates)
