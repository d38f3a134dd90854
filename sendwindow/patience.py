"""How long a producer keeps trying, and what it says when it gives up. Reads the monotonic clock, sleeps nowhere."""

import random
import time
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)

from sendwindow.connect import RETRIED
from sendwindow.errors import NotDurable, QueueFull, StoreUnavailable

STORE_ERRORS: Final = (RedisError, OSError, NotDurable)
"""Everything a call to the store may raise."""

PRESSURE_LIMIT: Final = 80
"""Share of the store's memory, in percent, from which it takes no new messages."""

FULL: Final = (
    f"the store is over {PRESSURE_LIMIT} % of its memory and takes no new messages; send it again later, "
    "and add workers or memory if this lasts"
)

_PAUSE_BASE: Final = 0.02
_PAUSE_CAP: Final = 0.5
_PASSING: Final = frozenset({"NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "LOADING"})
_DENIED: Final = (AuthenticationError, AuthorizationError, NoPermissionError)


class Patience:
    """One call's patience of `seconds`, from now."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = _monotonic() + seconds
        self._seconds = seconds
        self.failures = 0

    def after(self, error: Exception) -> float:
        """Answer how many seconds to pause before the next try.

        Raises QueueFull or StoreUnavailable when another try makes no sense or no time is left.
        """
        self.failures += 1
        final = _final(error)
        if final:
            raise final
        pause = random.uniform(0, min(_PAUSE_CAP, _PAUSE_BASE * 2**self.failures))
        if _monotonic() + pause >= self._ends_at:
            if isinstance(error, NotDurable):
                raise error
            raise StoreUnavailable(
                f"the store gave no answer within {self._seconds:g} s ({type(error).__name__}); "
                "check that it runs and that this host reaches it, then send the same object again"
            )
        return pause


def _monotonic() -> float:
    return time.monotonic()  # noqa: TID251  # a backend installs this package without worker.clock


def _final(error: Exception) -> QueueFull | StoreUnavailable | None:
    word = str(error).partition(" ")[0]
    if isinstance(error, OutOfMemoryError):
        return QueueFull(FULL)
    # redis-py 5 hides a refused password behind a ConnectionError when it connects.
    if isinstance(error, _DENIED) or isinstance(error.__cause__, _DENIED):
        return StoreUnavailable(
            "the store refused user, password or permission; check the URL's credentials and the ACL"
        )
    if isinstance(error, (*RETRIED, NotDurable)) or (isinstance(error, ResponseError) and word in _PASSING):
        return None
    return StoreUnavailable(
        f"the store answered with an error ({word if word.isupper() else type(error).__name__}); "
        "check that it is Redis 7.0 or later, or Valkey, and look into its log"
    )
