"""Stops a worker that cannot reach Twilio. Pure: callers pass the seconds of a monotonic clock."""

from dataclasses import dataclass, field
from typing import Final

MAX_FAILURES: Final = 3
"""How many POSTs in a row may fail before a byte left, until the breaker opens."""

FIRST_WAIT_SECONDS: Final = 0.5
MAX_WAIT_SECONDS: Final = 5.0
"""Short, so that sending resumes within seconds of the network's return. Nothing was sent, so a try
costs no unknown outcome.
"""


@dataclass(slots=True)
class OwnBreaker:
    """A worker's own breaker. It opens when nothing that the worker sends leaves the machine.

    Refused connections, DNS, TLS handshakes and proxies are the causes. Other workers may still
    reach Twilio, so the breaker concerns this worker alone. While it is open, one message at a time
    tries the connection, after waits that double from 0.5 s to 5 s. Any POST of which bytes left
    closes it.

    `is_open`: nothing starts except that one message. `failures`: how many POSTs in a row failed.
    """

    failures: int = 0
    is_open: bool = False
    _wait: float = FIRST_WAIT_SECONDS
    _tries_at: float = 0.0
    _opened_at: float = 0.0
    _trying: object | None = field(default=None, repr=False)

    def room(self, now: float) -> int:
        """Return how many messages the worker may claim while the breaker is open."""
        return 1 if self._trying is None and now >= self._tries_at else 0

    def seconds_left(self, now: float) -> float | None:
        """Return how long the worker waits until it may try.

        None while the breaker is closed or a try is under way.
        """
        is_waiting = self.is_open and self._trying is None
        return max(0.0, self._tries_at - now) if is_waiting else None

    def begin(self, message: object, now: float) -> bool:
        """Return whether a message may start. While the breaker is open, it is then the one try."""
        if not self.is_open:
            return True
        if self.room(now) == 0:
            return False
        self._trying = message
        return True

    def end(self, message: object) -> None:
        """Record that a message that began is over, with or without a POST."""
        if self._trying is message:
            self._trying = None

    def not_sent(self, message: object, now: float) -> bool:
        """Record that no byte of a POST left. Returns whether that opened the breaker."""
        self.failures += 1
        if not self.is_open:
            if self.failures < MAX_FAILURES:
                return False
            self.is_open, self._opened_at = True, now
            self._wait, self._tries_at = FIRST_WAIT_SECONDS, now + FIRST_WAIT_SECONDS
            return True
        if self._trying is message:
            self._wait = min(MAX_WAIT_SECONDS, 2 * self._wait)
            self._tries_at = now + self._wait
        return False

    def sent(self, now: float) -> float | None:
        """Record that bytes left. Returns for how long the breaker was open, None if it was not."""
        self.failures = 0
        if not self.is_open:
            return None
        self.is_open = False
        return now - self._opened_at
