"""Loads and runs the Lua scripts: key names, shared prelude, body. EVALSHA first, the text only when it is unknown."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

import redis
import redis.asyncio
from redis.exceptions import NoScriptError, ResponseError

from sendwindow.errors import NotDurable
from sendwindow.keys import lua_prelude

Argument = str | bytes | int
Command = tuple[Argument, ...]

WAIT_MS: Final = 1000
"""How long WAIT may take. A connection that waits needs a longer timeout."""

# WAIT counts replicas that have this connection's own last write. A repeated call may find everything written by an
# earlier connection and write nothing, so a write of its own goes before WAIT: it lies behind the earlier ones.
_MARK: Final = "#!lua flags=allow-oom\nreturn redis.call('HSET', KEYS[1], 'durable', '1')"
_ANNOTATION: Final = "caused error: "


def execute(store: Any, *command: Argument) -> Any:
    """Run one command; await what an asynchronous connection gives. Here alone redis-py's types are left out."""
    return store.execute_command(*command)


async def execute_together(store: redis.asyncio.Redis, commands: Sequence[Command]) -> list[Any]:
    """Run several commands in one round trip."""
    pipeline: Any = store.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = await pipeline.execute()
    return answers


def execute_together_sync(store: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Do the same with a blocking connection."""
    pipeline: Any = store.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = pipeline.execute()
    return answers


class Script:
    """One Lua script. `KEYS[1]` is always the partition's meta key; every other key is derived from its hash tag."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(
        self, store: redis.asyncio.Redis, meta_key: str, args: Sequence[Argument], *, replicas: int = 0
    ) -> Any:
        """Run the script and return its reply as redis-py gives it.

        `replicas` above 0: EVALSHA and WAIT travel together on one connection. Raises NotDurable when fewer acknowledge
        within `WAIT_MS`, and redis-py's errors, never with the arguments in their text.
        """
        try:
            return await self._run(store, self._by_sha(meta_key, args), meta_key, replicas)
        except NoScriptError:
            return await self._run(store, self._by_text(meta_key, args), meta_key, replicas)

    def run_sync(self, store: redis.Redis, meta_key: str, args: Sequence[Argument], *, replicas: int = 0) -> Any:
        """Do the same with a blocking connection."""
        try:
            return self._run_sync(store, self._by_sha(meta_key, args), meta_key, replicas)
        except NoScriptError:
            return self._run_sync(store, self._by_text(meta_key, args), meta_key, replicas)

    async def _run(self, store: redis.asyncio.Redis, command: Command, meta_key: str, replicas: int) -> Any:
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


def load_script(name: str, *, package: str = "sendwindow", flags: Sequence[str] = (), prelude: str = "") -> Script:
    """Assemble `lua/<name>.lua` of a package behind the key names, the shared prelude and `prelude`.

    Without `allow-oom` in `flags` the store refuses the whole script when its memory is full, before its first write.
    """
    shared = (resources.files("sendwindow") / "lua" / "prelude.lua").read_text("utf-8")
    body = (resources.files(package) / "lua" / f"{name}.lua").read_text("utf-8")
    first = "#!lua" + (f" flags={','.join(flags)}" if flags else "")
    return Script(name, f"{first}\n{lua_prelude()}\n{shared}\n{prelude}\n{body}")


def _durably(command: Command, meta_key: str, replicas: int) -> tuple[Command, ...]:
    return command, ("EVAL", _MARK, 1, meta_key), ("WAIT", replicas, WAIT_MS)


def _acknowledged(answers: list[Any], replicas: int) -> Any:
    reply, _, count = answers
    if count < replicas:
        raise NotDurable(
            f"the store has it, but {count} of {replicas} replicas acknowledged within {WAIT_MS} ms; "
            "send the same object again, and check the replicas with INFO replication"
        )
    return reply


def _without_arguments(error: ResponseError) -> ResponseError:
    """Redis-py puts the whole command into the text of a pipeline's error: addresses and bodies."""
    return type(error)(str(error).rpartition(_ANNOTATION)[2])
