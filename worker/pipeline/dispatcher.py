"""One worker of a partition: starts its claimer and background work, and stops them in order."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from policies.ruleset import Ruleset
from sendwindow.keys import Keys
from worker.pipeline import missing_statuses
from worker.pipeline.account_gate import AccountGate
from worker.pipeline.alerts import HeldEffectsAlert, SuspectedStopAlert
from worker.pipeline.breaker_questions import AccountReader, BreakerQuestions
from worker.pipeline.claimer import Claimer, max_in_flight
from worker.pipeline.missing_statuses import FetchSchedule, MissingStatusFetcher
from worker.pipeline.outcomes import Outcomes
from worker.pipeline.own_breaker import OwnBreaker
from worker.pipeline.periodic import PeriodicWork
from worker.pipeline.pipeline import Pipeline, Poster
from worker.pipeline.recorder import Observers, Recorder
from worker.pipeline.shares import Shares
from worker.pipeline.slots import Slots
from worker.pipeline.store_retry import LAST_SECONDS, Health, StoreRetry
from worker.pipeline.token_bucket import TokenBucket
from worker.pipeline.unknown.matching import listing_of
from worker.pipeline.unknown.message_lists import MessageLists, MessageReader
from worker.pipeline.unknown.search import MAX_BATCH_ATTEMPTS as SEARCH_BATCH
from worker.pipeline.unknown.search import UnknownSearch
from worker.ports.breakers import Breakers
from worker.ports.effects import HeldEffectsPort
from worker.ports.ledger import Ledger
from worker.ports.processes import Holdings
from worker.ports.records import Records
from worker.ports.statuses import Statuses
from worker.ports.unknowns import Unknowns
from worker.runtime import clock
from worker.runtime.batcher import Batcher
from worker.runtime.cancellation import end_tasks
from worker.settings.settings import Settings

_MAX_REAPED_MESSAGES = 64
_MAX_CANCELLED_MESSAGES = 64
_MAX_SWEPT_MESSAGES = 32
"""So that a call that ends messages of a cancelled campaign takes less than 5 ms of the store."""

_MAX_CANCEL_CALLS = 16
"""How many calls one round makes. A producer that cancels without a pause holds up no reaping."""

_GATHER_SECONDS: Final = 0.01
"""How long a settlement waits for others, so that they share a call.

