"""When a worker empties its hands for suspects, which two workers crashed with: half of its time at most."""

import math
from typing import Final

from worker.values.claims import ClaimBatch, Suspects

LONGEST: Final = 1.0
"""Seconds after which a turn takes no further suspect. It takes one, however long it took to empty the hands."""

SHORTEST_WAIT: Final = 2.0
LONGEST_WAIT: Final = 35.0
"""Seconds a turn waits for empty hands: twice as long after each that was given up, in the end longer than any POST."""


class Turns:
    """Turns of one worker, told by its claims. Instants in monotonic seconds."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._has_taken = False
        self._is_empty = False
        self._wait = SHORTEST_WAIT
        self._rests_until = -math.inf

    @property
    def is_on(self) -> bool:
        """Whether nothing is to be claimed until the hands are empty."""
        return self._began is not None

    def left(self, now: float) -> float | None:
        """Say for how many more seconds to wait for empty hands; None when nothing waits for them."""
        return None if self._began is None or self._is_empty else max(0.0, self._began + self._wait - now)

    def give_up(self, now: float) -> None:
        """End a turn that waited long enough for empty hands: one slow POST must not keep everything else waiting."""
        if self.left(now) == 0.0:
            self._wait = min(LONGEST_WAIT, 2 * self._wait)
            self._end(now)

    def wish(self, now: float) -> Suspects:
        """Say what to claim with empty hands."""
        if self._began is not None:
            self._is_empty, self._wait = True, SHORTEST_WAIT
        if self._began is not None and self._has_taken and now - self._began >= LONGEST:
            self._end(now)
        return Suspects.FIRST if now >= self._rests_until else Suspects.LAST

    def heard(self, batch: ClaimBatch, now: float) -> None:
        """Begin, go on or end, as a claim says. While a turn is on it was made with empty hands."""
        if self._began is None:
            if (batch.is_called or batch.has_suspect) and now >= self._rests_until:
                self._began, self._has_taken, self._is_empty = now, batch.has_suspect, batch.has_suspect
        elif batch.has_suspect:
            self._has_taken = True
        else:
            self._end(now)

    def _end(self, now: float) -> None:
        """Others get as long as this turn took."""
        if self._began is not None:
            self._rests_until = now + (now - self._began)
        self._began = None
