"""What an operator sees and switches.

That is pauses of senders and accounts, and states of templates and of ACCOUNT_UPDATE.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal

from worker.ports.stored_facts import StoredState
from worker.stores.fact_parsing import read_state
from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import worker_script

Kind = Literal["sender", "account", "template", "tag_state"]
"""A template is named by its ContentSid, the ACCOUNT_UPDATE tag of a Page by its sender."""

_SWITCHES: Final = worker_script("switches")
_STATES: Final = worker_script("states")
_NOW: Final = worker_script("now")
_MS: Final = timedelta(milliseconds=1)


class PauseStore:
    """Changes the stored state of senders, accounts, templates and tags.

    Every change raises a revision.
    """

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def states(self, things: Sequence[tuple[Kind, str]]) -> list[StoredState]:
        """Return the state of each thing. A pause that is over is left out."""
        if not things:
            return []
        return [
            read_state(fields)
            for fields in await self._calls.run(_STATES, [word for each in things for word in each])
        ]

    async def paused_campaigns(self) -> list[tuple[str, str]]:
        """Return (sender, campaign) of each campaign that is paused, the next to end first."""
        now = int(await self._calls.run(_NOW, []))
        keys = self._calls.keys
        members = await self._calls.ask("ZRANGEBYSCORE", keys.parked, f"({now}", "+inf")
        names = [member.decode().split("|") for member in members]
        return [(each[1], each[2]) for each in names if each[0] == "campaign"]

    async def pause(
        self, kind: Literal["sender", "account"], name: str, lasting: timedelta, reason: str
    ) -> None:
        """Pause a sender or an account for a while.

        Messages that are already at Twilio are not affected.
        """
        await self._calls.run_durably(_SWITCHES, ["pause", kind, name, lasting // _MS, reason])

    async def resume(self, kind: Literal["sender", "account"], name: str) -> bool:
        """End a pause at once. Returns whether there was one."""
        return bool(await self._calls.run_durably(_SWITCHES, ["resume", kind, name]))

    async def reset(self, kind: Literal["template", "tag_state"], name: str) -> bool:
        """Remove what errors said about a template, or about ACCOUNT_UPDATE on a sender's Page.

        Returns False when there was nothing to remove.
        """
        return bool(await self._calls.run_durably(_SWITCHES, ["reset", kind, name]))
