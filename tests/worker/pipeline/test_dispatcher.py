"""Leases, suspects and periodic work of a worker."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sendwindow.keys import Keys
from sendwindow.vocabulary import Reason, Stage
from tests.support.dispatcher_steps import Gate, known
from tests.support.pipeline_world import (
    Between,
    Twilio,
    World,
    accepting,
    dispatching,
)
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS, until
from worker.pipeline.arq_cron import PeriodicJob, run_cron_jobs
from worker.ports.admissions import Admission, AdmitRequest
from worker.ports.claims import CRASHES_IN_COMPANY
from worker.runtime.cancellation import end_tasks

pytestmark = pytest.mark.asyncio


class Losing(Between):
    """A ledger that reports the lease as lost before the worker asks for a permit."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.told = asyncio.Event()

    async def renew(self, held: Sequence[tuple[str, int]]) -> list[str]:
        lost = [message_id for message_id, _ in held]
        if lost:
            self.told.set()
        return lost

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        await self.told.wait()
        raise ConnectionError("the store is away for a moment")


async def test_a_lost_lease_begins_nothing_any_more(store: Place, tmp_path: Path) -> None:
    """A worker that lost a lease asks for no further permit, even while the store fails."""
    async with dispatching(store, tmp_path / "j", lease_seconds=1.0) as world:
        await known(world)
        ledger = Losing(world)
        async with world.working(ledger=ledger):
            await ledger.told.wait()
            await world.watch.until(lambda: "admit" in world.watch.parts)
        assert world.twilio.posts == []
        assert world.watch.stages == []


class Broken(Between):
    """A ledger with a bug whose text must not be logged."""

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        nonsense: list[Any] = ["what no ledger answers: +14155550100" for _ in requests]
        return nonsense


