"""Which processes are alive at this store, and with which settings.

Each process records this every few seconds.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from worker.ports.processes import LivingProcess
from worker.stores.script_runner import ScriptRunner, compact, worker_script

_PROCESS: Final = worker_script("process")

ALIVE_FOR: Final = timedelta(seconds=30)
"""How long after its last record a process counts as alive: several times the interval between two
records.
"""

_ALIVE_MS: Final = ALIVE_FOR // timedelta(milliseconds=1)


class ProcessStore:
    """Records and lists the processes of one partition."""

    def __init__(self, calls: ScriptRunner, process_id: str) -> None:
        self._calls = calls
        self._process_id = process_id

    async def note(self, role: str, settings: Mapping[str, str]) -> bool:
        """Record that this process is alive.

        `settings`: a digest of each section. Raises redis-py's errors.

        Returns whether the store is marked as restored from a copy, so that no message is claimed.
        """
        answer: int = await self._calls.run(
            _PROCESS, [self._process_id, _ALIVE_MS, compact({"role": role, "settings": settings})]
        )
        return answer == 1

    async def forget(self) -> None:
        """Record that this process ends. Raises redis-py's errors."""
        keys, pipeline = self._calls.keys, self._calls.redis.pipeline(transaction=False)
        pipeline.delete(keys.process(self._process_id))
        pipeline.zrem(keys.processes, self._process_id)
        await pipeline.execute()

    async def living(self) -> list[LivingProcess]:
        """Return the processes that recorded within `ALIVE_FOR` that they live, in no order."""
        keys, redis = self._calls.keys, self._calls.redis
        ids = [each.decode() for each in await redis.zrange(keys.processes, 0, -1)]
        if not ids:
            return []
        values: list[Any] = await redis.mget([keys.process(each) for each in ids])
        return [
            _process(one, value)
            for one, value in zip(ids, values, strict=True)
            if value is not None
        ]


def _process(process_id: str, value: bytes) -> LivingProcess:
    said = json.loads(value)
    return LivingProcess(process_id, str(said.get("role", "")), dict(said.get("settings", {})))
