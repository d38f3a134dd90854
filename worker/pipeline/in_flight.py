"""A claimed message in this worker, with what only this worker knows about it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.ports.claims import ClaimedMessage


@dataclass(slots=True, eq=False)
class InFlightMessage:
    """A claimed message, from its claim until its outcome is recorded.

    `store_now`: the store's clock at `read_at`. `read_at`: monotonic seconds of this process.
    `is_lost`: another worker has the lease now, so this worker starts nothing more for the message.
    `is_recording`: the outcome is on its way to Redis, which ends the lease.
    """

    claimed: ClaimedMessage
    store_now: datetime
    read_at: float
    is_lost: bool = False
    is_recording: bool = False

    def now(self, monotonic: float) -> datetime:
        """Return the store's clock at an instant of this process's monotonic clock.

        Never earlier than `store_now`.
        """
        return self.store_now + timedelta(seconds=max(0.0, monotonic - self.read_at))
