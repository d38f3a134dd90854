"""Names the lanes that have messages."""

from collections.abc import Iterable

from sendwindow.script_names import CLASSES
from worker.stores.script_runner import ScriptRunner


async def lane_names(calls: ScriptRunner) -> list[str]:
    """Return the name of each lane that has messages, and perhaps of some that have none any more.

    A lane is marked, waits on a timer, is in the ring of its sender, or is parked. What moves
    meanwhile may be missed.
    """
    keys = calls.keys
    marked, timed, parked = await calls.ask_together(
        [("ZRANGE", key, 0, -1) for key in (keys.ready, keys.timers, keys.parked)]
    )
    apart: dict[str, list[str]] = {"account": [], "sender": [], "campaign": []}
    for kind, _, name in (member.decode().partition("|") for member in parked):
        apart[kind].append(name)
    accounts = [*await _members(calls, CLASSES), *apart["account"]]
    senders = await _members(calls, _each_class("senders", accounts))
    own = [
        f"{sender}|{each}|{campaign}"
        for sender, _, campaign in (name.partition("|") for name in apart["campaign"])
        for each in CLASSES
    ]
    lanes = await _members(calls, _each_class("lanes", [*senders, *apart["sender"]]))
    return list(dict.fromkeys([*(lane.decode() for lane in (*marked, *timed)), *own, *lanes]))


def _each_class(level: str, names: Iterable[str]) -> list[str]:
    """Return the names of the rings of each class at one level."""
    return [f"{each}|{level}|{name}" for name in dict.fromkeys(names) for each in CLASSES]


async def _members(calls: ScriptRunner, rings: Iterable[str]) -> list[str]:
    """Return the members of some rings, each once."""
    asked = [("ZRANGE", calls.keys.ring(name), 0, -1) for name in rings]
    found = await calls.ask_together(asked) if asked else []
    return list(dict.fromkeys(member.decode() for members in found for member in members))
