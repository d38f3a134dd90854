"""A store that denies commands: which checks still work, what works without them, and what is
reported.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sendwindow.keys import Keys
from sendwindow.vocabulary import Stage
from tests.conftest import StoreUnderTest
from tests.support.pipeline_world import Watch, dispatching
from tests.support.stores_world import opened
from tests.support.waiting import HANG_SECONDS
from worker.gateway.health import StoreHealth
from worker.pipeline.periodic import MAX_FAILURES, PeriodicWork
from worker.pipeline.recorder import Observers
from worker.pipeline.store_retry import Health, StoreRetry
from worker.runtime.cancellation import end_tasks
from worker.stores.store import StoreRefused
from worker.telemetry.journal import Journal

pytestmark = pytest.mark.asyncio

DOCUMENTED = ("+@all", "-@dangerous", "+info")
"""The rights that docs/reliability.md asks for."""


@dataclass(frozen=True, slots=True)
class Place:
    url: str
    partition: str


@asynccontextmanager
async def limited(store: StoreUnderTest, redis: Redis, *rights: str) -> AsyncIterator[Place]:
    """Return the store as a user with these rights sees it, with the documented keys."""
    name = f"u{store.partition}"
    rules = ("on", ">x", "resetkeys", "~sw:*", "~arq:*", "&*", *rights)
    await redis.execute_command("ACL", "SETUSER", name, *rules)  # type: ignore[no-untyped-call]  # redis-py 5
    path = store.url.removeprefix("unix://").partition("?")[0]
    try:
        yield Place(f"unix://{name}:x@{path}?db=0", store.partition)
    finally:
        await redis.acl_deluser(name)


@asynccontextmanager
async def evicting(redis: Redis) -> AsyncIterator[None]:
    await redis.config_set("maxmemory-policy", "volatile-lru")
    try:
        yield
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("denied", [(), ("-config",), ("-info",)], ids=["none", "config", "info"])
async def test_a_store_that_evicts_is_refused_whichever_way_is_left_to_see_it(
    store: StoreUnderTest, redis_client: Redis, denied: tuple[str, ...]
) -> None:
    """A store that evicts is refused by INFO if CONFIG is denied, and by CONFIG if INFO is."""
    async with limited(store, redis_client, "+@all", *denied) as place, evicting(redis_client):
        with pytest.raises(StoreRefused, match="maxmemory-policy volatile-lru"):
            async with opened(place):
                pass


async def test_an_append_only_file_that_is_off_is_seen_without_config(
    store: StoreUnderTest, redis_client: Redis
) -> None:
    """INFO persistence shows that the append-only file is off."""
    await redis_client.config_set("appendonly", "no")
    try:
        async with (
            limited(store, redis_client, "+@all", "-config") as place,
            opened(place) as world,
        ):
            assert ["no append-only file" in each for each in world.store.warnings] == [True]
    finally:
        await redis_client.config_set("appendonly", "yes")


async def test_what_can_be_seen_by_neither_way_is_said(
    store: StoreUnderTest, redis_client: Redis
) -> None:
    """A check that neither way can do is a warning that names what the operator must make sure
    of.
    """
    async with (
        limited(store, redis_client, "+@all", "-config", "-info") as place,
        opened(place) as world,
    ):
        (warning,) = world.store.warnings
        assert "maxmemory-policy and appendonly could not be checked" in warning
        assert await world.store.publish_pressure() is None
        assert await redis_client.hget(world.keys.meta, "pressure") is None  # type: ignore[misc]  # redis-py


async def test_the_documented_rights_suffice(
    store: StoreUnderTest, redis_client: Redis, tmp_path: Path
) -> None:
    """A worker with the documented rights and no others sends, and all its periodic work runs."""
    async with (
        limited(store, redis_client, *DOCUMENTED) as place,
        dispatching(place, tmp_path / "journal.jsonl") as world,
    ):
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        assert await world.store.publish_pressure() == 0
        view = StoreHealth(lambda: world.store.records)
        assert await view.look()
        assert await view.totals() is not None
        assert world.watch.parts == []
    text = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text("utf-8")
    assert f"ACL SETUSER sendwindow on >PASSWORD ~sw:* ~arq:* &* {' '.join(DOCUMENTED)}" in text


def duties_of(place: Place, watch: Watch, health: Health) -> PeriodicWork:
    log = structlog.get_logger().bind()
    return PeriodicWork(
        place.url,
        Keys(place.partition),
        StoreRetry(health, lambda: 0.0),
        Observers(Journal(None, "w1"), watch, log),
    )


async def idle() -> int:
    return 0


async def test_periodic_work_needs_no_info(store: StoreUnderTest, redis_client: Redis) -> None:
    """Periodic work needs no INFO. arq's worker begins with it; if it is denied, arq would
    restart forever.
    """
    watch, ticked = Watch(), asyncio.Event()
    health = Health(structlog.get_logger().bind(), watch)

    async def turn() -> int:
        ticked.set()
        return 0

    async with limited(store, redis_client, "+@all", "-@dangerous") as place:
        jobs = duties_of(place, watch, health)
        jobs.add("test", 1, turn, full=1)
        running = asyncio.create_task(jobs.run())
        try:
            async with asyncio.timeout(HANG_SECONDS):
                await ticked.wait()
            assert watch.parts == []
        finally:
            await end_tasks([running])


async def test_a_part_that_keeps_failing_is_a_problem_that_names_the_command(
    store: StoreUnderTest, redis_client: Redis
) -> None:
    """Periodic work that is denied a command makes the worker not ready, and the problem names
    the right.
    """
    watch = Watch()
    health = Health(structlog.get_logger().bind(), watch, "the store at redis:6379 (store.url)")
    async with limited(store, redis_client, "+@all", "-zrangebyscore") as place:
        jobs = duties_of(place, watch, health)
        jobs.add("test", 1, idle, full=1)
        running = asyncio.create_task(jobs.run())
        try:
            await watch.until(lambda: watch.parts.count("periodic") >= MAX_FAILURES)
            problem = health.problem
        finally:
            await end_tasks([running])
    assert problem is not None
    assert problem.startswith(
        "the store at redis:6379 (store.url) denies this user the command ZRANGEBYSCORE (NOPERM)"
    )
    assert health.failing == {"periodic"}


async def test_a_few_failures_of_periodic_work_are_no_problem_yet(store: StoreUnderTest) -> None:
    """A few failures of periodic work leave the worker ready, and a run that works forgets them."""
    watch = Watch()
    health = Health(structlog.get_logger().bind(), watch)
    jobs = duties_of(Place(store.url, store.partition), watch, health)
    denied = ResponseError("NOPERM this user has no permissions to run the 'zadd' command")
    answers = [denied, ConnectionError(), denied, None, denied, denied]

    async def turn() -> int:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return 0

    jobs.add("test", 1, turn, full=1)
    [job] = jobs._jobs
    for _ in range(6):
        await job.work()
    assert watch.parts == ["test"] * 5
    assert health.failing == frozenset()
    answers.append(denied)
    await job.work()
    assert health.failing == {"test"}


async def test_a_store_that_takes_no_writes_is_not_ready(
    store: StoreUnderTest, redis_client: Redis
) -> None:
    """A store that takes no writes is not ready, because it could store no callback."""
    async with opened(store) as world:
        assert await StoreHealth(lambda: world.store.records).look()
        await redis_client.config_set("min-replicas-to-write", 1)
        try:
            view = StoreHealth(lambda: world.store.records, "the store at redis:6379 (store.url)")
            assert not await view.look()
        finally:
            await redis_client.config_set("min-replicas-to-write", 0)
        assert view.problem is not None
        assert "(NOREPLICAS)" in view.problem


async def test_readiness_costs_the_same_with_many_lanes(
    store: StoreUnderTest, redis_client: Redis
) -> None:
    """Readiness costs one script call with one write, however many lanes there are."""
    async with opened(store) as world:
        costs = []
        for campaigns in (1, 200):
            for number in range(campaigns):
                await world.enqueue(f"m{campaigns}-{number}", campaign=f"c{number}")
            await StoreHealth(lambda: world.store.records).look()
            await redis_client.config_resetstat()
            await StoreHealth(lambda: world.store.records).look()
            stats = await redis_client.info("commandstats")
            costs.append(
                {name: one["calls"] for name, one in stats.items() if "config" not in name}
            )
        assert costs[0] == costs[1]
        assert costs[0]["cmdstat_evalsha"] == 1
