"""Decides when a worker drains its in-flight messages so that it can process a suspect alone.

A suspect is a message that two workers crashed on. Draining takes at most half of a worker's time.
"""

import math
from typing import Final

from worker.ports.claims import CRASHES_IN_COMPANY, ClaimBatch, Suspects

MAX_SECONDS: Final = 1.0
"""How long a drained worker continues to claim suspects. It claims one in any case."""

MIN_WAIT_SECONDS: Final = 2.0
MAX_WAIT_SECONDS: Final = 35.0
"""How long a worker waits until it is drained.

The wait doubles each time the worker gave up. The longest wait exceeds the time of any POST.
"""


class SuspectIsolation:
    """The isolation of one worker, driven by its claims. Instants in monotonic seconds.

    `is_on`: the worker must not claim before it has drained. `has_claimed_suspect`: its last claim
    returned a suspect.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.has_claimed_suspect = False
        self._began: float | None = None
        self._has_taken = False
        self._is_drained = False
        self._wait = MIN_WAIT_SECONDS
        self._rests_until = -math.inf

    def seconds_left(self, now: float) -> float | None:
        """Return how many more seconds to wait until the worker is drained.

        None when it does not wait for that.
        """
        if self._began is None or self._is_drained:
            return None
        return max(0.0, self._began + self._wait - now)

    def expire(self, now: float) -> None:
        """End an isolation that waited long enough.

        One slow POST must not hold up all other messages.
        """
        if self.seconds_left(now) == 0.0:
            self._wait = min(MAX_WAIT_SECONDS, 2 * self._wait)
            self._end(now)

    def suspects_to_claim(self, now: float) -> Suspects:
        """Return which suspects a drained worker may claim."""
        if self._began is not None:
            self._is_drained, self._wait = True, MIN_WAIT_SECONDS
        if self._began is not None and self._has_taken and now - self._began >= MAX_SECONDS:
            self._end(now)
        return Suspects.FIRST if now >= self._rests_until else Suspects.LAST

    def observe(self, batch: ClaimBatch, now: float) -> None:
        """Begin, continue or end the isolation, according to the result of a claim.

        While the isolation is on, the worker that made the claim was drained.
        """
        has_suspect = any(one.crashes >= CRASHES_IN_COMPANY for one in batch.claimed)
        self.has_claimed_suspect = has_suspect
        if self._began is None:
            if (batch.is_called or has_suspect) and now >= self._rests_until:
                self.is_on, self._began = True, now
                self._has_taken = self._is_drained = has_suspect
        elif has_suspect:
            self._has_taken = True
        else:
            self._end(now)

    def _end(self, now: float) -> None:
        """End the isolation, and leave the other messages as much time as it took."""
        if self._began is not None:
            self._rests_until = now + (now - self._began)
        self.is_on, self._began = False, None
