"""One node of a Redis Cluster with every slot: no script names keys of two slots.

That includes adoption. Redis Cluster is not supported. This shows what a single node can: it
refuses scripts and commands that cross slots.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sendwindow.codec import arq_serializer
from sendwindow.keys import ARQ_ABORT, ARQ_JOB
from tests.chaos.sentinel import StoreServer, one_server
from tests.conftest import StoreUnderTest
from tests.support.cast import ANNA
from tests.support.stores_world import SENDER, World, accepted, opened
from tests.support.waiting import until_now

MESSAGE = {"to": ANNA, "sender": SENDER, "purpose": "utility", "freeform": {"body": "hello"}}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[StoreServer]:
    """Yield a server in cluster mode with all slots."""
    with one_server(tmp_path / "node", "--cluster-enabled", "yes") as server:
        server.ask("CLUSTER", "ADDSLOTS", *range(16384))
        until_now(
            lambda: str(server.ask("CLUSTER", "INFO")),
            "the cluster to be ok",
            holds=lambda info: "cluster_state:ok" in info,
        )
        yield server


async def _arq_job(world: World, message_id: str) -> None:
    """Queue a job as arq does, whose key has no hash tag but the one in its id."""
    whole = world.keys.job_id(message_id)
    job: dict[str, object] = {"t": None, "f": "send_message", "a": [MESSAGE], "k": {}, "et": 1}
    await world.redis.set(ARQ_JOB + whole, arq_serializer(job))
    await world.redis.zadd(world.keys.ingress, {whole: 1})


@pytest.mark.asyncio
async def test_a_message_and_an_adopted_job_stay_in_one_slot(node: StoreServer) -> None:
    """A message and an adopted job stay in one slot from enqueue to end.

    Arq's list of aborts is in another slot.
    """
    async with opened(StoreUnderTest(node.url, "p0")) as world:
        await _crosses_slots(world.redis, world.keys.ingress)
        await world.enqueue("m1")
        await _arq_job(world, "m2")
        await _arq_job(world, "m3")
        await world.redis.zadd(ARQ_ABORT, {world.keys.job_id("m3"): 1})
        assert (await world.store.ledger.adopt(10)).taken == 2
        assert await world.redis.zcard(ARQ_ABORT) == 0
        assert [(await world.row(one))["s"] for one in ("m2", "m3")] == ["queued", "cancelled"]
        for number in (1, 2):
            claimed = await world.claim_one()
            await world.admit(claimed)
            await world.settle(claimed, accepted(f"SM{number}"))
        assert [(await world.row(one))["s"] for one in ("m1", "m2")] == ["accepted", "accepted"]


async def _crosses_slots(redis: Redis, key: str) -> None:
    """Check that this node refuses both keys in one command."""
    with pytest.raises(ResponseError, match="hash to the same slot"):
        await redis.execute_command("EXISTS", key, ARQ_ABORT)  # type: ignore[no-untyped-call]  # redis-py types it so
