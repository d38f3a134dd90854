"""Runs sandbox, gateway and workers in one process over real sockets, for scenarios.

A scenario holds, kills and watches their steps. Everything is the service's own code. Only the
steps named in `Gates` wait where a scenario says so, as on a slow network, and the periodic work
runs when the scenario says so instead of by the clock.
"""

import asyncio
import contextvars
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from redis.asyncio import Redis

import worker.gateway.stop_barrier
import worker.pipeline.dispatcher
import worker.pipeline.periodic
import worker.runtime.clock
import worker.services
import worker.twilio.client
import worker.twilio.departure
from policies.ruleset import Ruleset
from sandbox.app import running
from sandbox.config import SandboxConfig
from sandbox.journal import Journal as SandboxJournal
from sandbox.state import Sandbox
from sendwindow.keys import Keys
from sendwindow.producer import Producer
from sendwindow.timestamps import to_ms
from tests.chaos.mutants_gates import OWNER, Gates
from tests.chaos.mutants_kill import OwnedTasks, cut_off, orphans_collected
from tests.support.stores_world import Place
from tests.support.waiting import no_hang
from worker.gateway.server import RunningGateway, serve
from worker.pipeline.arq_cron import PeriodicJob
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.token_bucket import TokenBucket
from worker.services import GatewayService, WorkerService
from worker.settings.settings import Settings
from worker.stores.fact_fields import StateField
from worker.stores.ledger import LedgerStore
from worker.stores.people import PeopleStore
from worker.stores.statuses import StatusStore
from worker.stores.store import Store
from worker.telemetry.journal import Journal, PatientJournal
from worker.twilio.client import TwilioClient
from worker.twilio.departure import GatedConnector
from worker.wiring import connect_store, load_rules

"""Guard against a run that neither moves nor rests."""

RUNAWAY = 6
"""POSTs of one message after which a run is judged as it stands. A mutant may send forever."""


class Runaway(Exception):
    """A message is posted again and again. No service but a mutant does that."""


