"""Which Pages risk a message on ACCOUNT_UPDATE: no `sent` of theirs was told yet."""

from typing import Final

from worker.sandbox.messages import Held

_SENT: Final = frozenset({"sent", "delivered", "read"})
_LANDED: Final = _SENT | {"failed", "undelivered"}
_REMEMBERED_MS: Final = 24 * 3600 * 1000 - 60_000
"""Nobody has to wait for longer than a day for word of a message; less a minute, as clocks differ."""


class Tags:
    """The tagged messages of each Page until one of them is told as sent."""

    def __init__(self) -> None:
        self._flying: dict[str, list[Held]] = {}
        self._proven: set[str] = set()

    def add(self, held: Held) -> None:
        """Remember a tagged message."""
        if held.sender is not None and held.sender not in self._proven:
            self._flying.setdefault(held.sender, []).append(held)

    def is_second(self, sender: str | None, message_id: str | None, now_ms: int) -> bool:
        """Tell whether another message of this Page is on its way and nothing was ever heard of one."""
        line = self._flying.get(sender or "", [])
        if any(held.heard in _SENT for held in line):
            self._proven.add(sender or "")
            del self._flying[sender or ""]
            return False
        return any(
            held.heard not in _LANDED and held.message_id != message_id and now_ms - held.created_ms < _REMEMBERED_MS
            for held in line
        )
