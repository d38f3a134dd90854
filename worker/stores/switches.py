"""What a person sees and switches by hand: pauses of senders and accounts, states of templates and ACCOUNT_UPDATE."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal

from worker.stores.calls import Calls, worker_script
from worker.stores.facts import read_state
from worker.values.facts import StoredState

Kind = Literal["sender", "account", "template", "tag_state"]
"""A template goes by its ContentSid, ACCOUNT_UPDATE on a Page by its sender."""

_SWITCHES: Final = worker_script("switches")
_STATES: Final = worker_script("states")
_MS: Final = timedelta(milliseconds=1)


class Switches:
    """Changes the stored state of senders, accounts, templates and tags; every change bumps a revision."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def states(self, things: Sequence[tuple[Kind, str]]) -> list[StoredState]:
        """What was said of each thing, as far as it has not lapsed."""
        if not things:
            return []
        return [
            read_state(fields) for fields in await self._calls.run(_STATES, [word for each in things for word in each])
        ]

    async def pause(self, kind: Literal["sender", "account"], name: str, lasting: timedelta, reason: str) -> None:
        """Let nothing more go out from a sender or an account for a while; what is at Twilio is not touched."""
        await self._calls.run_durably(_SWITCHES, ["pause", kind, name, lasting // _MS, reason])

    async def resume(self, kind: Literal["sender", "account"], name: str) -> bool:
        """End a pause at once. Answers whether there was one."""
        return bool(await self._calls.run_durably(_SWITCHES, ["resume", kind, name]))

    async def reset(self, kind: Literal["template", "tag_state"], name: str) -> bool:
        """Forget what errors said about a template, or about ACCOUNT_UPDATE on a sender's Page; False: nothing."""
        return bool(await self._calls.run_durably(_SWITCHES, ["reset", kind, name]))
