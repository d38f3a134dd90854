"""The two processes, worker and gateway.

Builds each part once, starts it, and stops the parts in reverse order.
"""

import asyncio
import os
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from policies.policy import due_dates
from policies.ruleset import Ruleset
from sendwindow.connect import connect, disconnect
from worker.gateway.app import ENDPOINTS, MISSED, make_app, make_health_app
from worker.gateway.deferred_store import DeferredStore
from worker.gateway.server import RunningGateway, serve
from worker.pipeline.dispatcher import Dispatcher
from worker.pipeline.recorder import Observers
from worker.ports.processes import Holdings
from worker.registration import Registration, admitted, first_of, registered, until_answered
from worker.runtime.cancellation import end_tasks
from worker.runtime.clock import wall_now
from worker.runtime.garbage import spare_long_lived
from worker.runtime.release import own_release
from worker.settings.settings import Settings
from worker.stores.ledger import WORKER_TUNING, Tuning
from worker.stores.store import Store
from worker.telemetry.journal import PatientJournal
from worker.telemetry.logs import configure_logs, get_log
from worker.telemetry.metrics import Metrics, WorkerMetrics
from worker.twilio.client import TwilioClient
from worker.wiring import connect_store, load_rules, read_settings, settings_digests

_RESTORING: Final = (
    "the store is marked as restored from a copy, so this process claims nothing: stop "
    "it, and repeat `store restored --yes`"
)


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
        self._registration: Registration | None = None
        self._is_restoring = False

    def _note_mark(self, is_restoring: bool) -> None:  # noqa: FBT001 -- a callback with one argument
        if is_restoring and not self._is_restoring:
            get_log().error("store_restored", remedy=_RESTORING)
        self._is_restoring = is_restoring

    def _holds(self) -> Holdings:
        return Holdings(0, 0) if self._dispatcher is None else self._dispatcher.holds

    @property
    def problem(self) -> str | None:
        """Why this worker takes no messages now. None when it takes them."""
        if self._stopping.is_set():
            return "draining"
        if self._registration is not None and (waits := self._registration.problem) is not None:
            return waits
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
        store = await until_answered(
            lambda: _open_store(settings, "worker", WORKER_TUNING), settings, self._stopping
        )
        if store is None:
            return
        registration = self._registration = Registration(
            store.processes, "worker", settings_digests(settings), own_release(), self._holds
        )
        try:
            async with (
                registered(store, settings, registration, self._stopping, self._note_mark),
                _twilio_of(settings) as twilio,
            ):
                observers = Observers(self._journal, metrics, log)
                while await admitted(store, settings, registration, self._stopping):
                    if self._dispatcher is None:
                        _say_started("worker", settings, rules, store, log)
                        spare_long_lived()
                    self._dispatcher = Dispatcher(
                        settings,
                        rules,
                        store,
                        twilio,
                        store_url=settings.store.url or "",
                        observers=observers,
                    )
                    await self._dispatch(self._dispatcher, registration)
                    registration.stopped_working()
        finally:
            await store.close()

    async def _dispatch(self, dispatcher: Dispatcher, registration: Registration) -> None:
        """Run the dispatcher until this worker is stopped or must make way for another release."""
        running = asyncio.create_task(dispatcher.run(), name="dispatcher")
        making_way = asyncio.create_task(registration.has_to_stop.wait(), name="make way")
        try:
            await asyncio.wait({running, making_way}, return_when=asyncio.FIRST_COMPLETED)
            # After a signal it is being stopped already. A second stop would cut its POSTs.
            if not running.done() and not dispatcher.is_stopping:
                await dispatcher.stop()
            await running
        finally:
            await end_tasks([making_way, running])

    async def stop(self) -> None:
        """Stop claiming. `run` finishes what is under way within the grace period.

        A second call ends it at once, even if this worker made way before the first one.
        """
        is_hurried = self._stopping.is_set()
        _say_stopping("worker", self._stopping)
        if self._dispatcher is None:
            return
        if is_hurried or not self._dispatcher.is_stopping:
            await self._dispatcher.stop()


