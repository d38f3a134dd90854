"""Steps of claims that several test files use."""

from tests.support.stores_world import (
    LEASE,
    World,
)
from worker.ports.claims import CRASHES_IN_COMPANY


async def crash(world: World) -> None:
    await world.later(seconds=LEASE.total_seconds() + 1)


async def suspected(world: World, *message_ids: str) -> None:
    """Let a worker die while it holds all of these messages, and then another worker."""
    for message_id in message_ids:
        await world.enqueue(message_id)
    for _ in range(CRASHES_IN_COMPANY):
        assert len(await world.claim(10)) == len(message_ids)
        await crash(world)
        await world.store.ledger.reap(10)
