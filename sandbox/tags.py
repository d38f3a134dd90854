"""Which Pages risk a message on ACCOUNT_UPDATE: those without a reported `sent` so far."""

from typing import Final

from sandbox.message_store import StoredMessage

_SENT: Final = frozenset({"sent", "delivered", "read"})
_LANDED: Final = _SENT | {"failed", "undelivered"}
_REMEMBERED_MS: Final = 24 * 3600 * 1000 - 60_000
"""The longest time, in ms, that a sender must wait to learn the fate of a message: a day, less a
minute because the clocks may differ."""


class Tags:
    """The tagged messages of each Page, until one of them is reported as sent."""

    def __init__(self) -> None:
        self._flying: dict[str, list[StoredMessage]] = {}
        self._proven: set[str] = set()

    def add(self, held: StoredMessage) -> None:
        """Record a tagged message."""
        if held.sender is not None and held.sender not in self._proven:
            self._flying.setdefault(held.sender, []).append(held)

    def is_second(self, sender: str | None, message_id: str | None, now_ms: int) -> bool:
        """Return whether another tagged message of this Page is on its way and none has been sent.

        "Sent" means that a callback reported it.
        """
        line = self._flying.get(sender or "", [])
        if any(held.heard in _SENT for held in line):
            self._proven.add(sender or "")
            del self._flying[sender or ""]
            return False
        return any(
            held.heard not in _LANDED
            and held.message_id != message_id
            and now_ms - held.created_ms < _REMEMBERED_MS
            for held in line
        )
