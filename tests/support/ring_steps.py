"""Steps of the tests of rings: queue messages of one lane, and read the rings of a store."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sendwindow.codec import encode_job
from sendwindow.contract import Freeform, SendMessage
from sendwindow.protocol import ENQUEUE, row_arguments
from sendwindow.vocabulary import Priority, Purpose
from tests.support.cast import ANNA
from tests.support.ring_tree import LaneName
from tests.support.stores_world import ACCOUNT, REFUSED, SENDER, World, settlement
from worker.ports.claims import Suspects

CLASSES = [str(each) for each in Priority]


async def queue(
    world: World,
    lane: LaneName,
    ids: Iterable[str],
    *,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Queue messages of one lane in one call."""
    arguments: list[Any] = [0]
    for message_id in ids:
        message = SendMessage(
            to=ANNA,
            sender=lane.sender,
            purpose=Purpose.UTILITY,
            freeform=Freeform(body="hello"),
            message_id=message_id,
            priority=Priority(lane.priority),
            campaign=lane.campaign or None,
            not_before=not_before,
            expires_at=expires_at,
        )
        arguments += row_arguments(message, encode_job(message, 0))
    await world.calls.run(ENQUEUE, arguments)


async def claimed_by(world: World, limit: int) -> list[str]:
    """Claim, and end what was claimed. Return the ids."""
    batch = await world.store.ledger.claim(limit, Suspects.NEVER)
    if batch.claimed:
        await world.store.ledger.settle([settlement(one, REFUSED) for one in batch.claimed])
    return [one.message_id for one in batch.claimed]


def lane(sender: str = SENDER, priority: str = "normal", campaign: str = "") -> LaneName:
    return LaneName(ACCOUNT, sender, priority, campaign)


@dataclass(frozen=True, slots=True)
class Rings:
    """What a store holds about turns."""

    members: dict[str, list[str]]
    parked: set[str]
    due: set[str]
    """Lanes with due messages."""

    coming: set[str]
    """Lanes that the next claim moves into the rings: they are marked, or their timer is over."""


async def read_rings(world: World) -> Rings:
    keys, redis = world.keys, world.redis
    now = (await world.store.now()).timestamp() * 1000
    members: dict[str, list[str]] = {}
    due = set()
    async for key in redis.scan_iter(match=f"sw:{keys.tag}:[rl]*", count=1000):
        kind, _, name = key.decode().removeprefix(keys.meta.removesuffix("meta")).partition(":")
        if kind == "ring":
            members[name] = [each.decode() for each in await redis.zrange(key, 0, -1)]
        elif kind == "lane" and await redis.zcount(key, "-inf", now):
            due.add(name)
    parked = {each.decode() for each in await redis.zrange(keys.parked, 0, -1)}
    coming = {
        each.decode()
        for each in [
            *await redis.zrange(keys.ready, 0, -1),
            *await redis.zrangebyscore(keys.timers, "-inf", now),
        ]
    }
    return Rings(members, parked, due, coming)


def faults(rings: Rings, account_of: dict[str, str]) -> list[str]:
    """Return what is wrong with the rings of a store: who has work and no turn, or is parked and
    has one.
    """
    has, found = rings.members, []
    for lane in rings.due - rings.coming:
        sender, priority, _ = lane.split("|")
        if lane not in has.get(f"{priority}|lanes|{sender}", []):
            found.append(f"the lane {lane} has no turn")
    for priority in CLASSES:
        for sender, account in account_of.items():
            has_work, ring = f"{priority}|lanes|{sender}" in has, f"{priority}|senders|{account}"
            may = has_work and f"sender|{sender}" not in rings.parked
            if may != (sender in has.get(ring, [])):
                found.append(f"the sender {sender} in {ring}: {not may}")
        for account in set(account_of.values()):
            has_work = f"{priority}|senders|{account}" in has
            may = has_work and f"account|{account}" not in rings.parked
            if may != (account in has.get(priority, [])):
                found.append(f"the account {account} in {priority}: {not may}")
        if (priority in has) != (priority in has.get("classes", [])):
            found.append(f"the class {priority}")
    return found
