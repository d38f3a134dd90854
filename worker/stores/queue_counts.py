"""Counts the queued messages of a sender again when its queue seems full.

The scripts count each message exactly, but libraries of producers older than 0.1.0 do not count.
"""

from collections.abc import Mapping
from typing import Final

from worker.stores.lanes import lane_names
from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import worker_script

_RECOUNT: Final = worker_script("recount")
_MAX_TRIES: Final = 10
"""A count that changes while the lanes are counted is left for the next round after so many."""


async def recount(calls: ScriptRunner, limits: Mapping[str, int]) -> int:
    """Correct the count of each sender that seems to have reached its limit.

    `limits`: sender → how many messages may be queued for it; 0: any number. Returns how many
    counts were wrong.
    """
    limited = [sender for sender, most in limits.items() if most]
    if not limited:
        return 0
    counts = await calls.ask("HMGET", calls.keys.queued, *limited)
    pairs = zip(limited, counts, strict=True)
    full = [sender for sender, count in pairs if int(count or 0) >= limits[sender]]
    if not full:
        return 0
    lanes = await lane_names(calls)
    own = [[lane for lane in lanes if lane.startswith(f"{sender}|")] for sender in full]
    return sum([await _recount(calls, *each) for each in zip(full, own, strict=True)])


async def _recount(calls: ScriptRunner, sender: str, lanes: list[str]) -> bool:
    keys = calls.keys
    lengths = [("ZCARD", keys.lane(lane)) for lane in lanes]
    for _ in range(_MAX_TRIES):
        found, *queued = await calls.ask_together([("HGET", keys.queued, sender), *lengths])
        seen, number = (found or b"0").decode(), str(sum(queued))
        if seen == number:
            return False
        if await calls.run(_RECOUNT, [sender, seen, number]):
            return True
    return False
