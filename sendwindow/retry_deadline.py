"""Decides how long a producer retries a call and which error it raises when it gives up.

Reads the monotonic clock but never sleeps.
"""

import random
import time
from typing import Final

from redis.exceptions import RedisError

from sendwindow.errors import NotDurable, QueueFull, StoreUnavailable
from sendwindow.store_faults import fault_of

STORE_ERRORS: Final = (RedisError, OSError, NotDurable)
"""Every error that a call to the store may raise."""

PRESSURE_LIMIT: Final = 80
"""Share of the store's memory in use, in percent, from which it accepts no new messages."""

FULL: Final = (
    f"the store is over {PRESSURE_LIMIT} % of its memory and takes no new messages; "
    "send it again later, and add workers or memory if this lasts"
)

_PAUSE_BASE: Final = 0.02
_PAUSE_CAP: Final = 0.5


class RetryDeadline:
    """The deadline of one call: `seconds` from now.

    `place` names the store in the errors that `after` raises.
    """

    def __init__(self, seconds: float, place: str = "the store") -> None:
        self._place = place
        self._ends_at = _monotonic() + seconds
        self._seconds = seconds
        self.failures = 0

    def after(self, error: Exception) -> float:
        """Return how many seconds to pause before the next try.

        Raises QueueFull or StoreUnavailable if another try cannot help. Raises StoreUnavailable if
        no time is left (NotDurable if too few replicas acknowledged the last try).
        """
        self.failures += 1
        fault = fault_of(error)
        if fault.word == "OOM":
            raise QueueFull(FULL)
        if not fault.is_passing:
            raise StoreUnavailable(fault.sentence(self._place))
        pause = random.uniform(0, min(_PAUSE_CAP, _PAUSE_BASE * 2**self.failures))
        if _monotonic() + pause >= self._ends_at:
            if isinstance(error, NotDurable):
                raise error
            raise StoreUnavailable(
                f"no answer within {self._seconds:g} s: {fault.sentence(self._place)}, "
                "then send the same object again"
            )
        return pause


def _monotonic() -> float:
    return time.monotonic()  # noqa: TID251  # a backend installs this package without worker.runtime.clock
