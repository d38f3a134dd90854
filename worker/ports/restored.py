"""A store that an operator marked as restored from a copy."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Restoring:
    """Whether a store is marked. `copied_at` is None when it is not.

    `alive_at`: when a process last reported that it is alive, None when no process ever did.
    `living`: how many processes are alive now.
    """

    copied_at: datetime | None
    alive_at: datetime | None
    living: int