class GatewayService:
    """The gateway: serves Twilio's callbacks and inbound messages, health and metrics.

    It listens at once, and is ready once the store answers.
    """

    def __init__(self, settings: Settings, journal: Path | None = None) -> None:
        self._settings = settings
        self._journal = PatientJournal(journal, f"gateway-{os.getpid()}")
        self._stopping = asyncio.Event()
        self._registration: Registration | None = None

    @property
    def _why_closed(self) -> str | None:
        return None if self._registration is None else self._registration.problem

    async def run(self) -> None:
        """Listen until stopped. Raises StoreRefused, PolicyDataError and CannotListenError."""
        settings, log, rules = self._settings, get_log(), load_rules(self._settings)
        late, store = DeferredStore(why_closed=lambda: self._why_closed), None
        self._journal.write("started")
        try:
            app = make_app(settings, late, rules, journal=self._journal, metrics=Metrics(), log=log)
            running = await _listen(
                app, settings.gateway.host, settings.gateway.port, "gateway.port"
            )
            try:
                store = await until_answered(
                    lambda: _open_store(settings, "gateway"), settings, self._stopping
                )
                if store is not None:
                    await self._serve(store, late, app, running, rules)
            except Exception:
                await running.stop()
                raise
            await running.stop()
        finally:
            if store is not None:
                await store.close()
            _close(self._journal, log)
            if store is not None or self._stopping.is_set():
                log.info("stopped", role="gateway")

    async def _serve(
        self,
        store: Store,
        late: DeferredStore,
        app: web.Application,
        running: RunningGateway,
        rules: Ruleset,
    ) -> None:
        """Serve until stopped, except while another release is in the way."""
        settings, missed, has_started = self._settings, app[MISSED], False
        registration = self._registration = Registration(
            store.processes, "gateway", settings_digests(settings), own_release()
        )
        async with registered(store, settings, registration, self._stopping):
            async with _twilio_of(settings) as twilio:
                while await admitted(store, settings, registration, self._stopping):
                    # The gateway accepts Twilio's requests from now on. Load balancers send some
                    # only once it has looked for the inbound messages that it missed.
                    missed.expect(registration.waited_since)
                    late.open(store)
                    if not has_started:
                        _say_started("gateway", settings, rules, store, get_log())
                        spare_long_lived()
                        has_started = True
                    fetching = asyncio.create_task(
                        missed.run(twilio, store.listening), name="missed"
                    )
                    try:
                        await first_of(registration.has_to_stop, self._stopping)
                    finally:
                        await end_tasks([fetching])
                    if not self._stopping.is_set():
                        late.close()
                        # The requests under way still write. Meanwhile this gateway counts as
                        # working, so no process of another release begins.
                        await app[ENDPOINTS].finish()
                        registration.stopped_working()
            # The requests under way still write, so the entry stays until they are answered.
            await running.stop()

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


async def _open_store(settings: Settings, role: str, tuning: Tuning | None = None) -> Store:
    await _probe(settings.store.url or "")
    return await connect_store(settings, role, tuning)


async def _probe(url: str) -> None:
    """Raise at once unless the store answers.

    `Store.connect` would retry for seconds.
    """
    connection = connect(url)
    try:
        answer: Any = connection.ping()
        await answer
    finally:
        await disconnect(connection)


def _say_started(
    role: str, settings: Settings, rules: Ruleset, store: Store, log: FilteringBoundLogger
) -> None:
    for warning in store.warnings:
        log.warning("store", warning=warning)
    for due in due_dates(rules.policy, wall_now()):
        log.warning("policy_date", rule=due.row.id, days_left=due.days_left, sentence=due.sentence)
    log.info("started", role=role, partition=settings.store.partition, policy=rules.policy.version)
