"""The two processes, worker and gateway.

Builds each part once, starts it, and stops the parts in reverse order.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from policies.policy import due_dates
from policies.ruleset import Ruleset
from sendwindow.connect import connect, disconnect
from sendwindow.errors import NotDurable
from sendwindow.store_faults import fault_of
from worker.gateway.app import MISSED, make_app, make_health_app
from worker.gateway.deferred_store import DeferredStore
from worker.gateway.missed_inbound import MissedInbound
from worker.gateway.server import RunningGateway, serve
from worker.pipeline.dispatcher import Dispatcher
from worker.pipeline.recorder import Observers
from worker.pipeline.store_retry import LAST_SECONDS
from worker.runtime.cancellation import end_tasks
from worker.runtime.clock import wall_now
from worker.settings.settings import Settings
from worker.stores.store import Store, StoreRefused
from worker.telemetry.journal import PatientJournal
from worker.telemetry.logs import configure_logs, get_log
from worker.telemetry.metrics import Metrics, WorkerMetrics
from worker.twilio.client import TwilioClient
from worker.wiring import connect_store, load_rules, read_settings, register, settings_digests

RETRY_SECONDS: Final = 0.5
"""How often a process that starts without its store tries again."""

_RESTORING: Final = (
    "the store is marked as restored from a copy, so nothing is taken from it: "
    "stop this, and repeat `store restored --yes`"
)

REGISTER_SECONDS: Final = 5.0
"""How often a process reports to the store that it is alive.

A worker then also registers its names again, which restores the names that a failover lost.
"""


def prepare(path: str | None, role: str) -> Settings:
    """Read the settings of a process, and configure its logs accordingly.

    Raises SettingsError.
    """
    settings = read_settings(path)
    configure_logs(settings.log, context={"role": role, "pid": os.getpid()})
    return settings


class CannotListenError(Exception):
    """The process cannot listen on an address.

    The text names the address and the setting to change.
    """


class WorkerService:
    """A worker: claims messages, decides, sends, records.

    It is ready once the store answers, however late that is.
    """

    def __init__(self, settings: Settings, journal: Path | None = None) -> None:
        self._settings = settings
        self._journal = PatientJournal(journal, f"worker-{os.getpid()}")
        self._stopping = asyncio.Event()
        self._dispatcher: Dispatcher | None = None
        self._is_restoring = False

    def _note_mark(self, is_restoring: bool) -> None:  # noqa: FBT001 -- a callback with one argument
        if is_restoring and not self._is_restoring:
            get_log().error("store_restored", remedy=_RESTORING)
        self._is_restoring = is_restoring

    @property
    def problem(self) -> str | None:
        """Why this worker takes no messages now. None when it takes them."""
        if self._stopping.is_set():
            return "draining"
        if self._dispatcher is None or not (self._dispatcher.ready or self._dispatcher.failing):
            return "the store has not answered yet"
        if (error := self._journal.problem) is not None:
            return f"the journal cannot be written ({error.strerror})"
        if self._dispatcher.ready:
            return _RESTORING if self._is_restoring else None
        return self._dispatcher.problem or "the store has not answered yet"

    async def run(self) -> None:
        """Run until stopped. Raises StoreRefused, PolicyDataError and CannotListenError."""
        settings, log, metrics = self._settings, get_log(), WorkerMetrics()
        health = None
        self._journal.write("started")
        try:
            if settings.dispatch.health_port:
                app, place = make_health_app(lambda: self.problem, metrics), settings.dispatch
                health = await _listen(
                    app, place.health_host, place.health_port, "dispatch.health_port"
                )
            await self._work(metrics, log)
        finally:
            if health is not None:
                await health.stop()
            _close(self._journal, log)
            if self._dispatcher is not None or self._stopping.is_set():
                log.info("stopped", role="worker")

    async def _work(self, metrics: WorkerMetrics, log: FilteringBoundLogger) -> None:
        settings, rules = self._settings, load_rules(self._settings)
        store = await _connect_patiently(settings, "worker", log, self._stopping)
        if store is None:
            return
        try:
            async with _twilio_of(settings) as twilio:
                observers = Observers(self._journal, metrics, log)
                self._dispatcher = Dispatcher(
                    settings,
                    rules,
                    store,
                    twilio,
                    store_url=settings.store.url or "",
                    observers=observers,
                )
                _say_started("worker", settings, rules, store, log)
                keeping = asyncio.create_task(
                    _keep_registered(store, settings, "worker", self._note_mark), name="register"
                )
                try:
                    if not self._stopping.is_set():
                        await self._dispatcher.run()
                finally:
                    await _forget(store, keeping)
        finally:
            await store.close()

    async def stop(self) -> None:
        """Stop claiming. `run` finishes what is under way within the grace period.

        A second call ends it at once.
        """
        _say_stopping("worker", self._stopping)
        if self._dispatcher is not None:
            await self._dispatcher.stop()


class GatewayService:
    """The gateway: serves Twilio's callbacks and inbound messages, health and metrics.

    It listens at once, and is ready once the store answers.
    """

    def __init__(self, settings: Settings, journal: Path | None = None) -> None:
        self._settings = settings
        self._journal = PatientJournal(journal, f"gateway-{os.getpid()}")
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Listen until stopped. Raises StoreRefused, PolicyDataError and CannotListenError."""
        settings, log, rules = self._settings, get_log(), load_rules(self._settings)
        late, store = DeferredStore(), None
        self._journal.write("started")
        try:
            app = make_app(settings, late, rules, journal=self._journal, metrics=Metrics(), log=log)
            running = await _listen(
                app, settings.gateway.host, settings.gateway.port, "gateway.port"
            )
            try:
                store = await _connect_patiently(settings, "gateway", log, self._stopping)
            except Exception:
                await running.stop()
                raise
            if store is not None:
                # The gateway accepts Twilio's requests from now on. Load balancers send some only
                # once the gateway has looked for the inbound messages that it missed.
                app[MISSED].expect()
                late.open(store)
                _say_started("gateway", settings, rules, store, log)
                await self._serve(store, app[MISSED])
            await running.stop()
        finally:
            if store is not None:
                await store.close()
            _close(self._journal, log)
            if store is not None or self._stopping.is_set():
                log.info("stopped", role="gateway")

    async def _serve(self, store: Store, missed: MissedInbound) -> None:
        """Serve until stopped, and fetch what persons wrote while no gateway listened."""
        keeping = asyncio.create_task(
            _keep_registered(store, self._settings, "gateway"), name="register"
        )
        async with _twilio_of(self._settings) as twilio:
            fetching = asyncio.create_task(missed.run(twilio, store.listening), name="missed")
            try:
                await self._stopping.wait()
            finally:
                await end_tasks([fetching])
                await _forget(store, keeping)

    async def stop(self) -> None:
        """Accept no new request. `run` waits until those under way are stored and answered."""
        _say_stopping("gateway", self._stopping)


