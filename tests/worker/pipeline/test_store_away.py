"""A worker whose store goes away posts nothing without a permit."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sendwindow.scripts import Script
from sendwindow.vocabulary import Reason, Stage
from tests.support.dispatcher_steps import Away, Gate, is_ready, known
from tests.support.pipeline_world import (
    Between,
    World,
    dispatching,
)
from tests.support.stores_world import Place
from tests.support.waiting import until
from worker.pipeline.store_retry import StoreRetry
from worker.ports.admissions import Admission, AdmitRequest
from worker.ports.claims import ClaimBatch, ClaimRoom, Suspects
from worker.ports.settlements import Settled, Settlement
from worker.runtime import embedded_store
from worker.services import WorkerService

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("call, posts", [("claim", 0), ("admit", 0), ("settle", 1)])
async def test_while_the_store_is_away_nothing_is_posted_without_a_permit_and_no_result_is_lost(
    store: Place, tmp_path: Path, call: str, posts: int
) -> None:
    """While the store is away no POST starts, no result is lost, and the worker is not ready.

    Later it goes on by itself and sends the message once.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await known(world)
        ledger = Away(world, call)
        async with world.working(ledger=ledger) as dispatcher:
            await world.watch.until(lambda: world.watch.parts.count(call) >= 3)
            assert not is_ready(dispatcher)
            assert call in dispatcher.failing
            assert len(world.twilio.posts) == posts
            ledger.calls.clear()
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
            assert is_ready(dispatcher)
        assert len(world.twilio.posts) == 1


class Forgetful(Between):
    """A ledger that does what it is asked and loses every first reply."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._lost: set[str] = set()

    def _lose(self, call: str) -> None:
        if call not in self._lost:
            self._lost.add(call)
            raise ConnectionError("the answer was lost")

    async def claim(
        self, limit: int, suspects: Suspects, room: ClaimRoom | None = None
    ) -> ClaimBatch:
        batch: ClaimBatch = await self._ledger.claim(limit, suspects, room)
        self._lose("claim")
        return batch

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        admissions: list[Admission] = await self._ledger.admit(requests)
        self._lose("admit")
        return admissions

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        settled: list[Settled] = await self._ledger.settle(settlements)
        self._lose("settle")
        return settled


async def test_a_lost_answer_of_the_store_changes_nothing(store: Place, tmp_path: Path) -> None:
    """A lost reply of the store changes nothing.

    A settlement may be repeated, and a permit whose reply was lost counts as lapsed, because a STOP
    may have waited for it.
    """
    async with dispatching(store, tmp_path / "j", lease_seconds=1.0) as world:
        await known(world)
        ledger = Forgetful(world)
        ledger._lost.add("claim")  # A lost claim needs no repetition: it comes back with its lease.
        await world.run_until(Stage.ACCEPTED, ledger=ledger)
        assert world.watch.parts == ["admit", "settle"]
        replies = [
            (line["attempt"], line["reply"]) for line in world.journaled() if line["e"] == "replied"
        ]
        assert replies == [(1, "not_sent"), (2, "accepted")]
        (form,) = world.twilio.posts
        assert "&a=2#" in form["StatusCallback"]
        assert await world.stage() == "accepted"


async def test_a_worker_repeats_a_call_in_one_place(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing below the store retry repeats a call of a worker, so each failure is reported."""
    failures, pauses = ["claim", "admit", "settle"], 0
    run, pause = Script.__call__, StoreRetry.pause

    async def failing_once(script: Script, *arguments: Any, **options: Any) -> Any:
        if script.name in failures:
            failures.remove(script.name)
            raise ConnectionError("away")
        return await run(script, *arguments, **options)

    async def counted(store_retry: StoreRetry, failed: int) -> None:
        nonlocal pauses
        pauses += 1
        await pause(store_retry, failed)

    async with dispatching(store, tmp_path / "j") as world:
        await known(world)
        monkeypatch.setattr(Script, "__call__", failing_once)
        monkeypatch.setattr(StoreRetry, "pause", counted)
        service = WorkerService(world.stored_settings)
        running = asyncio.create_task(service.run())
        try:
            await until(world.stage, "the message to be sent", holds=("accepted").__eq__)
        finally:
            await service.stop()
            await running
        assert failures == []
        assert pauses == 3
        assert len(world.twilio.posts) == 1


class Unhurried(Between):
    """A ledger that records outcomes only once the test lets it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.may_settle = asyncio.Event()

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        await self.may_settle.wait()
        settled: list[Settled] = await self._ledger.settle(settlements)
        return settled


async def test_a_slot_is_free_again_once_the_reply_is_here(store: Place, tmp_path: Path) -> None:
    """A message holds its slot until Twilio's reply, and not until the store has recorded it."""
    async with dispatching(store, tmp_path / "j", slots=1) as world:
        await known(world, 2)
        ledger = Unhurried(world)
        async with world.working(ledger=ledger):
            await until(lambda: len(world.twilio.posts), "both POSTs", holds=(2).__eq__)
            assert world.watch.stages == []
            ledger.may_settle.set()
            await world.watch.until(lambda: len(world.watch.stages) == 2)


async def test_a_restart_of_the_store_during_a_post_loses_nothing(tmp_path: Path) -> None:
    """If the server restarts with its file during a POST, the reply is settled afterwards."""
    folder = tmp_path / "store"
    environ = {"PATH": os.environ.get("PATH", "")}
    server = embedded_store.start(folder, environ=environ)
    gate = Gate()

    class Here:
        url = server.url
        partition = "p0"

    try:
        async with dispatching(Here(), tmp_path / "j", gate) as world:
            await known(world)
            async with world.working() as dispatcher:
                await gate.asked.wait()
                await asyncio.to_thread(server.stop)
                gate.open.set()
                await world.watch.until(lambda: "settle" in world.watch.parts)
                assert not is_ready(dispatcher)
                server = await asyncio.to_thread(embedded_store.start, folder, environ=environ)
                await world.watch.until(
                    lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages
                )
            assert len(world.twilio.posts) == 1
            assert await world.stage() == "accepted"
    finally:
        server.stop()