No POST waits for it, because its message has given back its slot. But a worker that is killed in
this time leaves an attempt more whose outcome must be searched for, so it is short.
"""

_MAX_ADOPTED_JOBS = 640
"""Large: in a busy worker each call waits for its turn, and it makes five other calls to Redis."""


class Twilio(Poster, MessageReader, AccountReader, Protocol):
    """The part of the Twilio client that the dispatcher needs."""


class OpenStore(Protocol):
    """The part of an open store that the dispatcher needs."""

    @property
    def keys(self) -> Keys:
        """The partition's keys."""
        ...

    @property
    def ledger(self) -> Ledger:
        """How messages move through Redis."""
        ...

    @property
    def statuses(self) -> Statuses:
        """What Twilio reports about messages."""
        ...

    @property
    def unknowns(self) -> Unknowns:
        """Attempts without a proven outcome."""
        ...

    @property
    def records(self) -> Records:
        """Totals, and the depths of lanes and lists."""
        ...

    @property
    def breakers(self) -> Breakers:
        """The breakers of accounts."""
        ...

    @property
    def held(self) -> HeldEffectsPort:
        """Effects of errors that are held until an operator decides."""
        ...

    async def publish_pressure(self) -> int | None:
        """Publish how full the store is, for producers."""
        ...

    async def recount_queued(self, limits: Mapping[str, int]) -> int:
        """Correct the count of each sender whose queue seems full. `limits`: sender → limit."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """How often the worker does its background work, in seconds, where no setting says so.

    `search`, `fetch`, `breakers`, `pressure`, `suspected` and `campaigns` divide 60.
    `requests_per_second` and `requests_at_once` limit the reads of each account, separately for
    searches and for fetches.
    200,000 messages a day without a final status need 7 reads a second.
    """

    adopt: float = 0.25
    search: int = 2
    fetch: int = 5
    breakers: int = 2
    pressure: int = 5
    suspected: int = 60
    campaigns: int = 1
    requests_per_second: float = 10.0
    requests_at_once: int = 60
    schedule: FetchSchedule = FetchSchedule()


class Dispatcher:
    """One worker of a partition. `store_url`: where arq's worker for the periodic work connects."""

    def __init__(
        self,
        settings: Settings,
        rules: Ruleset,
        store: OpenStore,
        twilio: Twilio,
        *,
        store_url: str,
        observers: Observers,
        times: Times = Times(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._store = store
        self._times = times
        self._health = Health(observers.log, observers.metrics, settings.store_place)
        self._store_retry = StoreRetry(self._health, chance)
        self._recorder = Recorder(observers)
        self._gate = AccountGate()
        self._settlements = Batcher(store.ledger.settle, gather=_GATHER_SECONDS)
        self._claimer = self._make_claimer(rules, twilio, observers, chance)
        self._periodic_work = PeriodicWork(store_url, store.keys, self._store_retry, observers)
        self._add_periodic_jobs(rules, twilio, observers)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ended = asyncio.Event()
        self._grace = settings.dispatch.grace_seconds

    def _make_claimer(
        self, rules: Ruleset, twilio: Twilio, observers: Observers, chance: Callable[[], float]
    ) -> Claimer:
        settings = self._settings
        routes = {(one.base_url, one.proxy) for one in settings.accounts.values()}
        among = {"accounts": len(settings.accounts), "senders": len(settings.senders)}
        capacity = settings.dispatch.slots
        slots, breaker = Slots(Shares(capacity, **among)), OwnBreaker()
        pipeline = Pipeline(
            settings=settings,
            rules=rules,
            outcomes=Outcomes(rules, chance, has_many_routes=len(routes) > 1),
            twilio=twilio,
            admissions=Batcher(self._store.ledger.admit),
            settlements=self._settlements,
            slots=slots,
            breaker=breaker,
            gate=self._gate,
            store_retry=self._store_retry,
            recorder=self._recorder,
            monotonic=clock.monotonic,
            listings={
                sender.name: listing_of(account.account_sid, sender.address)
                for sender in settings.senders.values()
                if (account := settings.accounts.get(sender.account)) is not None
            },
        )
        return Claimer(
            self._store.ledger,
            pipeline,
            slots,
            held=Shares(max_in_flight(capacity), **among),
            capacity=capacity,
            store_retry=self._store_retry,
            recorder=self._recorder,
            observers=observers,
        )

    def _add_periodic_jobs(self, rules: Ruleset, twilio: Twilio, observers: Observers) -> None:
        settings, store, times = self._settings, self._store, self._times
        search_bucket, fetch_bucket = (
            TokenBucket(times.requests_per_second, times.requests_at_once, clock.monotonic)
            for _ in range(2)
        )
        lists = MessageLists(store.unknowns, twilio, search_bucket, observers.log)
        search = UnknownSearch(
            settings, rules, store.unknowns, store.statuses, lists, self._store_retry, observers
        )
        fetcher = MissingStatusFetcher(
            settings,
            rules,
            store.unknowns,
            store.statuses,
            twilio,
            fetch_bucket,
            self._store_retry,
            observers,
            times.schedule,
        )
        suspected_stops = SuspectedStopAlert(store.records, observers.log)
        held_effects = HeldEffectsAlert(store.held, list(settings.senders), observers.log)
        add = self._periodic_work.add
        add("search", times.search, search.turn, full=SEARCH_BATCH)
        add("fetch", times.fetch, fetcher.turn, full=missing_statuses.MAX_BATCH_MESSAGES)
        add("campaigns", times.campaigns, self._end_campaigns, full=1)
        questions = BreakerQuestions(list(settings.accounts), store.breakers, twilio)
        add("breakers", times.breakers, questions.turn, full=len(settings.accounts) + 1)
        add("suspected", times.suspected, suspected_stops.turn, full=1)
        add("held", times.pressure, held_effects.turn, full=1)
        add("queued", times.suspected, self._recount_queued, full=1)
        add("pressure", times.pressure, self._publish_pressure, full=1)

    @property
    def ready(self) -> bool:
        """Whether this worker takes messages: it has claimed, does not stop, and nothing fails."""
        return self._claimer.has_claimed and not self._stopping.is_set() and not self.failing

    @property
    def is_stopping(self) -> bool:
        """Whether this worker was asked to stop."""
        return self._stopping.is_set()

    @property
    def holds(self) -> Holdings:
        """What this worker holds now."""
        return self._claimer.holds

    @property
    def problem(self) -> str | None:
        """What Redis refuses or lacks, and the remedy. None while nothing fails."""
        return self._health.problem

    @property
    def failing(self) -> frozenset[str]:
        """The parts that fail now."""
        journal = {"journal"} if self._recorder.cannot_write else frozenset()
        return self._health.failing | journal

    async def run(self) -> None:
        """Run until `stop`. An outage of Redis or Twilio never ends it."""
        lease = self._settings.dispatch.lease_seconds
        renewing = self._forever("renew", self._claimer.renew, lease / 3)
        reaping = self._forever("reap", self._reap, lease / 3)
        adopting = self._forever("adopt", self._adopt, self._times.adopt)
        background = [
            asyncio.create_task(renewing, name="renew"),
            asyncio.create_task(reaping, name="reap"),
            asyncio.create_task(adopting, name="adopt"),
            asyncio.create_task(self._periodic_work.run(), name="periodic"),
        ]
        try:
            await self._claimer.claim_until_stopped()
            await self._claimer.finish(self._grace, self._hurry)
        finally:
            # A settlement that was submitted is recorded even if its message was cut off.
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self._settlements.drained()
            await self._claimer.release_unstarted()
            await end_tasks(background)
            await self._periodic_work.end()
            self._ended.set()

    async def stop(self, grace: float | None = None) -> None:
        """Stop claiming, finish the messages with a slot within `grace` seconds, release the rest.

        `grace` defaults to the value in the settings. Returns when `run` has ended. A second call
        ends it at once. The intent of an attempt that is cut off is in Redis, so another worker
        searches for its outcome.
        """
        if self._stopping.is_set():
            self._hurry.set()
        elif grace is not None:
            self._grace = grace
        self._stopping.set()
        self._claimer.stop()
        self._gate.close()
        self._periodic_work.stop()
        await self._ended.wait()

    # -- background ------------------------------------------------------------------------------

    async def _reap(self) -> None:
        while True:
            reaped = await self._store.ledger.reap(_MAX_REAPED_MESSAGES)
            for one in reaped:
                self._recorder.reaped(one)
            if len(reaped) < _MAX_REAPED_MESSAGES:
                break
        for _ in range(_MAX_CANCEL_CALLS):
            if not await self._store.ledger.end_cancelled(_MAX_CANCELLED_MESSAGES):
                break

    async def _adopt(self) -> None:
        while True:
            adopted = await self._store.ledger.adopt(_MAX_ADOPTED_JOBS)
            for one in adopted.unreadable:
                self._recorder.unreadable(one)
            if adopted.taken < _MAX_ADOPTED_JOBS:
                return

    async def _forever(self, part: str, work: Callable[[], Awaitable[None]], every: float) -> None:
        failures = 0
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 -- a failure of Redis must not end the worker
                self._health.failed(part, error)
                failures += 1
                await self._store_retry.pause(failures)
            else:
                self._health.works(part)
                failures = 0
                await asyncio.sleep(every)

    async def _end_campaigns(self) -> int:
        return int(await self._store.ledger.end_campaigns(_MAX_SWEPT_MESSAGES))

    async def _recount_queued(self) -> int:
        limits = {name: most for name, (most, _) in self._settings.queue_limits.items()}
        await self._store.recount_queued(limits)
        return 0

    async def _publish_pressure(self) -> int:
        await self._store.publish_pressure()
        return 0
