"""A store that an operator marked as restored from a copy."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Restoring:
    """The mark of a store. `copied_at` and `restored_at`: None when it is not marked.

    `alive_at`: the last life sign of a process, None when there never was one. `living`: processes
    that are alive now.
    """

    copied_at: datetime | None
    restored_at: datetime | None
    alive_at: datetime | None
    living: int
