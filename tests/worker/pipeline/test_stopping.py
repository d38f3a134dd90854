"""A worker that stops finishes what it began and releases the rest."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sendwindow.producer import Producer
from sendwindow.vocabulary import Stage
from tests.support.dispatcher_steps import Away, Gate, is_ready, known
from tests.support.pipeline_world import (
    Between,
    World,
    dispatching,
)
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from worker.pipeline.dispatcher import Dispatcher
from worker.ports.admissions import Admission, AdmitRequest
from worker.ports.claims import ClaimBatch, ClaimRoom, Suspects

pytestmark = pytest.mark.asyncio


def has_more(things: Sequence[object], least: int) -> bool:
    return len(things) > least


async def test_a_stop_finishes_what_is_under_way_and_gives_the_rest_back(
    store: Place, tmp_path: Path
) -> None:
    """A stop settles the open POST within the grace and queues messages without a slot again.

    Those spend no try.
    """
    gate = Gate()
    async with dispatching(store, tmp_path / "j", gate, slots=1) as world:
        await known(world, 2)
        dispatcher = world.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        await gate.asked.wait()
        await world.watch.until(
            lambda: len([x for x in world.journaled() if x["e"] == "claimed"]) == 2
        )
        stopping = asyncio.create_task(dispatcher.stop(HANG_SECONDS))
        await asyncio.sleep(0)
        assert not is_ready(dispatcher)
        gate.open.set()
        await asyncio.gather(stopping, running)
        posted = world.twilio.posts[0]["StatusCallback"]
        ended, other = ("m1", "m2") if "m=m1&" in posted else ("m2", "m1")
        assert await world.stage(ended) == "accepted"
        row = (await world.record(other)).row
        assert (row["s"], row["r"], row["n"]) == ("queued", "worker_stopped", "0")
        assert len(world.twilio.posts) == 1


async def stop_twice(dispatcher: Dispatcher, running: asyncio.Task[None]) -> None:
    """Stop the dispatcher twice, and return once it has ended."""
    stops = [asyncio.create_task(dispatcher.stop(HANG_SECONDS)) for _ in range(2)]
    async with asyncio.timeout(HANG_SECONDS):
        await asyncio.gather(*stops, running)


async def test_a_second_stop_ends_at_once_and_the_intent_remains(
    store: Place, tmp_path: Path
) -> None:
    """An attempt that was cut off keeps its intent.

    The message is not sent again before the search for its outcome.
    """
    gate = Gate()
    async with dispatching(store, tmp_path / "j", gate) as world:
        await known(world)
        dispatcher = world.dispatcher()
        running = asyncio.create_task(dispatcher.run())
        await gate.asked.wait()
        await stop_twice(dispatcher, running)
        assert await world.stage() == "posting"
        await world.later(seconds=60)
        (reaped,) = await world.store.ledger.reap(10)
        assert reaped.stage is Stage.UNKNOWN


class Hesitating(Between):
    """A ledger that never answers a request for a permit."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asked = asyncio.Event()

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        self.asked.set()
        await asyncio.Event().wait()
        return []


async def test_a_second_stop_releases_what_has_no_permit(store: Place, tmp_path: Path) -> None:
    """A second stop releases messages without a permit, without a try and without a crash."""
    async with dispatching(store, tmp_path / "j", slots=2) as world:
        await known(world)
        ledger = Hesitating(world)
        dispatcher = world.dispatcher(ledger=ledger)
        running = asyncio.create_task(dispatcher.run())
        await ledger.asked.wait()
        await stop_twice(dispatcher, running)
        row = (await world.record()).row
        assert (row["s"], row["r"], row["n"], row.get("k")) == (
            "queued",
            "worker_stopped",
            "0",
            None,
        )


