"""Limits the reads of an account, so that searches never make Twilio throttle the sending."""

from collections.abc import Callable


class TokenBucket:
    """Refills steadily up to `most`; starts full. `monotonic` in seconds."""

    def __init__(self, per_second: float, most: int, monotonic: Callable[[], float]) -> None:
        self._per_second = per_second
        self._most = most
        self._monotonic = monotonic
        self._left = float(most)
        self._read_at = monotonic()
        self._accounts: dict[str, TokenBucket] = {}

    def of(self, account: str) -> "TokenBucket":
        """Return the account's own bucket, of the same size. Twilio limits each account alone."""
        return self._accounts.setdefault(
            account, TokenBucket(self._per_second, self._most, self._monotonic)
        )

    @property
    def left(self) -> int:
        """How many whole requests may be made now."""
        now = self._monotonic()
        self._left = min(float(self._most), self._left + (now - self._read_at) * self._per_second)
        self._read_at = now
        return max(0, int(self._left))

    def spend(self, requests: int) -> None:
        """Take requests that were made. If more were made than were left, the next ones wait."""
        self._left -= requests
