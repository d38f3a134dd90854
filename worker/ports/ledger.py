"""How a message moves through Redis: it is claimed, admitted and settled under a lease."""

from collections.abc import Sequence
from typing import Protocol

from sendwindow.vocabulary import Stage
from worker.ports.admissions import Admission, AdmitRequest
from worker.ports.arq_ingress import Adopted
from worker.ports.claims import ClaimBatch, ClaimRoom, Reaped, Suspects
from worker.ports.settlements import Settled, Settlement


class Ledger(Protocol):
    """Claims, admits and settles messages, and renews, releases and reaps their leases."""

    async def claim(
        self, limit: int, suspects: Suspects = Suspects.NEVER, room: ClaimRoom | None = None
    ) -> ClaimBatch:
        """Claim up to `limit` due messages that there is `room` for, or one suspect alone.

        Each message comes with a lease, a fence and its facts.
        """
        ...

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        """Record intents and grant permits. Returns one result per request, in order."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Record outcomes and apply their effects. Returns one result per settlement, in order."""
        ...

    async def renew(self, held: Sequence[tuple[str, int]]) -> list[str]:
        """Renew the leases of (message id, fence). Returns the ids that this worker has lost."""
        ...

    async def release(self, held: Sequence[tuple[str, int]]) -> list[Stage | None]:
        """Release claims (message id, fence) untouched. A release costs no try.

        Returns the stage that each message moved to, None when this worker no longer had it. A
        message ends if its cancellation was requested.
        """
        ...

    async def reap(self, limit: int) -> list[Reaped]:
        """Reap up to `limit` messages whose lease ran out."""
        ...

    async def end_cancelled(self, limit: int) -> int:
        """Record the end of up to `limit` messages that were cancelled while no worker held them.

        Returns how many are left. A repeated call goes on with those.
        """
        ...

    async def end_campaigns(self, limit: int) -> bool:
        """Look at up to `limit` queued messages of cancelled campaigns, and record their ends.

        Returns whether there is more to look at. A repeated call goes on there.
        """
        ...

    async def adopt(self, limit: int) -> Adopted:
        """Take up to `limit` jobs of plain arq producers into lanes, and honour `arq:abort`.

        The result names the jobs that could not be read.
        """
        ...

    async def wait_for_work(self, timeout: float) -> bool:
        """Wait until a lane becomes ready. Returns False after `timeout` seconds without one."""
        ...
