"""A budget of read requests, so that a search for evidence never competes with sending for Twilio's patience."""

from collections.abc import Callable


class Budget:
    """Refills steadily up to `most`; starts full. `monotonic` in seconds."""

    def __init__(self, per_second: float, most: int, monotonic: Callable[[], float]) -> None:
        self._per_second = per_second
        self._most = most
        self._monotonic = monotonic
        self._left = float(most)
        self._read_at = monotonic()
        self._accounts: dict[str, Budget] = {}

    def of(self, account: str) -> "Budget":
        """Return the account's own budget, of the same size: Twilio limits each by itself."""
        return self._accounts.setdefault(account, Budget(self._per_second, self._most, self._monotonic))

    @property
    def left(self) -> int:
        """Whole requests that may be made now."""
        now = self._monotonic()
        self._left = min(float(self._most), self._left + (now - self._read_at) * self._per_second)
        self._read_at = now
        return max(0, int(self._left))

    def spend(self, requests: int) -> None:
        """Take requests that were made; more than were left delays the next ones."""
        self._left -= requests
