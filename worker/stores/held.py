"""What errors would change in what is known of persons, kept aside until an operator decides."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sendwindow.instants import from_ms
from worker.stores.calls import Calls, worker_script

_HELD: Final = worker_script("held")
BATCH: Final = 32
"""Effects that one call applies or discards."""


@dataclass(frozen=True, slots=True)
class HeldEffects:
    """What is kept aside for one sender: how many effects, since when, and how many of each reason."""

    sender: str
    waiting: int
    since: datetime | None
    reasons: Mapping[str, int]


class HeldStore:
    """Reads and decides what is kept aside in one partition."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def waiting(self, senders: Sequence[str]) -> Mapping[str, int]:
        """Return how many effects are kept aside for each sender, those without any left out."""
        pipeline = self._calls.redis.pipeline(transaction=False)
        for sender in senders:
            pipeline.llen(self._calls.keys.held(sender))
        lengths = await pipeline.execute() if senders else []
        return {sender: int(length) for sender, length in zip(senders, lengths, strict=True) if length}

    async def examine(self, sender: str) -> HeldEffects:
        """Return what is kept aside for a sender, without the persons it is about."""
        lines: Any = self._calls.redis.lrange(self._calls.keys.held(sender), 0, -1)
        kept = [json.loads(line) for line in await lines]
        return HeldEffects(
            sender=sender,
            waiting=len(kept),
            since=from_ms(int(kept[0]["at"])) if kept else None,
            reasons=Counter(_reason(one["effect"]) for one in kept),
        )

    async def decide(self, action: Literal["apply", "discard"], sender: str, most: int) -> int:
        """Apply or discard up to `most` effects, the oldest first. Returns how many; what comes meanwhile stays."""
        done = 0
        while done < most:
            taken, left = await self._calls.run_once(_HELD, [action, sender, min(BATCH, most - done)])
            done += int(taken)
            if not left or not taken:
                break
        return done


def _reason(effect: Mapping[str, Any]) -> str:
    words = effect.get("reason") or effect.get("evidence") or f"code {effect.get('code')}"
    return str(words).removeprefix("twilio ")
