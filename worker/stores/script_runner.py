"""Runs the worker's scripts against one partition.

Holds the connection, and knows nothing about what is stored.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from pydantic_core import to_json
from redis.asyncio import Redis
from redis.exceptions import RedisError

from sendwindow.keys import Keys
from sendwindow.scripts import (
    Argument,
    Command,
    Script,
    execute,
    execute_together,
)
from sendwindow.store_faults import is_passing
from worker.runtime import clock

Answer = TypeVar("Answer")

_MAX_PAUSE_SECONDS: Final = 0.1
_MAX_UNANSWERED_CALLS: Final = 256
"""How many calls that raised keep their request ids. A call that raised before those gets a new id
when it is repeated, as if another process made it.
"""


def new_request() -> str:
    """Return a new id for a call.

    Repetitions of the call keep it, so that a script recognises them.
    """
    return secrets.token_hex(8)


def without_none(fields: Mapping[str, object]) -> dict[str, object]:
    """Return an object without the members that are None.

    Lua would take None, which JSON writes as null, for a value that is there.
    """
    return {name: value for name, value in fields.items() if value is not None}


def compact(fields: Mapping[str, object]) -> str:
    """Return a JSON object without spaces and without the members that are None."""
    return to_json(without_none(fields)).decode()


class ScriptRunner:
    """Runs scripts on one partition of one store.

    `replicas`: how many must acknowledge a durable call (0: none). `budget`: how long a call that
    failed is repeated. redis-py itself repeats nothing.
    """

    __slots__ = ("_budget", "_replicas", "_unanswered", "keys", "redis")

    def __init__(
        self, redis: Redis, keys: Keys, replicas: int = 0, budget: timedelta = timedelta()
    ) -> None:
        self.redis = redis
        self.keys = keys
        self._replicas = replicas
        self._budget = budget.total_seconds()
        self._unanswered: dict[tuple[Argument, ...], str] = {}

    async def patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Call `ask` again while the store is down or busy and the budget lasts.

        Use it only for calls that may be repeated.
        """
        ends_at = clock.monotonic() + self._budget
        while True:
            try:
                return await ask()
            except (RedisError, OSError) as error:
                if not is_passing(error) or clock.monotonic() >= ends_at:
                    raise
            await asyncio.sleep(random.uniform(0, _MAX_PAUSE_SECONDS))

    async def ask(self, *command: Argument) -> Any:
        """Run one command that may be repeated. Raises redis-py's errors."""
        return await self.patiently(lambda: execute(self.redis, *command))

    async def ask_together(
        self, commands: Sequence[Command], *, at_once: bool = False
    ) -> list[Any]:
        """Run commands that may be repeated, in one round trip. Raises redis-py's errors.

        `at_once`: in a transaction, so that no other call changes anything between them.
        """
        if not commands:
            return []
        return await self.patiently(lambda: execute_together(self.redis, commands, at_once=at_once))

    async def run(self, script: Script, args: Sequence[Argument]) -> Any:
        """Run a script. Raises redis-py's errors."""
        return await self.patiently(lambda: script(self.redis, self.keys.meta, args))

    async def run_durably(self, script: Script, args: Sequence[Argument]) -> Any:
        """Run a script and wait for the configured number of replicas.

        Raises NotDurable besides redis-py's errors.
        """
        return await self.patiently(
            lambda: script(self.redis, self.keys.meta, args, replicas=self._replicas)
        )

    async def run_once(self, script: Script, args: Sequence[Argument]) -> Any:
        """Run a script that keeps its reply under a request id, durably.

        Raises what `run_durably` raises.

        A call that raised may have taken effect, and only its reply would say what it did. If the
        caller repeats it with the same arguments, it goes out under the same id and gets that
        reply.
        """
        call = (script.name, *args)
        request = self._unanswered.pop(call, None) or new_request()
        try:
            return await self.run_durably(script, [request, *args])
        except BaseException:
            self._unanswered[call] = request
            if len(self._unanswered) > _MAX_UNANSWERED_CALLS:
                del self._unanswered[next(iter(self._unanswered))]
            raise
