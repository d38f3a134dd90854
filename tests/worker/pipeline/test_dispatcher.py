"""A worker that is stopped, loses its lease, or loses its store."""

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sendwindow.keys import Keys
from sendwindow.producer import Producer
from sendwindow.vocabulary import Reason, Stage
from tests.support.pipeline_world import (
    Between,
    Twilio,
    World,
    accepting,
    dispatching,
)
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from worker.pipeline.arq_cron import PeriodicJob, run_cron_jobs
from worker.pipeline.dispatcher import Dispatcher
from worker.ports.admissions import Admission, AdmitRequest
from worker.ports.claims import CRASHES_IN_COMPANY, ClaimBatch, Suspects
from worker.ports.settlements import Settled, Settlement
from worker.runtime import embedded_store
from worker.runtime.cancellation import end_tasks

pytestmark = pytest.mark.asyncio


class Gate:
    """A Twilio that answers when the test allows it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        self.asked.set()
        await self.open.wait()
        return await accepting(twilio, form)


def has_more(things: Sequence[object], least: int) -> bool:
    return len(things) > least


def is_ready(dispatcher: Dispatcher) -> bool:
    return dispatcher.ready


async def known(world: World, count: int = 1) -> None:
    """Queue messages that may go."""
    await world.consents()
    await world.writes()
    for number in range(1, count + 1):
        await world.enqueue(f"m{number}")


# -- stopping ------------------------------------------------------------------------------------


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


async def test_a_second_stop_gives_back_what_has_no_permit(store: Place, tmp_path: Path) -> None:
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

    async def claim(self, limit: int, suspects: Suspects = Suspects.NEVER) -> ClaimBatch:
        if not self.took.is_set():
            store = self._ledger
            store._claim_request = "lost"
            await store.claim(limit, suspects)
            store._claim_request = "lost"
            self.took.set()
        if not self.is_back:
            raise ConnectionError("away")
        return await self._ledger.claim(limit, suspects)


async def test_a_stop_gives_back_what_a_lost_claim_had_taken(store: Place, tmp_path: Path) -> None:
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


async def test_a_stop_gives_back_what_could_not_be_recorded(store: Place, tmp_path: Path) -> None:
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


async def test_what_ends_as_it_is_given_back_is_journalled(store: Place, tmp_path: Path) -> None:
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


# -- leases --------------------------------------------------------------------------------------


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


async def test_a_bug_in_the_pipe_leaves_the_message_to_its_lease(
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


async def test_a_busy_worker_empties_its_hands_for_a_suspect_and_holds_nothing_beside_it(
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


async def test_a_slow_post_beside_a_suspect_does_not_stop_the_claiming(
    store: Place, tmp_path: Path
) -> None:
    """A drain that takes too long is given up.

    The worker claims again, and takes the suspect after the POST.
    """
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


# -- the store is away ---------------------------------------------------------------------------


class Away(Between):
    """A ledger that fails where the test says, until it is back."""

    def __init__(self, world: World, *calls: str) -> None:
        super().__init__(world)
        self.calls = set(calls)

    def _fail(self, call: str) -> None:
        if call in self.calls:
            raise ConnectionError("away")

    async def claim(self, limit: int, suspects: Suspects) -> ClaimBatch:
        self._fail("claim")
        return await self._ledger.claim(limit, suspects)

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        self._fail("admit")
        return await self._ledger.admit(requests)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._fail("settle")
        return await self._ledger.settle(settlements)


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

    async def claim(self, limit: int, suspects: Suspects) -> ClaimBatch:
        batch: ClaimBatch = await self._ledger.claim(limit, suspects)
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


# -- periodic work -------------------------------------------------------------------------------


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
