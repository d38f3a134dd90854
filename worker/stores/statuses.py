"""What providers report back about messages: status callbacks and rows of Twilio's list."""

from collections.abc import Sequence
from typing import Final

from worker.stores.calls import Calls, worker_script
from worker.stores.encoding import status_argument
from worker.values.statuses import StatusApplied, StatusUpdate

_STATUS: Final = worker_script("status")


class StatusStore:
    """Answers `worker.ports.Statuses` from one partition."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def apply(self, updates: Sequence[StatusUpdate]) -> list[StatusApplied]:
        """Move statuses forward only; bind SIDs to the attempts they name. At most 32 at once."""
        if not updates:
            return []
        answers = await self._calls.run_once(_STATUS, [status_argument(update) for update in updates])
        return [
            StatusApplied(
                known=bool(known),
                moved=bool(moved),
                resolved=bool(resolved),
                message_id=message_id.decode() or None,
                reopened=bool(reopened),
                unbound=(wronged.decode(), int(attempt)) if wronged else None,
                is_copy=bool(is_copy),
                is_end=bool(is_end),
            )
            for known, moved, resolved, reopened, message_id, wronged, attempt, is_copy, is_end in answers
        ]
