"""A search while the store is away or refuses."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from sendwindow.errors import NotDurable
from sendwindow.producer import Producer
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from tests.support.cast import sid
from tests.support.pipeline_world import World, dispatching, resetting
from tests.support.stores_world import Place
from tests.support.unknown_world import ABSENT_AFTER, Unacknowledged, parked
from tests.support.waiting import HANG_SECONDS
from worker.pipeline.periodic import PeriodicWork
from worker.pipeline.store_retry import Health, StoreRetry
from worker.pipeline.unknown.search import MAX_BATCH_ATTEMPTS
from worker.runtime import embedded_store
from worker.runtime.cancellation import end_tasks

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("short_wait")]


@pytest.mark.parametrize("is_listed", [True, False], ids=["bound", "resolved"])
async def test_what_a_search_did_is_told_although_no_replica_answered(
    store: Place, tmp_path: Path, is_listed: bool
) -> None:
    """A finding whose reply was lost for want of a replica is journaled when the call is
    repeated.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        intent_at = await parked(world, on_unknown=OnUnknown.RESEND)
        if is_listed:
            world.twilio.show(sid(5), at=intent_at)
        await world.later(seconds=31)
        unknowns, statuses = (
            Unacknowledged(world, part) for part in (world.store.unknowns, world.store.statuses)
        )
        assert await replace(world.search(), unknowns=unknowns, statuses=statuses).turn() == 1
        resolved = [line["reason"] for line in world.journaled() if line["e"] == "resolved"]
        assert resolved == ["evidence_list" if is_listed else "resent_by_rule"]
        assert world.watch.parts == ["search"]


class Vanishing(Unacknowledged):
    """A part of the store whose first call stops the server after it was done."""

    def __init__(self, world: World, part: Any, leave: Callable[[], None]) -> None:
        super().__init__(world, part)
        self._leave = leave

    async def _once_in_vain(self, call: Callable[[Any], Awaitable[Any]], argument: Any) -> Any:
        try:
            return await super()._once_in_vain(call, argument)
        except NotDurable:
            await asyncio.to_thread(self._leave)
            raise


async def test_a_search_outlives_a_store_that_goes_away_and_is_reported_once(
    tmp_path: Path,
) -> None:
    """The search survives an outage of the store, and its result is journaled once.

    Periodic work restarts meanwhile, and the worker becomes ready again.
    """
    folder, environ = tmp_path / "store", {"PATH": os.environ.get("PATH", "")}
    server = embedded_store.start(folder, environ=environ)

    class Here:
        url = server.url
        partition = "p0"

    try:
        async with dispatching(Here(), tmp_path / "j", resetting) as world:
            await parked(world, on_unknown=OnUnknown.RESEND)
            await world.later(seconds=31)
            health = Health(world.observers.log, world.watch)
            store_retry = StoreRetry(health, lambda: 0.0)
            unknowns: Any = Vanishing(world, world.store.unknowns, server.stop)
            duties = PeriodicWork(Here.url, world.store.keys, store_retry, world.observers)
            search = replace(world.search(), unknowns=unknowns, store_retry=store_retry)
            duties.add("search", 1, search.turn, full=MAX_BATCH_ATTEMPTS)
            running = asyncio.create_task(duties.run())
            try:
                await world.watch.until(lambda: {"search", "periodic"} <= set(world.watch.parts))
                # Twice: by then the first worker of arq, and the work it ran, have ended.
                await world.watch.until(lambda: world.watch.parts.count("periodic") >= 2)
                assert health.failing == {"search"}
                server = await asyncio.to_thread(embedded_store.start, folder, environ=environ)
                await world.watch.until(
                    lambda: (Stage.RETRYING, Reason.RESENT_BY_RULE) in world.watch.stages
                )
            finally:
                await end_tasks([running])
                await duties.end()
            assert not health.failing
            assert [line["id"] for line in world.journaled() if line["e"] == "resolved"] == ["m1"]
    finally:
        server.stop()


