"""The registry of the workers and gateways that are alive at this store.

Each process reports every few seconds: its release, the layouts that this release can read and
write, its settings, and what it holds.
"""

import json
from datetime import timedelta
from typing import Any, Final

from sendwindow.timestamps import from_ms
from worker.ports.processes import (
    LAYOUTS,
    Holdings,
    LayoutRange,
    LivingProcess,
    ProcessReport,
    RegistryAnswer,
)
from worker.stores.script_runner import ScriptRunner, compact
from worker.stores.worker_scripts import worker_script

_PROCESS: Final = worker_script("process")

ALIVE_FOR: Final = timedelta(seconds=30)
"""How long after its last report a process counts as alive: several times the interval between two
reports.
"""

_ALIVE_MS: Final = ALIVE_FOR // timedelta(milliseconds=1)


class ProcessStore:
    """Records and lists the processes of one partition. `layouts`: those of this release."""

    def __init__(
        self, calls: ScriptRunner, process_id: str, layouts: LayoutRange = LAYOUTS
    ) -> None:
        self._calls = calls
        self._process_id = process_id
        self._layouts = layouts

    async def report(self, report: ProcessReport) -> RegistryAnswer:
        """Record that this process is alive, and return whether it may work.

        If the answer names no process in the way, this process is recorded as working. Raises
        redis-py's errors.
        """
        first, last = self._layouts.first, self._layouts.last
        fields: dict[str, object] = {
            "role": report.role,
            "settings": report.settings,
            "release": report.release,
            "layouts": [first, last],
        }
        if report.holds is not None:
            fields |= {"messages": report.holds.messages, "posts": report.holds.posts}
        asked = compact(
            {
                "process": self._process_id,
                "alive_for": _ALIVE_MS,
                "layouts": [first, last],
                "is_working": report.is_working,
            }
        )
        now, mark, *others = await self._calls.run(
            _PROCESS,
            [asked, compact(fields), compact(fields | {"waits": 1})],
        )
        return RegistryAnswer(
            at=from_ms(int(now)),
            is_restoring=mark == 1,
            in_the_way=tuple(
                _process(process_id.decode(), value)
                for process_id, value in zip(others[::2], others[1::2], strict=True)
            ),
        )

    async def forget(self) -> None:
        """Record that this process ends. Raises redis-py's errors."""
        keys = self._calls.keys
        await self._calls.ask_together(
            [
                ("DEL", keys.process(self._process_id)),
                ("ZREM", keys.processes, self._process_id),
                ("HDEL", keys.meta, f"last:{self._process_id}"),
            ]
        )

    async def living(self) -> list[LivingProcess]:
        """Return the processes that reported within `ALIVE_FOR`, in no order.

        Raises redis-py's errors.
        """
        keys = self._calls.keys
        ids = [each.decode() for each in await self._calls.ask("ZRANGE", keys.processes, 0, -1)]
        if not ids:
            return []
        values: list[Any] = await self._calls.ask("MGET", *[keys.process(each) for each in ids])
        return [
            _process(one, value)
            for one, value in zip(ids, values, strict=True)
            if value is not None
        ]


def _process(process_id: str, value: bytes) -> LivingProcess:
    """Return an entry of any release. A field that is missing or unreadable is not known."""
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    entry: dict[str, Any] = found if isinstance(found, dict) else {}
    settings = entry.get("settings")
    return LivingProcess(
        process_id,
        str(entry.get("role", "")),
        dict(settings) if isinstance(settings, dict) else {},
        release=None if entry.get("release") is None else str(entry["release"]),
        layouts=_layouts(entry.get("layouts")),
        holds=_holdings(entry.get("messages"), entry.get("posts")),
        is_waiting=entry.get("waits") == 1,
    )


def _layouts(found: object) -> LayoutRange | None:
    match found:
        case [int(first), int(last), *_]:
            return LayoutRange(first, last)
    return None


def _holdings(messages: object, posts: object) -> Holdings | None:
    if isinstance(messages, int) and isinstance(posts, int):
        return Holdings(messages, posts)
    return None
