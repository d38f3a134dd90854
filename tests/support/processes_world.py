"""Processes as the registry shows them, for tests that need no process of their own."""

import json
from collections.abc import Mapping
from typing import Any, Final

from worker.ports.processes import ProcessReport

OLD: Final[dict[str, Any]] = {"role": "worker", "settings": {}}
"""The entry of a release before 0.1.0."""


def report_of(**changes: Any) -> ProcessReport:
    """Return the report of a worker of this release that does not work yet."""
    fields: dict[str, Any] = {"role": "worker", "settings": {}, "release": "0.1.0"}
    return ProcessReport(**(fields | changes))


async def write_entry(world: Any, process_id: str, entry: Mapping[str, Any] | str) -> None:
    """Write an entry of another release. `world` has `redis`, and `keys` or a store that has."""
    keys = world.store.keys
    text = entry if isinstance(entry, str) else json.dumps(entry)
    await world.redis.set(keys.process(process_id), text, px=30_000)
    await world.redis.zadd(keys.processes, {process_id: 1})


async def remove_entry(world: Any, process_id: str) -> None:
    """Remove an entry, as a process does that stops."""
    keys = world.store.keys
    await world.redis.delete(keys.process(process_id))
    await world.redis.zrem(keys.processes, process_id)