class Refusing:
    """A store that always answers an error to calls about one message."""

    def __init__(self, part: Any, message_id: str) -> None:
        self._part = part
        self._message_id = message_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    async def resolve(self, resolutions: Any) -> Any:
        if resolutions[0].message_id == self._message_id:
            raise ResponseError("WRONGTYPE")
        return await self._part.resolve(resolutions)


async def test_an_attempt_the_store_refuses_to_resolve_does_not_hold_up_the_others(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that the store refuses to resolve is left for a later run.

    The worker stays ready.
    """
    monkeypatch.setattr("worker.pipeline.store_retry._MAX_PAUSE_SECONDS", 0.01)
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, "m1", on_unknown=OnUnknown.RESEND)
        await parked(world, "m2", on_unknown=OnUnknown.RESEND)
        await world.later(seconds=31)
        health = Health(world.observers.log, world.watch)
        unknowns: Any = Refusing(world.store.unknowns, "m1")
        search = replace(
            world.search(), unknowns=unknowns, store_retry=StoreRetry(health, lambda: 0.0)
        )
        async with asyncio.timeout(HANG_SECONDS):
            assert await search.turn() == 2
        assert (await world.stage("m1"), await world.stage("m2")) == ("unknown", "retrying")
        assert not health.failing


async def test_a_cancelled_message_is_not_journaled_as_sent_again(
    store: Place, tmp_path: Path
) -> None:
    """A cancelled message is journaled as ended, not as sent again, although its rule would resend
    it.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND)
        async with Producer(store.url, store.partition) as producer:
            assert await producer.cancel("m1") == "too_late"
        await world.later(seconds=31)
        assert await world.search().turn() == 1
        [line] = [line for line in world.journaled() if line["e"] == "resolved"]
        assert (line["stage"], line["reason"]) == ("cancelled", "cancelled")
        assert world.watch.stages[-1] == (Stage.CANCELLED, Reason.CANCELLED)


async def test_poison_is_a_dead_letter_whatever_its_rule(store: Place, tmp_path: Path) -> None:
    """Poison ends as a dead letter that says why, whatever its rule.

    Its rule stays as the producer wrote it.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND)
        await world.redis.hset(world.store.keys.row("m1"), "po", "1")
        await world.later(seconds=31 + ABSENT_AFTER.total_seconds())
        assert await world.search().turn() == 1
        row = (await world.record()).row
        assert (row["s"], row["r"], row["u"], row["ps"]) == ("dead", "poison", "resend", "1")


async def test_a_turn_may_hear_what_the_store_did_before_it_ends(
    store: Place, tmp_path: Path
) -> None:
    """A run that is stopped between a call and its reply is not cut off at once, so that it can
    journal the result.
    """
    async with dispatching(store, tmp_path / "j") as world:
        asked, may_answer, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def turn() -> int:
            asked.set()
            await may_answer.wait()
            told.set()
            return 0

        store_retry = StoreRetry(Health(world.observers.log, world.watch), lambda: 0.0)
        duties = PeriodicWork(store.url, world.store.keys, store_retry, world.observers)
        duties.add("test", 1, turn, full=1)
        running = asyncio.create_task(duties.run())
        async with asyncio.timeout(HANG_SECONDS):
            await asked.wait()
        await end_tasks([running])
        ending = asyncio.create_task(duties.end())
        await asyncio.sleep(0)
        may_answer.set()
        await ending
        assert told.is_set()


async def test_a_store_retry_that_is_cancelled_fails_no_longer(
    store: Place, tmp_path: Path
) -> None:
    """A store retry that is cancelled clears its failure.

    Nothing else would report that this part works again.
    """
    async with dispatching(store, tmp_path / "j") as world:
        health = Health(world.observers.log, world.watch)

        async def call() -> None:
            raise ConnectionError("away")

        insisting = asyncio.create_task(StoreRetry(health, lambda: 0.0).keep_trying("search", call))
        await world.watch.until(lambda: bool(world.watch.parts))
        assert health.failing == {"search"}
        await end_tasks([insisting])
        assert not health.failing