async def test_a_bug_in_the_pipeline_leaves_the_message_to_its_lease(
    store: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug in the pipeline stops only its own message; the others go on.

    The message is claimed again when its lease runs out, or becomes poison.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await known(world)
        async with world.working(ledger=Broken(world)):
            await world.watch.until(lambda: "pipeline" in world.watch.parts)
        assert "AssertionError" in (logged := capsys.readouterr().out)
        assert "+14155550100" not in logged
        assert await world.stage() == "claimed"
        await world.later(seconds=60)
        (reaped,) = await world.store.ledger.reap(10)
        assert reaped.stage is Stage.QUEUED
        assert world.twilio.posts == []


async def test_a_worker_ends_what_was_cancelled_and_is_not_due(
    store: Place, tmp_path: Path
) -> None:
    """A cancelled message that no worker would claim for an hour ends soon."""
    async with dispatching(store, tmp_path / "j", lease_seconds=1.0) as world:
        await world.consents()
        await world.enqueue(not_before=await world.store.now() + timedelta(hours=1))
        assert await world.producer.cancel("m1") == "cancelled"
        row = Keys(store.partition).row("m1")
        assert await world.redis.hget(row, "s") == b"queued"
        async with world.working():
            await until(
                lambda: world.redis.hget(row, "s"),
                "the end of the message",
                holds=lambda stage: stage == b"cancelled",
            )
        assert world.twilio.posts == []


async def test_a_worker_ends_the_queued_messages_of_a_cancelled_campaign(
    store: Place, tmp_path: Path
) -> None:
    """A message that no worker holds ends after the cancel of its campaign, and is not sent."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        later = await world.store.now() + timedelta(hours=1)
        await world.enqueue(campaign="spring", not_before=later)
        await world.producer.cancel_campaign("shop", "spring")
        async with world.working():
            await until(
                lambda: world.producer.campaign_status("shop", "spring"),
                "the end of the sweep",
                holds=lambda status: not status.is_ending,
            )
        assert await world.redis.hget(Keys(store.partition).row("m1"), "s") == b"cancelled"
        assert world.twilio.posts == []


async def test_one_round_records_a_bounded_number_of_cancels(store: Place, tmp_path: Path) -> None:
    """A producer that cancels without a pause holds up no reaping. The next round goes on."""
    async with dispatching(store, tmp_path / "j") as world:
        asked = Keys(store.partition).cancel_asked
        redis: Any = world.redis  # redis-py annotates commands for both of its flavours at once
        await redis.rpush(asked, *(f"gone-{number}" for number in range(16 * 64 + 10)))
        dispatcher = world.dispatcher()
        await dispatcher._reap()
        assert await redis.llen(asked) == 10
        await dispatcher._reap()
        assert await redis.llen(asked) == 0


async def test_a_busy_worker_drains_for_a_suspect_and_holds_nothing_else(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy worker drains and takes a suspect alone, before its queue is empty."""
    # Only the order matters here: a slow machine must not end the isolation early.
    monkeypatch.setattr("worker.pipeline.suspect_isolation.MAX_SECONDS", HANG_SECONDS)
    async with dispatching(store, tmp_path / "j", slots=4) as world:
        await known(world)
        suspects = {await world.enqueue(f"s{number}") for number in range(3)} | {"m1"}
        for _ in range(CRASHES_IN_COMPANY):
            assert len((await world.store.ledger.claim(10)).claimed) == len(suspects)
            await world.later(seconds=60)
            await world.store.ledger.reap(10)
        for number in range(200):
            await world.enqueue(f"m{number + 2}")
        await world.run_until(Stage.ACCEPTED, 204)
        lines = [line for line in world.journaled() if line["e"] in {"claimed", "settled"}]
        held: set[str] = set()
        for line in lines:
            if line["e"] == "settled":
                held.discard(line["id"])
                continue
            assert not held & suspects
            assert line["id"] not in suspects or not held
            held.add(line["id"])
        settled = [line["id"] for line in lines if line["e"] == "settled"]
        assert max(settled.index(suspect) for suspect in suspects) < len(settled) - 50


async def test_a_slow_post_next_to_a_suspect_does_not_stop_the_claiming(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain that takes too long is given up.

    The worker claims again, and takes the suspect after the POST.
    """
    # However short the wait is, the POST outlasts it.
    monkeypatch.setattr("worker.pipeline.suspect_isolation.MIN_WAIT_SECONDS", 0.1)
    gate = Gate()

    async def answer(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        return await (gate if "m=m1&" in form["StatusCallback"] else accepting)(twilio, form)

    async with dispatching(store, tmp_path / "j", answer, slots=4) as world:
        await known(world)
        async with world.working():
            await gate.asked.wait()
            await world.store.switches.pause("sender", "shop", timedelta(hours=1), "63007")
            await world.enqueue("suspect")
            await world.redis.hset(world.store.keys.row("suspect"), "k", CRASHES_IN_COMPANY)
            await world.store.switches.resume("sender", "shop")
            for number in range(8):
                await world.enqueue(f"other{number}")
            await world.watch.until(lambda: len(world.watch.stages) == 8)
            assert await world.stage("suspect") == "queued"
            gate.open.set()
            await world.watch.until(lambda: len(world.watch.stages) == 10)


class Renewing(Between):
    """Reports when leases were renewed twice."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._renewals = 0
        self.twice = asyncio.Event()

    async def renew(self, held: Sequence[tuple[str, int]]) -> list[str]:
        lost: list[str] = await self._ledger.renew(held)
        self._renewals += bool(held)
        if self._renewals == 2:
            self.twice.set()
        return lost


async def test_leases_are_kept_while_a_post_lasts(store: Place, tmp_path: Path) -> None:
    """A lease is renewed every third of its term, so a long POST settles in time."""
    gate = Gate()
    async with dispatching(store, tmp_path / "j", gate, lease_seconds=1.0) as world:
        await known(world)
        ledger = Renewing(world)
        async with world.working(ledger=ledger):
            await gate.asked.wait()
            lease = await world.redis.zscore(world.store.keys.leases, "m1")
            await ledger.twice.wait()
            assert await world.redis.zscore(world.store.keys.leases, "m1") > lease
            gate.open.set()
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        assert world.journaled()[-1]["applied"]


async def test_periodic_work_runs_on_its_own_queue_and_ends_with_its_task(store: Place) -> None:
    """Two arq workers share the ticks of periodic work, so that each tick runs once."""
    runs: list[str] = []
    enough = asyncio.Event()

    async def work() -> None:
        runs.append("tick")
        if len(runs) == 2:
            enough.set()

    duty = PeriodicJob("test", 1, work)
    keys = Keys(store.partition)
    workers = [asyncio.create_task(run_cron_jobs(store.url, keys, (duty,))) for _ in range(2)]
    async with asyncio.timeout(HANG_SECONDS):
        await enough.wait()
        await end_tasks(workers)
    assert len(runs) <= 3


async def test_the_search_runs_by_itself(store: Place, tmp_path: Path) -> None:
    """The search for unknown attempts starts by itself."""
    async with dispatching(store, tmp_path / "j") as world:
        await known(world)
        batch = await world.store.ledger.claim(1)
        assert len(batch.claimed) == 1
        await world.redis.hset(
            world.store.keys.row("m1"), mapping={"s": "unknown", "n": "1", "i": "1"}
        )
        await world.redis.zrem(world.store.keys.leases, "m1")
        await world.redis.zadd(world.store.keys.unknown, {"m1": 1})
        async with world.working():
            await world.watch.until(lambda: bool(world.watch.findings))
