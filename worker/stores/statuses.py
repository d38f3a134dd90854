"""What Twilio reports about messages: status callbacks, and rows of its list."""

from collections.abc import Sequence
from typing import Final

from worker.ports.statuses import StatusApplied, StatusUpdate
from worker.stores.script_arguments import status_argument
from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import worker_script

_STATUS: Final = worker_script("status")


class StatusStore:
    """Implements `worker.ports.Statuses` on one partition."""

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def apply(self, updates: Sequence[StatusUpdate]) -> list[StatusApplied]:
        """Move statuses forward only, and bind SIDs to the attempts that they name.

        Takes at most 32 updates at once.
        """
        if not updates:
            return []
        answers = await self._calls.run_once(
            _STATUS, [status_argument(update) for update in updates]
        )
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
            for (
                known,
                moved,
                resolved,
                reopened,
                message_id,
                wronged,
                attempt,
                is_copy,
                is_end,
            ) in answers
        ]
