"""Runs Lua scripts.

Sends EVALSHA first, and the text of the script only if the store does not know it.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import redis
import redis.asyncio
from redis.exceptions import NoScriptError, ResponseError

from sendwindow.errors import NotDurable
from sendwindow.lua_sources import LuaSources

Argument = str | bytes | int
Command = tuple[Argument, ...]

WAIT_MS: Final = 1000
"""How long WAIT may take. The timeout of a connection that waits must be longer than this."""

# WAIT counts the replicas that have the last write of this connection. A repeated call may write
# nothing because an earlier connection already wrote everything. So we send a small write before
# WAIT: a replica that has it also has the earlier writes.
_MARK: Final = "#!lua flags=allow-oom\nreturn redis.call('HSET', KEYS[1], 'durable', '1')"
_ANNOTATION: Final = "caused error: "


def execute(store: Any, *command: Argument) -> Any:
    """Run one command. With an asynchronous connection, await the returned value.

    This is the only place that works without redis-py's types.
    """
    return store.execute_command(*command)


async def execute_together(
    store: redis.asyncio.Redis, commands: Sequence[Command], *, at_once: bool = False
) -> list[Any]:
    """Run several commands in one round trip and return their replies.

    `at_once`: in a transaction, so that no other call changes anything between them.
    """
    pipeline: Any = store.pipeline(transaction=at_once)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = await pipeline.execute()
    return answers


def execute_together_sync(
    store: redis.Redis, commands: Sequence[Command], *, at_once: bool = False
) -> list[Any]:
    """Run several commands like `execute_together`, on a blocking connection."""
    pipeline: Any = store.pipeline(transaction=at_once)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = pipeline.execute()
    return answers


class Script:
    """One Lua script.

    `KEYS[1]` is always the partition's meta key; every other key is derived from its hash tag.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(
        self,
        store: redis.asyncio.Redis,
        meta_key: str,
        args: Sequence[Argument],
        *,
        replicas: int = 0,
    ) -> Any:
        """Run the script and return its reply as redis-py gives it.

        With `replicas` above 0, EVALSHA and WAIT go together over one connection. Raises NotDurable
        if fewer replicas acknowledge within `WAIT_MS`. Also raises redis-py's errors, whose texts
        never contain the arguments.
        """
        try:
            return await self._run(store, self._by_sha(meta_key, args), meta_key, replicas)
        except NoScriptError:
            return await self._run(store, self._by_text(meta_key, args), meta_key, replicas)

    def run_sync(
        self, store: redis.Redis, meta_key: str, args: Sequence[Argument], *, replicas: int = 0
    ) -> Any:
        """Run the script like `__call__`, on a blocking connection."""
        try:
            return self._run_sync(store, self._by_sha(meta_key, args), meta_key, replicas)
        except NoScriptError:
            return self._run_sync(store, self._by_text(meta_key, args), meta_key, replicas)

    async def _run(
        self, store: redis.asyncio.Redis, command: Command, meta_key: str, replicas: int
    ) -> Any:
        if not replicas:
            return await execute(store, *command)
        pipeline: Any = store.pipeline(transaction=False)
        for each in _durably(command, meta_key, replicas):
            pipeline.execute_command(*each)
        try:
            return _acknowledged(await pipeline.execute(), replicas)
        except ResponseError as error:
            plain = _without_arguments(error)
        raise plain

    def _run_sync(self, store: redis.Redis, command: Command, meta_key: str, replicas: int) -> Any:
        if not replicas:
            return execute(store, *command)
        pipeline: Any = store.pipeline(transaction=False)
        for each in _durably(command, meta_key, replicas):
            pipeline.execute_command(*each)
        try:
            return _acknowledged(pipeline.execute(), replicas)
        except ResponseError as error:
            plain = _without_arguments(error)
        raise plain

    def _by_sha(self, meta_key: str, args: Sequence[Argument]) -> Command:
        return ("EVALSHA", self.sha, 1, meta_key, *args)

    def _by_text(self, meta_key: str, args: Sequence[Argument]) -> Command:
        return ("EVAL", self.source, 1, meta_key, *args)


def load_script(name: str, sources: LuaSources, *, flags: Sequence[str] = ()) -> Script:
    """Return the script of a Lua file, with everything that it includes.

    Without `allow-oom` in `flags`, a store with full memory refuses the whole script before its
    first write.
    """
    first = "#!lua" + (f" flags={','.join(flags)}" if flags else "")
    return Script(name, f"{first}\n{sources.assemble(name)}")


def _durably(command: Command, meta_key: str, replicas: int) -> tuple[Command, ...]:
    return command, ("EVAL", _MARK, 1, meta_key), ("WAIT", replicas, WAIT_MS)


def _acknowledged(answers: list[Any], replicas: int) -> Any:
    reply, _, count = answers
    if count < replicas:
        raise NotDurable(
            f"the store has it, but {count} of {replicas} replicas acknowledged "
            f"within {WAIT_MS} ms; send the same object again, "
            "and check the replicas with INFO replication"
        )
    return reply


def _without_arguments(error: ResponseError) -> ResponseError:
    """Return the error without the command in its text.

    In the error text of a pipeline, redis-py quotes the whole command, with addresses and bodies.
    """
    return type(error)(str(error).rpartition(_ANNOTATION)[2])