class Unheard(Between):
    """A ledger that does what it is asked and loses the reply.

    The store is away from then on, until it is back.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.took = asyncio.Event()
        self.is_back = False

    async def claim(
        self, limit: int, suspects: Suspects = Suspects.NEVER, room: ClaimRoom | None = None
    ) -> ClaimBatch:
        if not self.took.is_set():
            store = self._ledger
            store._claim_request = "lost"
            await store.claim(limit, suspects)
            store._claim_request = "lost"
            self.took.set()
        if not self.is_back:
            raise ConnectionError("away")
        return await self._ledger.claim(limit, suspects, room)


async def test_a_stop_releases_what_a_lost_claim_had_taken(store: Place, tmp_path: Path) -> None:
    """A stop releases messages from a claim whose reply was lost, and counts no crash."""
    async with dispatching(store, tmp_path / "j") as world:
        await known(world, 3)
        ledger = Unheard(world)
        dispatcher = world.dispatcher(ledger=ledger)
        running = asyncio.create_task(dispatcher.run())
        await ledger.took.wait()
        stopping = asyncio.create_task(dispatcher.stop(HANG_SECONDS))
        await asyncio.sleep(0)
        ledger.is_back = True
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.gather(stopping, running)
        rows = [(await world.record(f"m{number}")).row for number in (1, 2, 3)]
        assert [(row["s"], row["r"], row.get("k")) for row in rows] == [
            ("queued", "worker_stopped", None)
        ] * 3


class Unreleased(Between):
    """A ledger that raises for the first releases, because the store is away for a moment."""

    def __init__(self, world: World, failures: int) -> None:
        super().__init__(world)
        self._left = failures

    async def release(self, held: Sequence[tuple[str, int]]) -> list[Stage | None]:
        if self._left:
            self._left -= 1
            raise ConnectionError("away")
        released: list[Stage | None] = await self._ledger.release(held)
        return released


async def test_a_release_is_repeated_until_the_store_answers(store: Place, tmp_path: Path) -> None:
    """A stop releases messages although the store is away for a moment, and counts no crash."""
    gate = Gate()
    async with dispatching(store, tmp_path / "j", gate, slots=1) as world:
        await known(world, 2)
        dispatcher = world.dispatcher(ledger=Unreleased(world, 3))
        running = asyncio.create_task(dispatcher.run())
        await gate.asked.wait()
        stopping = asyncio.create_task(dispatcher.stop(HANG_SECONDS))
        await world.watch.until(lambda: world.watch.parts.count("release") == 3)
        gate.open.set()
        await asyncio.gather(stopping, running)
        stages = {await world.stage("m1"), await world.stage("m2")}
        assert stages == {"accepted", "queued"}
        assert "pipeline" not in world.watch.parts


async def test_a_lost_release_at_the_last_moment_is_repeated(store: Place, tmp_path: Path) -> None:
    """What is cut off at the end of the grace is released although the first release failed."""
    async with dispatching(store, tmp_path / "j", slots=2) as world:
        await known(world)
        ledger: Any = Hesitating(world)
        ledger._ledger = Unreleased(world, 1)
        dispatcher = world.dispatcher(ledger=ledger)
        running = asyncio.create_task(dispatcher.run())
        await ledger.asked.wait()
        await stop_twice(dispatcher, running)
        row = (await world.record()).row
        assert (row["s"], row["r"], row.get("k")) == ("queued", "worker_stopped", None)


async def test_a_stop_releases_what_could_not_be_recorded(store: Place, tmp_path: Path) -> None:
    """A stop releases a message whose refusal could not be recorded within the grace.

    It is decided again and counts no crash.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.enqueue()
        ledger = Away(world, "settle")
        dispatcher = world.dispatcher(ledger=ledger)
        running = asyncio.create_task(dispatcher.run())
        await world.watch.until(lambda: "settle" in world.watch.parts)
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.gather(dispatcher.stop(0.1), running)
        row = (await world.record()).row
        assert (row["s"], row["r"], row.get("k")) == ("queued", "worker_stopped", None)


async def test_what_ends_when_it_is_released_is_journaled(store: Place, tmp_path: Path) -> None:
    """A message cancelled while a worker released it is journaled with its end."""
    async with dispatching(store, tmp_path / "j", slots=2) as world:
        await known(world)
        ledger = Hesitating(world)
        dispatcher = world.dispatcher(ledger=ledger)
        running = asyncio.create_task(dispatcher.run())
        await ledger.asked.wait()
        async with Producer(store.url, store.partition) as producer:
            assert await producer.cancel("m1") == "cancelled"
        await stop_twice(dispatcher, running)
        assert (
            world.journaled()[-1] | {"e": "ended", "id": "m1", "stage": "cancelled"}
            == world.journaled()[-1]
        )


async def test_twenty_restarts_use_no_try_and_send_each_message_once(
    store: Place, tmp_path: Path
) -> None:
    """Twenty rolling restarts under load lose no message, double none, and use no second attempt
    number.
    """
    async with dispatching(store, tmp_path / "j", slots=2) as world:
        await known(world, 100)
        for restart in range(20):
            async with world.working() as dispatcher:
                least = restart * 4
                await world.watch.until(partial(has_more, world.watch.stages, least))
                await dispatcher.stop(HANG_SECONDS)
        await world.run_until(Stage.ACCEPTED, 100)
        callbacks = sorted(form["StatusCallback"] for form in world.twilio.posts)
        assert len(callbacks) == 100
        assert len(set(callbacks)) == 100
        assert all("&a=1#" in callback for callback in callbacks)
