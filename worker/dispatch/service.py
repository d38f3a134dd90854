"""Runs the dispatch: claims, keeps leases, takes over what crashed, and stops without breaking a promise."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import OutOfMemoryError

from policies.rules import Rules
from sendwindow.keys import Keys
from worker import clock
from worker.dispatch import reconcile, unknown
from worker.dispatch.batcher import Batcher
from worker.dispatch.budget import Budget
from worker.dispatch.claiming import Claimer
from worker.dispatch.held import Slots
from worker.dispatch.outcomes import Outcomes
from worker.dispatch.periodic import Duty, run_periodic
from worker.dispatch.pipe import Pipe, Poster
from worker.dispatch.reconcile import Patterns, Reconciler
from worker.dispatch.scribe import Reports, Scribe
from worker.dispatch.steady import Health, Patience
from worker.dispatch.unknown import Reader, Search
from worker.ports import Ledger, Statuses, Unknowns
from worker.settings import Settings
from worker.tasks import end_tasks

_REAP_LIMIT = 64
_ADOPT_LIMIT = 100
_LAST_SECONDS = 1.0


class Twilio(Poster, Reader, Protocol):
    """What the dispatch wants of the Twilio client."""


class OpenStore(Protocol):
    """What the dispatch wants of an open store."""

    @property
    def keys(self) -> Keys:
        """The partition's keys."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The way of messages."""
        ...

    @property
    def statuses(self) -> Statuses:
        """What providers report."""
        ...

    @property
    def unknowns(self) -> Unknowns:
        """Attempts without a proven outcome."""
        ...

    async def publish_pressure(self) -> int:
        """Tell producers how full the store is."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """How often things are done, in seconds, beyond what the settings say.

    `search`, `fetch` and `pressure` divide 60. `requests_per_second`, `requests_at_once`: the budget of reads.
    """

    adopt: float = 0.25
    search: int = 2
    fetch: int = 30
    pressure: int = 5
    requests_per_second: float = 10.0
    requests_at_once: int = 60
    patterns: Patterns = Patterns()


class Dispatcher:
    """One worker of a partition. `store_url`: where arq's worker for the periodic work connects."""

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        store: OpenStore,
        twilio: Twilio,
        *,
        store_url: str,
        reports: Reports,
        times: Times = Times(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._store = store
        self._store_url = store_url
        self._meter = reports.meter
        self._log = reports.log
        self._times = times
        self._health = Health(reports.log, reports.meter)
        self._patience = Patience(self._health, chance)
        self._scribe = Scribe(reports)
        self._settlements = Batcher(store.ledger.settle)
        slots = Slots(settings.dispatch.slots)
        self._claimer = Claimer(
            store.ledger,
            Pipe(
                settings=settings,
                rules=rules,
                outcomes=Outcomes(rules, chance),
                twilio=twilio,
                admissions=Batcher(store.ledger.admit),
                settlements=self._settlements,
                slots=slots,
                patience=self._patience,
                scribe=self._scribe,
                monotonic=clock.monotonic,
            ),
            slots,
            capacity=settings.dispatch.slots,
            patience=self._patience,
            scribe=self._scribe,
            reports=reports,
        )
        budget = Budget(times.requests_per_second, times.requests_at_once, clock.monotonic)
        shared = (settings, rules, store.unknowns, store.statuses, twilio, budget, reports)
        self._search = Search(*shared)
        self._reconciler = Reconciler(*shared, times.patterns)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ended = asyncio.Event()
        self._grace = settings.dispatch.grace_seconds

    @property
    def ready(self) -> bool:
        """Whether this worker takes messages now: it has claimed, is not stopping, and the store answers."""
        return self._claimer.has_claimed and not self._stopping.is_set() and self._health.is_good

    @property
    def failing(self) -> frozenset[str]:
        """The parts that fail at this moment."""
        return self._health.failing

    async def run(self) -> None:
        """Work until `stop`. Never ends because the store or Twilio is away."""
        lease = self._settings.dispatch.lease_seconds
        background = [
            asyncio.create_task(self._forever("renew", self._claimer.renew, lease / 3), name="renew"),
            asyncio.create_task(self._forever("reap", self._reap, lease / 2), name="reap"),
            asyncio.create_task(self._forever("adopt", self._adopt, self._times.adopt), name="adopt"),
            asyncio.create_task(self._periodic(), name="periodic"),
        ]
        try:
            await self._claimer.claim_until_stopped()
            await self._claimer.finish(self._grace, self._hurry)
        finally:
            # What was handed in is recorded, also when the one who waited for it was cut off.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._settlements.drained()
            await end_tasks(background)
            self._ended.set()

    async def stop(self, grace: float | None = None) -> None:
        """Stop claiming, finish what is under way within `grace` seconds (default: the settings'), give the rest back.

        Returns when `run` has ended. A second call ends it at once: an attempt under way has its intent, and its
        outcome is searched for by whoever works then.
        """
        if self._stopping.is_set():
            self._hurry.set()
        elif grace is not None:
            self._grace = grace
        self._stopping.set()
        self._claimer.stop()
        await self._ended.wait()

    # -- background ----------------------------------------------------------------------------

    async def _reap(self) -> None:
        while True:
            reaped = await self._store.ledger.reap(_REAP_LIMIT)
            for one in reaped:
                self._scribe.reaped(one)
            if len(reaped) < _REAP_LIMIT:
                return

    async def _adopt(self) -> None:
        while await self._store.ledger.adopt(_ADOPT_LIMIT) >= _ADOPT_LIMIT:
            pass

    async def _forever(self, part: str, work: Callable[[], Awaitable[None]], every: float) -> None:
        failures = 0
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 -- a store that is away must not end the worker
                self._health.failed(part, error)
                failures += 1
                await self._patience.pause(failures)
            else:
                self._health.works(part)
                failures = 0
                await asyncio.sleep(every)

    async def _periodic(self) -> None:
        """Run arq's worker, which ends when the store blips, again and again."""
        duties = (
            Duty("search", self._times.search, self._duty("search", self._search.turn, unknown.BATCH)),
            Duty("fetch", self._times.fetch, self._duty("fetch", self._reconciler.turn, reconcile.BATCH)),
            Duty("pressure", self._times.pressure, self._duty("pressure", self._publish_pressure, 1)),
        )
        failures = 0
        while True:
            started = clock.monotonic()
            try:
                await run_periodic(self._store_url, self._store.keys, duties)
            except Exception as error:  # noqa: BLE001 -- as above
                self._meter.failing("periodic")
                self._log.warning("periodic_restarted", error=type(error).__name__)
                if isinstance(error, OutOfMemoryError):
                    # arq needs room of its own in the store. A full one has to drain, so the duties go on without it.
                    for duty in duties:
                        await duty.work()
            failures = 1 if clock.monotonic() - started > 10 else failures + 1
            await self._patience.pause(failures)

    async def _publish_pressure(self) -> int:
        await self._store.publish_pressure()
        return 0

    def _duty(self, name: str, turn: Callable[[], Awaitable[int]], full: int) -> Callable[[], Awaitable[None]]:
        """Make a duty of turns: again while a turn was full, never twice at once, no exception to arq."""
        busy = asyncio.Lock()

        async def work() -> None:
            if busy.locked():
                return
            async with busy:
                try:
                    while await turn() >= full and not self._stopping.is_set():
                        pass
                except Exception as error:  # noqa: BLE001 -- the next tick tries again
                    self._meter.failing(name)
                    self._log.warning("duty_failed", duty=name, error=type(error).__name__)

        return work
