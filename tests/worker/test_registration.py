"""A worker or gateway does no work while a release that cannot work at the same time is alive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from sendwindow.vocabulary import Stage
from tests.support.cast import ACCOUNT_SID, GRETA, SHOP, sid
from tests.support.free_ports import free_port
from tests.support.pipeline_world import Twilio, World, accepting, dispatching
from tests.support.processes_world import OLD, remove_entry, report_of, write_entry
from tests.support.settings_examples import TOKEN
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from worker.ports.people import Inbound, InboundApplied
from worker.ports.processes import LayoutRange
from worker.registration import Registration
from worker.services import GatewayService, WorkerService
from worker.stores.people import PeopleStore
from worker.stores.processes import ProcessStore
from worker.twilio.signature import sign

pytestmark = pytest.mark.asyncio

WAITS = (
    "waits for processes of a release that cannot work at the same time as this one: "
    "old-1 (release before 0.1.0); stop them, and this process starts by itself "
    "(at most 40 s after a kill -9)"
)
FUTURE = {"role": "worker", "settings": {}, "release": "0.2.0", "layouts": [1, 2]}
OTHER = {"role": "worker", "settings": {}, "release": "0.3.0", "layouts": [2, 3]}

Service = WorkerService | GatewayService


class HeldPost:
    """Answers POSTs only once the test lets it. `began`: set when the first POST has arrived."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()

    async def answer(self, twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        self.began.set()
        await self.may_end.wait()
        return await accepting(twilio, form)


class Reports:
    """Counts the reports of all processes in this test, and lets a test wait for the next ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        self._changed = asyncio.Event()
        report = Registration.report

        async def counted(registration: Registration) -> None:
            await report(registration)
            self._count += 1
            self._changed.set()

        monkeypatch.setattr(Registration, "report", counted)

    async def more(self, number: int = 3) -> None:
        """Wait until that many more reports were answered."""
        wanted = self._count + number
        while self._count < wanted:
            self._changed.clear()
            await self._changed.wait()


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    """Let processes report without pause."""
    monkeypatch.setattr("worker.registration.REGISTER_SECONDS", 0.01)
    monkeypatch.setattr("worker.registration.WAITING_SECONDS", 0.01)
    return Reports(monkeypatch)


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """Run a service, and stop it in the end."""
    run = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(HANG_SECONDS):
            yield
    finally:
        async with asyncio.timeout(HANG_SECONDS):
            await service.stop()
            await run


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask until a condition holds. Each question goes to a server, so the service goes on."""
    while not await holds():
        continue


async def stored(world: World) -> Mapping[bytes, bytes | Mapping[bytes, bytes]]:
    """Return all that is stored, except the entries of processes and their life signs."""
    keys, found = world.store.keys, dict[bytes, bytes | Mapping[bytes, bytes]]()
    for key in sorted([key async for key in world.redis.scan_iter(f"*{keys.tag}*")]):
        if key == keys.meta.encode():
            fields = await world.redis.hgetall(key)
            found[key] = {
                name: value
                for name, value in fields.items()
                if name != b"alive_at" and not name.startswith(b"last:")
            }
        elif not key.startswith(keys.process("").encode()) and key != keys.processes.encode():
            found[key] = await world.redis.dump(key)
    return found


async def writes_a_message(world: World) -> None:
    """Queue a message that may go out at once."""
    await world.consents()
    await world.writes()
    await world.enqueue()


def problem_of(service: WorkerService) -> str | None:
    """Return the problem now. A type checker would take an attribute to stay as it was."""
    return service.problem


def events(logs: list[Any], name: str) -> list[Any]:
    return [line for line in logs if line["event"] == name]


@pytest.mark.parametrize("role", ["worker", "gateway"])
@pytest.mark.parametrize("entry", [OLD, OTHER], ids=["older", "newer"])
async def test_a_new_worker_does_nothing_while_the_other_release_lives(
    store: Place, tmp_path: Path, reports: Reports, role: str, entry: dict[str, Any]
) -> None:
    """A worker changes nothing in the store while an old worker or gateway is alive, is not ready,
    and says once why. It begins by itself when the old one is gone.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await writes_a_message(world)
        await write_entry(world, "old-1", entry | {"role": role})
        before = await stored(world)
        with capture_logs() as logs:
            service = WorkerService(world.stored_settings)
            async with running(service):
                await reports.more()
                release = str(entry.get("release", "before 0.1.0"))
                assert problem_of(service) == WAITS.replace("before 0.1.0", release)
                assert await stored(world) == before
                assert world.twilio.posts == []
                await remove_entry(world, "old-1")
                await until(lambda: stage_is(world, Stage.ACCEPTED))
                assert problem_of(service) is None
        [line] = events(logs, "waits_for_other_release")
        assert (line["log_level"], line["processes"], line["releases"]) == (
            "error",
            ["old-1"],
            [release],
        )
        assert len(events(logs, "other_release_gone")) == 1
        assert len(events(logs, "started")) == 1
        assert await world.store.processes.living() == []


async def stage_is(world: World, stage: Stage) -> bool:
    return await world.stage() == stage


async def test_an_adjacent_release_is_not_waited_for(
    store: Place, tmp_path: Path, reports: Reports
) -> None:
    """Releases with a common layout run at the same time, so a rolling update holds nothing up."""
    async with dispatching(store, tmp_path / "j") as world:
        await writes_a_message(world)
        await write_entry(world, "new-1", FUTURE)
        with capture_logs() as logs:
            async with running(WorkerService(world.stored_settings)):
                await until(lambda: stage_is(world, Stage.ACCEPTED))
                await reports.more()
        assert not events(logs, "waits_for_other_release")


async def test_a_worker_makes_way_for_an_old_one_that_comes_back(
    store: Place, tmp_path: Path, reports: Reports
) -> None:
    """An old release cannot wait, so a new worker finishes its messages and waits for it.

    Until its last message is settled, the new worker counts as working.
    """
    post = HeldPost()
    async with dispatching(store, tmp_path / "j", post.answer, slots=1) as world:
        await writes_a_message(world)
        service = WorkerService(world.stored_settings)
        other = ProcessStore(world.store._calls, "new-9", LayoutRange(9, 9))
        async with running(service):
            await post.began.wait()
            await write_entry(world, "old-1", OLD)
            await reports.more()
            assert service.problem == WAITS
            [ours] = [one for one in await other.living() if one.process_id != "old-1"]
            assert not ours.is_waiting
            assert (ours.holds.messages, ours.holds.posts) == (1, 1) if ours.holds else False
            post.may_end.set()
            await until(lambda: stage_is(world, Stage.ACCEPTED))

            async def waits() -> bool:
                living = {one.process_id: one for one in await other.living()}
                return living[ours.process_id].is_waiting

            await until(waits)
            await world.enqueue("m2")
            await reports.more()
            assert await world.stage("m2") == Stage.QUEUED
            await remove_entry(world, "old-1")

            async def second() -> bool:
                return await world.stage("m2") == Stage.ACCEPTED

            await until(second)
        assert len(world.twilio.posts) == 2


async def test_a_stop_while_a_worker_makes_way_cuts_nothing_short(
    store: Place, tmp_path: Path, reports: Reports
) -> None:
    """The first stop of a worker that makes way waits for its open POST, as any first stop does."""
    post = HeldPost()
    async with dispatching(store, tmp_path / "j", post.answer, slots=1) as world:
        await writes_a_message(world)
        service = WorkerService(world.stored_settings)
        async with running(service):
            await post.began.wait()
            await write_entry(world, "old-1", OLD)
            await reports.more()
            await service.stop()
            assert service.problem == "draining"
            post.may_end.set()
            # A second stop would be a hurried one.
            await until(lambda: stage_is(world, Stage.ACCEPTED))
        assert len(world.twilio.posts) == 1


async def test_an_old_release_that_appears_during_a_stop_cuts_nothing_short(
    store: Place, tmp_path: Path, reports: Reports
) -> None:
    """A worker that was stopped has to make way as well, and its open POST is still waited for."""
    post = HeldPost()
    async with dispatching(store, tmp_path / "j", post.answer, slots=1) as world:
        await writes_a_message(world)
        service = WorkerService(world.stored_settings)
        async with running(service):
            await post.began.wait()
            stopping = asyncio.create_task(service.stop())
            await write_entry(world, "old-1", OLD)
            await reports.more()
            post.may_end.set()
            await until(lambda: stage_is(world, Stage.ACCEPTED))
            await stopping


async def test_a_stop_after_the_old_release_has_gone_cuts_nothing_short(
    store: Place, tmp_path: Path, reports: Reports
) -> None:
    """A worker still makes way although the old process is gone again. Its first stop waits for its
    open POST, and only a second one ends it at once.
    """
    post = HeldPost()
    async with dispatching(store, tmp_path / "j", post.answer, slots=1) as world:
        await writes_a_message(world)
        service = WorkerService(world.stored_settings)
        async with running(service):
            await post.began.wait()
            await write_entry(world, "old-1", OLD)
            await reports.more()
            await remove_entry(world, "old-1")
            await reports.more()
            stopping = asyncio.create_task(service.stop())
            await reports.more()
            post.may_end.set()
            await until(lambda: stage_is(world, Stage.ACCEPTED))
            await stopping


async def test_only_a_second_stop_of_a_worker_that_makes_way_is_hurried(
    store: Place, tmp_path: Path, reports: Reports
) -> None:
    """A worker that makes way is not stuck with a POST that never ends: a second stop ends it."""
    post = HeldPost()
    async with dispatching(store, tmp_path / "j", post.answer, slots=1) as world:
        await writes_a_message(world)
        service = WorkerService(world.stored_settings)
        async with running(service):
            await post.began.wait()
            await write_entry(world, "old-1", OLD)
            await reports.more()
            await service.stop()
            await service.stop()
        assert await world.stage() == Stage.POSTING
        post.may_end.set()


async def test_a_worker_that_waits_can_be_stopped(
    store: Place, tmp_path: Path, reports: Reports
) -> None:
    """A worker that waits ends in order on a signal, and leaves no entry."""
    async with dispatching(store, tmp_path / "j") as world:
        await write_entry(world, "old-1", OLD)
        async with running(WorkerService(world.stored_settings)):
            await reports.more()
        assert [one.process_id for one in await world.store.processes.living()] == ["old-1"]


async def test_a_sentence_names_only_some_of_many_processes(store: Place, tmp_path: Path) -> None:
    """A sentence names five processes and counts the others."""
    async with dispatching(store, tmp_path / "j") as world:
        for number in range(7):
            await write_entry(world, f"old-{number}", OLD)
        registration = Registration(world.store.processes, "worker", {}, report_of().release)
        await registration.report()
        assert registration.problem is not None
        assert registration.problem.count("(release before 0.1.0)") == 5
        assert ", and 2 more; stop them" in registration.problem


# -- gateway -------------------------------------------------------------------------------------


class Gateway:
    """A gateway on a port of its own, and what Twilio sends to it."""

    def __init__(self, world: World, session: aiohttp.ClientSession) -> None:
        settings, self.port = world.stored_settings, free_port()
        self.service = GatewayService(
            replace(settings, gateway=replace(settings.gateway, port=self.port))
        )
        self._session = session

    async def inbound(self, body: str, number: int) -> int:
        """Deliver what a person wrote. Returns the gateway's HTTP status."""
        path = "/twilio/inbound"
        form = [
            ("AccountSid", ACCOUNT_SID),
            ("MessageSid", sid(number)),
            ("From", GRETA),
            ("To", SHOP),
            ("Body", body),
        ]
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": sign(TOKEN, f"https://hooks.example.com{path}", form),
        }
        async with self._session.post(
            f"http://127.0.0.1:{self.port}{path}", data=urlencode(form), headers=headers
        ) as response:
            return response.status

    async def ready(self) -> tuple[int, str | None]:
        """Return the HTTP status of the readiness probe, and the problem that it names."""
        with suppress(aiohttp.ClientConnectionError):  # it does not listen yet
            url = f"http://127.0.0.1:{self.port}/health/ready"
            async with self._session.get(url) as response:
                return response.status, (await response.json()).get("problem")
        return 0, None


