"""Decides how long a producer retries a call and which error it raises when it gives up.

Reads the monotonic clock but never sleeps.
"""

import random
import time
from collections.abc import Sequence
from typing import Final

from redis.exceptions import RedisError

from sendwindow.contract import SendMessage
from sendwindow.errors import NotDurable, QueueFull, StoreUnavailable
from sendwindow.store_faults import fault_of

STORE_ERRORS: Final = (RedisError, OSError, NotDurable)
"""Every error that a call to the store may raise."""

MAX_MEMORY_PERCENT: Final = 80
"""Share of the store's memory in use, in percent, from which it accepts no new messages."""

FULL: Final = (
    f"the store is over {MAX_MEMORY_PERCENT} % of its memory and takes no new messages; "
    "send it again later, and add workers or memory if this lasts"
)

_FULL_AFTER_SILENCE: Final = (
    "the store is nearly out of memory, and an earlier try of this call got no answer; "
    "send the same object again later, which never makes a second message"
)
"""The error text for a store that refuses a repeated call as full.

The store may have accepted the messages in an earlier try whose reply was lost.
"""

_FIRST_PAUSE_SECONDS: Final = 0.02
_MAX_PAUSE_SECONDS: Final = 0.5


class RetryDeadline:
    """The deadline of one call: `seconds` from now. Counts the tries that failed.

    `place` names the store in the errors that `after` raises. `messages` are what the call queues:
    its errors list them where an earlier try may have queued them.
    """

    def __init__(
        self, seconds: float, place: str = "the store", messages: Sequence[SendMessage] = ()
    ) -> None:
        self.failures = 0
        self._place = place
        self._messages = messages
        self._ends_at = _monotonic() + seconds
        self._seconds = seconds

    def after(self, error: Exception) -> float:
        """Return how many seconds to pause before the next try.

        Raises QueueFull if the first try met a full store, after which nothing is queued. Raises
        StoreUnavailable if another try cannot help or no time is left (NotDurable if too few
        replicas acknowledged the last try).
        """
        self.failures += 1
        fault = fault_of(error)
        if fault.word == "OOM":
            if self.failures == 1:
                raise QueueFull(FULL)
            raise StoreUnavailable(_FULL_AFTER_SILENCE, unproven=self._messages)
        if not fault.is_passing:
            raise StoreUnavailable(fault.sentence(self._place), unproven=self._messages)
        pause = random.uniform(0, min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**self.failures))
        if _monotonic() + pause < self._ends_at:
            return pause
        if isinstance(error, NotDurable):
            error.unproven = tuple(self._messages)
            raise error
        raise StoreUnavailable(
            f"no answer within {self._seconds:g} s: {fault.sentence(self._place)}, "
            "then send the same object again",
            unproven=self._messages,
        )


def _monotonic() -> float:
    return time.monotonic()  # noqa: TID251  # a backend installs this package without worker.runtime.clock
