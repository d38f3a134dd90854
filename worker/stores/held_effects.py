"""Effects of errors on persons, held until an operator decides."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sendwindow.timestamps import from_ms
from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import worker_script

_HELD: Final = worker_script("held")
MAX_BATCH_EFFECTS: Final = 32
"""How many effects one call applies or discards."""


@dataclass(frozen=True, slots=True)
class HeldEffects:
    """The held effects of one sender.

    `waiting`: how many. `since`: when the oldest one was held. `reasons`: how many there are of
    each reason.
    """

    sender: str
    waiting: int
    since: datetime | None
    reasons: Mapping[str, int]


class HeldStore:
    """Reads and decides the held effects of one partition."""

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def waiting(self, senders: Sequence[str]) -> Mapping[str, int]:
        """Return how many effects are held for each sender, without the senders that have none."""
        lengths = await self._calls.ask_together(
            [("LLEN", self._calls.keys.held(sender)) for sender in senders]
        )
        return {
            sender: int(length) for sender, length in zip(senders, lengths, strict=True) if length
        }

    async def examine(self, sender: str) -> HeldEffects:
        """Return the held effects of a sender, without the persons that they are about."""
        lines = await self._calls.ask("LRANGE", self._calls.keys.held(sender), 0, -1)
        kept = [json.loads(line) for line in lines]
        return HeldEffects(
            sender=sender,
            waiting=len(kept),
            since=from_ms(int(kept[0]["at"])) if kept else None,
            reasons=Counter(_reason(one["effect"]) for one in kept),
        )

    async def decide(self, action: Literal["apply", "discard"], sender: str, most: int) -> int:
        """Apply or discard up to `most` effects, the oldest first.

        Returns how many. Effects that arrive meanwhile stay.
        """
        done = 0
        while done < most:
            taken, left = await self._calls.run_once(
                _HELD, [action, sender, min(MAX_BATCH_EFFECTS, most - done)]
            )
            done += int(taken)
            if not left or not taken:
                break
        return done


def _reason(effect: Mapping[str, Any]) -> str:
    words = effect.get("reason") or effect.get("evidence") or f"code {effect.get('code')}"
    return str(words).removeprefix("twilio ")