@asynccontextmanager
async def gateway(world: World) -> AsyncIterator[Gateway]:
    """Run a gateway, which learns quickly whether its store is open."""
    async with aiohttp.ClientSession() as session:
        made = Gateway(world, session)
        async with running(made.service):
            yield made


async def granted(world: World) -> list[bool]:
    """Return what the gateway recorded of the person's consent."""
    facts = await world.store.people.facts(GRETA, "shop", "main", None)
    return [one.granted for one in facts.person.consents]


@pytest.mark.parametrize("role", ["worker", "gateway"])
async def test_a_gateway_answers_503_while_the_other_release_lives(
    store: Place, tmp_path: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """A gateway stores and acknowledges nothing while an old process is alive: an old worker would
    send after a STOP that it cannot see. Twilio repeats what got 503.
    """
    monkeypatch.setattr("worker.gateway.health.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("worker.gateway.deferred_store.MAX_SECONDS", 0.01)
    async with dispatching(store, tmp_path / "j") as world:
        await write_entry(world, "old-1", OLD | {"role": role})
        before = await stored(world)
        with capture_logs() as logs:
            async with gateway(world) as made:
                await reports.more()
                assert await made.ready() == (503, WAITS)
                assert await made.inbound("STOP", 1) == 503
                assert await stored(world) == before
                await remove_entry(world, "old-1")
                await until(lambda: is_ready(made))
                assert await made.inbound("STOP", 1) == 200
                assert await granted(world) == [False]
        assert len(events(logs, "waits_for_other_release")) == 1


async def is_ready(made: Gateway) -> bool:
    return (await made.ready())[0] == 200


async def test_a_gateway_makes_way_for_an_old_release_that_comes_back(
    store: Place, tmp_path: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway stops storing when an old process comes back, and begins again after it."""
    monkeypatch.setattr("worker.gateway.health.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("worker.gateway.deferred_store.MAX_SECONDS", 0.01)
    async with dispatching(store, tmp_path / "j") as world:
        with capture_logs() as logs:
            async with gateway(world) as made:
                await until(lambda: is_ready(made))
                await write_entry(world, "old-1", OLD)
                await reports.more()
                assert await made.ready() == (503, WAITS)
                assert await made.inbound("STOP", 1) == 503
                assert await granted(world) == []
                await remove_entry(world, "old-1")
                await until(lambda: is_ready(made))
                assert await made.inbound("STOP", 1) == 200
                assert await granted(world) == [False]
        assert len(events(logs, "started")) == 1


async def test_a_gateway_that_makes_way_counts_until_its_requests_are_stored(
    store: Place, tmp_path: Path, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that the gateway had accepted still writes, so no release without a common layout
    begins before it is stored. New requests get 503 in the meantime.
    """
    monkeypatch.setattr("worker.gateway.health.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("worker.gateway.deferred_store.MAX_SECONDS", 0.01)
    began, may_end = asyncio.Event(), asyncio.Event()
    apply = PeopleStore.apply_inbound

    async def slowly(people: PeopleStore, items: Sequence[Inbound]) -> list[InboundApplied]:
        began.set()
        await may_end.wait()
        return await apply(people, items)

    monkeypatch.setattr(PeopleStore, "apply_inbound", slowly)
    async with dispatching(store, tmp_path / "j") as world, gateway(world) as made:
        await until(lambda: is_ready(made))
        asking = asyncio.create_task(made.inbound("STOP", 1))
        await began.wait()
        await write_entry(world, "old-1", OLD)
        await reports.more()
        assert await made.inbound("STOP", 2) == 503
        await remove_entry(world, "old-1")
        other = ProcessStore(world.store._calls, "new-9", LayoutRange(9, 9))
        [ours] = (await other.report(report_of())).in_the_way
        assert ours.role == "gateway"
        may_end.set()
        assert await asking == 200
        assert await granted(world) == [False]
        await other.forget()
