"""Runs the dispatch: claims, keeps leases, takes over what crashed, and stops without breaking a promise."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from policies.rules import Rules
from sendwindow.keys import Keys
from worker import clock
from worker.batcher import Batcher
from worker.dispatch import reconcile, unknown
from worker.dispatch.aside import AsideWatch
from worker.dispatch.budget import Budget
from worker.dispatch.claiming import Claimer
from worker.dispatch.duties import Duties
from worker.dispatch.held import Slots
from worker.dispatch.lists import Lists, Reader
from worker.dispatch.outcomes import Outcomes
from worker.dispatch.pipe import Pipe, Poster
from worker.dispatch.reconcile import Patterns, Reconciler
from worker.dispatch.scribe import Reports, Scribe
from worker.dispatch.steady import LAST_SECONDS, Health, Patience
from worker.dispatch.suspected import SuspectedAlarm
from worker.dispatch.unknown import Search
from worker.ports import Held, Ledger, Records, Statuses, Unknowns
from worker.settings import Settings
from worker.tasks import end_tasks

_REAP_LIMIT = 64
_ADOPT_LIMIT = 640
"""Each call waits its turn behind what else a busy worker does, and asks the store five questions of its own."""


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

    @property
    def records(self) -> Records:
        """Totals and depths."""
        ...

    @property
    def held(self) -> Held:
        """What a jump of errors would have taught."""
        ...

    async def publish_pressure(self) -> int | None:
        """Tell producers how full the store is."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """How often things are done, in seconds, beyond what the settings say.

    `search`, `fetch`, `pressure` and `suspected` divide 60. `requests_per_second`, `requests_at_once`: the budget of
    reads that each account has for searches, and once more for fetches. 200,000 messages a day without a final status
    need 7 a second.
    """

    adopt: float = 0.25
    search: int = 2
    fetch: int = 5
    pressure: int = 5
    suspected: int = 60
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
        self._times = times
        self._health = Health(reports.log, reports.meter, settings.store_place)
        self._patience = Patience(self._health, chance)
        self._scribe = Scribe(reports)
        self._settlements = Batcher(store.ledger.settle)
        self._claimer = self._make_claimer(rules, twilio, reports, chance)
        self._duties = Duties(store_url, store.keys, self._patience, reports)
        self._add_duties(rules, twilio, reports)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ended = asyncio.Event()
        self._grace = settings.dispatch.grace_seconds

    def _make_claimer(self, rules: Rules, twilio: Twilio, reports: Reports, chance: Callable[[], float]) -> Claimer:
        slots = Slots(self._settings.dispatch.slots)
        pipe = Pipe(
            settings=self._settings,
            rules=rules,
            outcomes=Outcomes(rules, chance),
            twilio=twilio,
            admissions=Batcher(self._store.ledger.admit),
            settlements=self._settlements,
            slots=slots,
            patience=self._patience,
            scribe=self._scribe,
            monotonic=clock.monotonic,
        )
        return Claimer(
            self._store.ledger,
            pipe,
            slots,
            capacity=self._settings.dispatch.slots,
            patience=self._patience,
            scribe=self._scribe,
            reports=reports,
        )

    def _add_duties(self, rules: Rules, twilio: Twilio, reports: Reports) -> None:
        settings, store, times = self._settings, self._store, self._times
        searches, fetches = (
            Budget(times.requests_per_second, times.requests_at_once, clock.monotonic) for _ in range(2)
        )
        lists = Lists(store.unknowns, twilio, searches, reports.log)
        search = Search(settings, rules, store.unknowns, store.statuses, lists, self._patience, reports)
        reconciler = Reconciler(
            settings, rules, store.unknowns, store.statuses, twilio, fetches, reports, times.patterns
        )
        self._duties.add("search", times.search, search.turn, full=unknown.BATCH)
        self._duties.add("fetch", times.fetch, reconciler.turn, full=reconcile.BATCH)
        self._duties.add("suspected", times.suspected, SuspectedAlarm(store.records, reports.log).turn, full=1)
        watch = AsideWatch(store.held, list(settings.senders), reports.log)
        self._duties.add("held", times.pressure, watch.turn, full=1)
        self._duties.add("pressure", times.pressure, self._publish_pressure, full=1)

    @property
    def ready(self) -> bool:
        """Whether this worker takes messages now: it has claimed, is not stopping, and nothing fails."""
        return self._claimer.has_claimed and not self._stopping.is_set() and not self.failing

    @property
    def problem(self) -> str | None:
        """What the store refuses or lacks, and the remedy; None while nothing fails."""
        return self._health.problem

    @property
    def failing(self) -> frozenset[str]:
        """The parts that fail at this moment."""
        return self._health.failing | ({"journal"} if self._scribe.is_mute else frozenset())

    async def run(self) -> None:
        """Work until `stop`. Never ends because the store or Twilio is away."""
        lease = self._settings.dispatch.lease_seconds
        background = [
            asyncio.create_task(self._forever("renew", self._claimer.renew, lease / 3), name="renew"),
            asyncio.create_task(self._forever("reap", self._reap, lease / 3), name="reap"),
            asyncio.create_task(self._forever("adopt", self._adopt, self._times.adopt), name="adopt"),
            asyncio.create_task(self._duties.run(), name="periodic"),
        ]
        try:
            await self._claimer.claim_until_stopped()
            await self._claimer.finish(self._grace, self._hurry)
        finally:
            # What was handed in is recorded, also when the one who waited for it was cut off.
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self._settlements.drained()
            await self._claimer.give_back()
            await end_tasks(background)
            await self._duties.end()
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
        self._duties.stop()
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
        while True:
            adopted = await self._store.ledger.adopt(_ADOPT_LIMIT)
            for one in adopted.unreadable:
                self._scribe.unreadable(one)
            if adopted.taken < _ADOPT_LIMIT:
                return

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

    async def _publish_pressure(self) -> int:
        await self._store.publish_pressure()
        return 0