class Rig:
    """The whole service around one partition of a store.

    `folder` has a journal for each service.
    """

    def __init__(
        self, folder: Path, settings: Settings, sandbox: Sandbox, store: Store, producer: Producer
    ) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.store = store
        self.producer = producer
        self.journal = Journal(folder / "scenario.jsonl", "scenario")
        self.lines: list[dict[str, Any]] = []
        self.gates = Gates(self._notify)
        self.offset = timedelta()
        self.steps: set[str] = set()
        self.stands_at: float | None = None
        self.settings = settings
        self._keys: Keys = store.keys
        # redis-py types its answers as either awaitable or not, therefore Any.
        self._redis: Any = Redis.from_url(settings.store.url or "", decode_responses=True)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._services: dict[str, WorkerService | GatewayService] = {}
        self._tasks = OwnedTasks()
        self._dead: set[str] = set()
        self._duties: dict[str, Sequence[PeriodicJob]] = {}
        self._listening: dict[str, RunningGateway] = {}
        self._posts: Counter[object] = Counter()
        self._changes = 0
        self._changed = asyncio.Event()

    # -- services ------------------------------------------------------------------------------

    async def start_worker(self, name: str) -> None:
        """Start a worker, and return once it works."""
        self._start(name, WorkerService(self.settings))
        await self.until(lambda: name in self._duties)

    async def start_gateway(self, name: str) -> None:
        """Start a gateway on a free port, to which the public URL leads from now on."""
        self._start(name, GatewayService(self.settings))
        await self.until(lambda: name in self._listening)
        port = self._listening[name].port
        self.sandbox.config.rewrites[self.settings.gateway.public_url] = f"http://127.0.0.1:{port}"

    def _start(self, name: str, service: WorkerService | GatewayService) -> None:
        service._journal = PatientJournal(self.folder / f"{name}.jsonl", name)
        context = contextvars.copy_context()
        context.run(OWNER.set, name)
        self._services[name] = service
        self._running[name] = asyncio.create_task(service.run(), name=name, context=context)

    async def kill(self, name: str) -> None:
        """End a service as kill -9 would: none of its work goes on, and it writes nothing more."""
        self.journal.write("killed", point="anywhere", process=name)
        await self._end(name)

    async def _end(self, name: str) -> None:
        self._services.pop(name)._journal.close()
        self._duties.pop(name, None)
        self._dead.add(name)
        main = self._running.pop(name)
        await self._tasks.end(name, main)
        listening = self._listening.pop(name, None)
        if listening is not None:
            await cut_off(listening)

    async def visit_gateway(self, name: str) -> None:
        """Ask the gateway for its health.

        All its earlier answers have reached their recipients by then.
        """
        url = f"http://127.0.0.1:{self._listening[name].port}/health/live"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200

    async def close(self) -> None:
        """End everything that still runs."""
        await asyncio.gather(*(self._end(name) for name in list(self._services)))
        self.journal.close()
        await self._redis.aclose()

    # -- time ----------------------------------------------------------------------------------

    async def later(self, **duration: float) -> None:
        """Advance the clocks of store and provider.

        Allowed only while no living worker holds a lease.
        """
        self.offset += timedelta(**duration)
        await self.store.set_offset(self.offset)
        self.sandbox.outbox.offset_ms = self.offset // timedelta(milliseconds=1)

    def stand_still(self) -> None:
        """Stop the processes' own clocks, so that no permit lapses before the scenario says so."""
        self.stands_at = time.monotonic()

    def jump(self, seconds: float) -> None:
        """Advance the processes' own clocks from where they stand."""
        assert self.stands_at is not None
        self.stands_at += seconds

    def go_on(self) -> None:
        """Restart the processes' own clocks."""
        self.stands_at = None

    def _monotonic(self) -> float:
        return time.monotonic() if self.stands_at is None else self.stands_at

    async def tick(self, *names: str) -> None:
        """Let workers (all, unless named) do their periodic work, and wake all of them for due
        messages.
        """
        for name in names or tuple(self._duties):
            service = self._services[name]
            assert isinstance(service, WorkerService)
            assert service._dispatcher is not None
            await service._dispatcher._reap()
            for duty in self._duties[name]:
                await duty.work()
        for _ in self._duties:
            await self._redis.lpush(self._keys.wake, "1")

    async def store_field(self, name: str, digest: str, value: str) -> None:
        """Write a field of a person's record, as another release may."""
        await self._redis.hset(self._keys.person(digest), name, value)

    # -- watching ------------------------------------------------------------------------------

    def seen(self, event: str, **fields: object) -> bool:
        """Return whether any journal has such a line."""
        return any(line["e"] == event and fields.items() <= line.items() for line in self.lines)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds, checked after every journal line. Raises Runaway."""

        async def ask() -> bool:
            return holds()

        await self._until(ask)

    async def rest(self, *, unless: asyncio.Event | None = None) -> None:
        """Wait until nothing is due, held or unreported, or until `unless` is set.

        Raises Runaway.
        """

        async def ask() -> bool:
            return (unless is not None and unless.is_set()) or await self._is_idle()

        await self._until(ask)

    async def _until(self, holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        async with no_hang("the scenario's next step", lambda: self.lines[-20:]):
            while True:
                changes = self._changes
                await self._close_breakers()
                if await holds():
                    return
                if max(self._posts.values(), default=0) >= RUNAWAY:
                    raise Runaway
                if changes == self._changes:
                    await self._next_change()

    async def _close_breakers(self) -> None:
        """Close breakers as an operator does.

        The scenario has more POSTs without an answer in a row than an outage begins with.
        """
        for account in self.settings.accounts:
            key = self._keys.account(account)
            if await self._redis.hexists(key, StateField.BREAKER_ENDS_AT):
                await self.store.switches.resume("account", account)

    async def _next_change(self) -> None:
        self._changed.clear()
        waiting: list[asyncio.Task[Any]] = [asyncio.create_task(self._changed.wait())]
        if self.sandbox.callbacks.pending:
            waiting.append(asyncio.create_task(self.sandbox.callbacks.drained()))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _is_idle(self) -> bool:
        """Return whether no callback is left to send, no message is due, and no lease is in
        force.
        """
        now = to_ms(await self.store.now())
        known = [
            await self._redis.zrange(key, 0, -1) for key in (self._keys.ready, self._keys.timers)
        ]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zcount(self._keys.leases, now, "+inf")
        pipeline.zcard(self._keys.suspects)
        for lane in {lane for lanes in known for lane in lanes}:
            pipeline.zcount(self._keys.lane(lane), "-inf", now)
        return not any(await pipeline.execute()) and not self.sandbox.callbacks.pending

    def _notify(self) -> None:
        self._changes += 1
        self._changed.set()

    # -- what is put around the service ----------------------------------------------------------

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Install gates and observers around the service's steps.

        After a mutant, so that its steps are held too.
        """
        self._watch_journals(monkeypatch)
        self._tasks.keep()
        for owner, name, step, names in (
            (LedgerStore, "claim", "claim", lambda _: [OWNER.get()]),
            (LedgerStore, "admit", "admit", _ids),
            (Pipeline, "_post", "post", lambda run: [run.message.message_id]),
            (LedgerStore, "settle", "settle", _ids),
            (StatusStore, "apply", "status", _ids),
            (PeopleStore, "permits_left_ms", "permits", lambda _: []),
            (GatedConnector, "connect", "connect", lambda _: [OWNER.get()]),
        ):
            self._hold_before(monkeypatch, owner, name, step, names)
        for module in (
            worker.runtime.clock,
            worker.gateway.stop_barrier,
            worker.twilio.client,
            worker.twilio.departure,
        ):
            monkeypatch.setattr(module, "monotonic", self._monotonic)
        # aiohttp uses the real clock, which goes on while a scenario holds a connection back.
        monkeypatch.setattr(TwilioClient, "_timeout_for", _without_end)
        generous: Callable[..., TokenBucket] = lambda *_: TokenBucket(1000, 1000, lambda: 0.0)  # noqa: E731 -- a class stood there
        monkeypatch.setattr(worker.pipeline.dispatcher, "TokenBucket", generous)
        # An outcome is recorded before the callback that a scenario sends next.
        monkeypatch.setattr(worker.pipeline.dispatcher, "_GATHER_SECONDS", 0.0)
        monkeypatch.setattr(worker.pipeline.periodic, "run_cron_jobs", self._wait_for_ticks)
        monkeypatch.setattr(worker.services, "serve", self._serve)
        monkeypatch.setattr(worker.services, "load_rules", rules_read_once)

    def _hold_before(
        self,
        monkeypatch: pytest.MonkeyPatch,
        owner: type[Any],
        name: str,
        step: str,
        names: Callable[[Any], list[str]],
    ) -> None:
        """Let a method begin once no gate is closed for the names in its first argument.

        A killed service's never begins.
        """
        method = getattr(owner, name)

        async def waiting(instance: Any, first: Any, *rest: Any, **named: Any) -> Any:
            if OWNER.get() in self._dead:
                raise asyncio.CancelledError
            self.steps.add(step)
            self._notify()
            await self.gates.passing(step, names(first))
            return await method(instance, first, *rest, **named)

        monkeypatch.setattr(owner, name, waiting)

    async def _wait_for_ticks(
        self, _url: str, _keys: Keys, duties: Sequence[PeriodicJob], _works: Callable[[], None]
    ) -> None:
        self._duties[OWNER.get()] = duties
        self._notify()
        await asyncio.Event().wait()

    async def _serve(self, app: Any, host: str, port: int) -> RunningGateway:
        listening = await serve(app, host, port)
        self._listening[OWNER.get()] = listening
        self._notify()
        return listening

    def _watch_journals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Read what the service and the sandbox write, each into a journal of its own kind."""
        self._watch(monkeypatch, Journal, lambda journal: journal._who)
        self._watch(monkeypatch, SandboxJournal, lambda _: "sandbox")

    def _watch(
        self, monkeypatch: pytest.MonkeyPatch, kind: type[Any], who: Callable[[Any], str]
    ) -> None:
        write = kind.write

        def watched(journal: Any, event: str, **fields: object) -> None:
            write(journal, event, **fields)
            if not journal.is_on:
                return
            self.lines.append({"who": who(journal), "e": event, **fields})
            if event == "post":
                self._posts[fields.get("id")] += fields.get("id") is not None
            self._notify()

        monkeypatch.setattr(kind, "write", watched)


def _without_end(client: TwilioClient, _left: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_read=client._read_timeout)


def _ids(things: Any) -> list[str]:
    return [thing.message_id for thing in things if thing.message_id is not None]


_rules: list[Ruleset] = []


def rules_read_once(settings: Settings) -> Ruleset:
    """Read the policy data once for all runs of a process, because it takes a third of a
    service's start.
    """
    if not _rules:
        _rules.append(load_rules(settings))
    return _rules[0]


@asynccontextmanager
async def rigged(
    place: Place,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: SandboxConfig,
    settings_for: Callable[[str], Settings],
) -> AsyncIterator[Rig]:
    """Run a sandbox and open the partition; the scenario starts the services.

    `settings_for` gets the base URL.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    with orphans_collected():
        async with running(config) as (url, sandbox):
            settings = settings_for(url)
            store = await connect_store(settings, "scenario")
            async with Producer(place.url, place.partition) as producer:
                rig = Rig(folder, settings, sandbox, store, producer)
                rig.install(monkeypatch)
                try:
                    yield rig
                finally:
                    await rig.close()
                    await store.close()
                    structlog.reset_defaults()