def _twilio_of(settings: Settings) -> TwilioClient:
    dispatch = settings.dispatch
    return TwilioClient(
        settings.accounts,
        slots=dispatch.slots,
        connect_timeout=dispatch.connect_timeout,
        read_timeout=dispatch.read_timeout,
        keepalive=dispatch.keepalive_seconds,
    )


async def _listen(app: web.Application, host: str, port: int, setting: str) -> RunningGateway:
    try:
        return await serve(app, host, port)
    except OSError as error:
        raise CannotListenError(
            f"Cannot listen on {host}:{port} ({error.strerror}). Set {setting}."
        ) from error


def _close(journal: PatientJournal, log: FilteringBoundLogger) -> None:
    journal.close()
    if journal.unwritten:
        log.error("journal_incomplete", lines=journal.unwritten)


def _say_stopping(role: str, stopping: asyncio.Event) -> None:
    get_log().info("stopping", role=role, again=stopping.is_set())
    stopping.set()


async def _open_for_service(settings: Settings, role: str) -> Store:
    """Open the store and register what the names in messages stand for. Claims look the names up.

    Only a worker replaces what a name stands for, because it sends accordingly. A gateway may have
    older settings.
    """
    await _probe(settings.store.url or "")
    store = await connect_store(settings, role)
    try:
        await register(store, settings, overwrite=role == "worker")
    except BaseException:
        await store.close()
        raise
    return store


async def _keep_registered(
    store: Store, settings: Settings, role: str, noted: Callable[[bool], None] = lambda _: None
) -> None:
    """Report to the store, while this process lives, that it is alive and has these settings.

    A worker also registers its names again, which restores those that the store lost. `noted` is
    called each time with whether the store is marked as restored from a copy.
    """
    digests = settings_digests(settings)
    while True:
        # The dispatcher reports that the store or a replica is away. After a failover lost a name,
        # another process may have registered it for something else.
        with suppress(RedisError, OSError, NotDurable, StoreRefused):
            is_restoring = await store.processes.note(role, digests)
            noted(is_restoring)
        await asyncio.sleep(REGISTER_SECONDS)
        if role == "worker":
            with suppress(RedisError, OSError, NotDurable, StoreRefused):
                await register(store, settings, overwrite=False)


async def _forget(store: Store, registering: asyncio.Task[None]) -> None:
    """Remove this process from the store. A store that is away forgets it by itself."""
    await end_tasks([registering])
    with suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(LAST_SECONDS):
            await store.processes.forget()


async def _probe(url: str) -> None:
    """Raise at once unless the store answers.

    The store's own connections would retry for seconds.
    """
    connection = connect(url, budget=0)
    try:
        answer: Any = connection.ping()
        await answer
    finally:
        await disconnect(connection)


async def _connect_patiently(
    settings: Settings, role: str, log: FilteringBoundLogger, stopping: asyncio.Event
) -> Store | None:
    """Open the store, and retry until it answers. Returns None when the process is stopped first.

    Raises StoreRefused.
    """
    stopped = asyncio.create_task(stopping.wait(), name="stopping")
    told = False
    try:
        while not stopping.is_set():
            opening = asyncio.create_task(
                _open_for_service(settings, role), name="opening the store"
            )
            await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                opening.cancel()
                return None
            try:
                return opening.result()
            except (RedisError, OSError, NotDurable) as error:
                # The error's text may hold the URL and its password, so only the kind is logged.
                if not told:
                    fault = fault_of(error)
                    log.warning(
                        "store_unreachable",
                        error=type(error).__name__,
                        word=fault.word,
                        store=settings.store_place,
                        remedy=fault.remedy,
                    )
                told = True
            await asyncio.wait({stopped}, timeout=RETRY_SECONDS)
        return None
    finally:
        stopped.cancel()


def _say_started(
    role: str, settings: Settings, rules: Ruleset, store: Store, log: FilteringBoundLogger
) -> None:
    for warning in store.warnings:
        log.warning("store", warning=warning)
    for due in due_dates(rules.policy, wall_now()):
        log.warning("policy_date", rule=due.row.id, days_left=due.days_left, sentence=due.sentence)
    log.info("started", role=role, partition=settings.store.partition, policy=rules.policy.version)
