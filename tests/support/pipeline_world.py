"""A worker with a real store and a real socket, and a Twilio that follows the test's script."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import web

from sendwindow.contract import Freeform, SendMessage
from sendwindow.producer import Producer
from sendwindow.vocabulary import Purpose, Reason, Stage
from tests.support.cast import GRETA, PAGE, SHOP, sid
from tests.support.no_metrics import NoMetrics
from tests.support.settings_examples import MAIN, settings_of
from tests.support.shipped import rules
from tests.support.stores_world import PERSON_KEY, Place
from tests.support.waiting import no_hang, until
from worker.pipeline.dispatcher import Dispatcher, Times
from worker.pipeline.missing_statuses import FetchSchedule, MissingStatusFetcher
from worker.pipeline.recorder import Observers
from worker.pipeline.store_retry import Health, StoreRetry
from worker.pipeline.token_bucket import TokenBucket
from worker.pipeline.unknown.message_lists import MessageLists
from worker.pipeline.unknown.search import UnknownSearch
from worker.ports.people import ConsentEntry, Inbound
from worker.ports.records import Record
from worker.settings.settings import Settings
from worker.stores.ledger import WORKER_TUNING
from worker.stores.store import Store
from worker.telemetry.journal import PatientJournal
from worker.twilio.client import TwilioClient
from worker.wiring import register

ORDER_TEXT = "Your order {{1}} is on its way."
"""The approved text of the template `order` in English. Its German text is unknown."""

_TIMES = Times(adopt=60, breakers=1)

UNLIMITED: Final = {"messages_per_second": 0}
"""The settings of an account or sender that no rate limits."""


def settings_for(base_url: str, **dispatch: Any) -> Settings:
    """Return settings of one account with a WhatsApp sender, a Page and a template, without limits.

    `dispatch` overrides that section.
    """
    return settings_of(
        accounts={"main": MAIN | {"base_url": base_url, **UNLIMITED}},
        senders={
            "shop": {"account": "main", "address": SHOP, "pair_limit": False, **UNLIMITED},
            "page": {"account": "main", "address": PAGE, **UNLIMITED},
        },
        templates={
            "order": {
                "category": "UTILITY",
                "variables": ["1"],
                "languages": {
                    "en": {"sid": "HX" + "0" * 32, "body": ORDER_TEXT},
                    "de": "HX" + "1" * 32,
                },
            },
        },
        dispatch=dispatch,
    )


Answer = Callable[["Twilio", dict[str, str]], Awaitable[web.StreamResponse]]


@dataclass
class Twilio:
    """Answers by its script: `answer` gets the form of each POST, and `listed` is what the list
    shows.

    `is_refusing`: it refuses the credentials where the account is asked for.
    `is_endless`: a sender's list always has one more page. `asked`: the recipient of each list,
    None for a sender's.
    """

    answer: Answer
    url: str = ""
    posts: list[dict[str, str]] = field(default_factory=list)
    listed: list[dict[str, object]] = field(default_factory=list)
    reads: int = 0
    hidden_to: str = ""
    is_broken: bool = False
    is_behind_proxy: bool = False
    is_endless: bool = False
    asked: list[str | None] = field(default_factory=list)
    is_refusing: bool = False

    async def account(self, request: web.Request) -> web.StreamResponse:
        self.reads += 1
        if self.is_broken or self.is_refusing:
            return web.json_response({"code": 20003}, status=503 if self.is_broken else 401)
        return web.json_response({"sid": request.match_info["account"], "status": "active"})

    async def create(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.posts.append(form)
        self.request = request
        return await self.answer(self, form)

    async def list(self, request: web.Request) -> web.StreamResponse:
        self.reads += 1
        self.asked.append(request.query.get("To"))
        if self.is_broken or request.query.get("To") == self.hidden_to:
            return web.json_response({"messages": []}, status=503 if self.is_broken else 200)
        wanted = {"to": request.query.get("To"), "from": request.query.get("From")}
        rows = [
            row
            for row in self.listed
            if all(row[name] == one for name, one in wanted.items() if one is not None)
        ]
        more = str(request.rel_url) if self.is_endless and wanted["to"] is None else None
        return web.json_response({"messages": rows, "next_page_uri": more})

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        self.reads += 1
        if self.is_broken:
            return web.json_response({}, status=503)
        if self.is_behind_proxy:
            return web.Response(
                status=404, text="<html>404 Not Found</html>", content_type="text/html"
            )
        for row in self.listed:
            if row["sid"] == request.match_info["sid"]:
                return web.json_response(row)
        return web.json_response({"code": 20404}, status=404)

    async def until_read(self, reads: int) -> None:
        """Wait until the worker has read something that often."""
        await until(lambda: self.reads >= reads, "a read")

    def show(
        self,
        sid: str,
        *,
        at: datetime,
        body: str = "hello",
        to: str = GRETA,
        status: str = "sent",
        code: int | None = None,
    ) -> None:
        """Add a message to the list."""
        self.listed.append(
            {
                "sid": sid,
                "status": status,
                "direction": "outbound-api",
                "to": to,
                "from": SHOP,
                "body": body,
                "date_created": format_datetime(at.astimezone(UTC)),
                "error_code": code,
            }
        )


async def accepting(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
    """Accept every message under the next SID."""
    return web.json_response({"sid": sid(len(twilio.posts)), "status": "queued"}, status=201)


async def resetting(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
    """Read the request and cut the connection."""
    assert twilio.request.transport is not None
    twilio.request.transport.abort()
    raise asyncio.CancelledError


def rejecting(code: int, http: int = 400, then: Answer = accepting) -> Answer:
    """Reject the first message with a code, and pass later ones to `then`."""

    async def answer(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        if len(twilio.posts) == 1:
            return web.json_response({"code": code, "message": "no", "status": http}, status=http)
        return await then(twilio, form)

    return answer


@asynccontextmanager
async def twilio_serving(
    answer: Answer,
) -> AsyncIterator[Twilio]:
    twilio = Twilio(answer)
    app = web.Application()
    folder = "/2010-04-01/Accounts/{account}"
    app.router.add_post(f"{folder}/Messages.json", twilio.create)
    app.router.add_get(f"{folder}/Messages.json", twilio.list)
    app.router.add_get(folder + "/Messages/{sid}.json", twilio.fetch)
    app.router.add_get(folder + ".json", twilio.account)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    twilio.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield twilio
    finally:
        await runner.cleanup()


class Watch(NoMetrics):
    """Lets a test wait for what the dispatcher reports, without polling."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.stages: list[tuple[Stage, Reason]] = []
        self.findings: list[str] = []
        self.parts: list[str] = []
        self.cut: list[bool] = []

    def settled(self, stage: Stage, reason: Reason) -> None:
        self.stages.append((stage, reason))
        self.changed.set()

    def searched(self, finding: str, requests: int) -> None:
        self.findings.append(finding)
        self.changed.set()

    def cut_off(self, *, is_open: bool) -> None:
        self.cut.append(is_open)
        self.changed.set()

    def failing(self, part: str) -> None:
        self.parts.append(part)
        self.changed.set()

    def reaped(self, stage: Stage) -> None:
        self.changed.set()

    def claimed(self, messages: int) -> None:
        self.changed.set()

    def lease_lost(self, messages: int) -> None:
        self.changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds, checked after every report of the dispatcher."""
        async with no_hang("a report of the dispatcher", self._reported):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def _reported(self) -> object:
        return {"stages": self.stages, "findings": self.findings, "failing": self.parts}


class World:
    """A store, a Twilio and a worker that a test starts."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        twilio: Twilio,
        client: TwilioClient,
        *,
        place: Place,
        journal: Path,
    ) -> None:
        self.settings = settings
        self.store = store
        self.twilio = twilio
        self.client = client
        self.place = place
        self.watch = Watch()
        self.journal_path = journal
        self.journal = PatientJournal(journal, "w1")
        self.observers = Observers(self.journal, self.watch, structlog.get_logger().bind())
        self.rules = rules()
        self.producer = Producer(place.url, place.partition)
        self.chance = 0.0
        # redis-py types its answers as either awaitable or not, therefore Any.
        self.redis: Any = store._calls.redis
        self._offset = timedelta()
        self._inbounds = 0

    @property
    def stored_settings(self) -> Settings:
        """The settings with the world's store, for a service that opens it itself."""
        place, kept = self.place, self.settings.store
        store = replace(
            kept, url=place.url, partition=place.partition, person_key=PERSON_KEY.decode()
        )
        return replace(self.settings, store=store)

    def dispatcher(self, *, ledger: Any = None, times: Times = _TIMES) -> Dispatcher:
        """Build a worker; `ledger` stands between it and the store's ledger."""
        store: Any = self.store if ledger is None else _With(self.store, ledger)
        return Dispatcher(
            self.settings,
            self.rules,
            store,
            self.client,
            store_url=self.place.url,
            observers=self.observers,
            times=times,
            chance=lambda: self.chance,
        )

    @asynccontextmanager
    async def working(self, *, ledger: Any = None) -> AsyncIterator[Dispatcher]:
        """Run a worker."""
        dispatcher = self.dispatcher(ledger=ledger)
        running = asyncio.create_task(dispatcher.run())
        try:
            yield dispatcher
        finally:
            async with no_hang("the worker to stop", lambda: dispatcher.failing):
                await dispatcher.stop(0)
                await running

    async def run_until(self, stage: Stage, count: int = 1, *, ledger: Any = None) -> None:
        """Run a worker until that many attempts led to a stage."""
        async with self.working(ledger=ledger):
            await self.watch.until(
                lambda: [each for each, _ in self.watch.stages].count(stage) >= count
            )

    async def enqueue(self, message_id: str = "m1", **wish: Any) -> str:
        """Queue a message to Greta: a utility text unless fields say otherwise."""
        fields: dict[str, Any] = {
            "to": GRETA,
            "sender": "shop",
            "purpose": Purpose.UTILITY,
            "freeform": Freeform(body="hello"),
            "message_id": message_id,
        }
        receipt = await self.producer.send(SendMessage(**(fields | wish)))
        return receipt.message_id

    async def consents(self, to: str = GRETA, *, granted: bool = True) -> None:
        await self.store.people.record_consent(
            to, ConsentEntry(granted, "main", None, None, "test")
        )

    async def writes(
        self, to: str = GRETA, sender: str = "shop", keyword: str | None = None
    ) -> None:
        """Write as the person, which opens the window."""
        self._inbounds += 1
        await self.store.people.apply_inbound(
            [Inbound(sid(10**6 + self._inbounds), sender, "main", to, keyword)]
        )

    async def later(self, **duration: float) -> None:
        """Advance the store's clock."""
        self._offset += timedelta(**duration)
        await self.store.set_offset(self._offset)

    async def record(self, message_id: str = "m1") -> Record:
        record = await self.store.records.record(message_id)
        assert record is not None
        return record

    async def stage(self, message_id: str = "m1") -> str:
        return (await self.record(message_id)).row["s"]

    async def reason(self, message_id: str = "m1") -> str:
        return (await self.record(message_id)).row["r"]

    def journaled(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal_path.read_text().splitlines()]

    def search(self, bucket: TokenBucket | None = None) -> UnknownSearch:
        bucket = bucket or TokenBucket(1000, 1000, lambda: 0.0)
        lists = MessageLists(self.store.unknowns, self.client, bucket, self.observers.log)
        return UnknownSearch(
            self.settings,
            self.rules,
            self.store.unknowns,
            self.store.statuses,
            lists,
            self._store_retry(),
            self.observers,
        )

    def _store_retry(self) -> StoreRetry:
        return StoreRetry(Health(self.observers.log, self.watch), lambda: self.chance)

    def reconciler(self, bucket: TokenBucket | None = None) -> MissingStatusFetcher:
        return MissingStatusFetcher(
            self.settings,
            self.rules,
            self.store.unknowns,
            self.store.statuses,
            self.client,
            bucket or TokenBucket(1000, 1000, lambda: 0.0),
            self._store_retry(),
            self.observers,
            FetchSchedule(),
        )


class _With:
    """A store with another ledger in front of its own."""

    def __init__(self, store: Store, ledger: Any) -> None:
        self._store = store
        self.ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Between:
    """A ledger that passes every call on. Tests change one step of it."""

    def __init__(self, world: World) -> None:
        self._ledger = world.store.ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


@asynccontextmanager
async def dispatching(
    place: Place,
    journal: Path,
    answer: Answer = accepting,
    **dispatch: Any,
) -> AsyncIterator[World]:
    """Open a partition of the sandbox profile, with a scripted Twilio.

    The profile's clock can be moved.
    """
    async with (
        twilio_serving(answer) as twilio,
        dispatching_to(twilio, place, journal, **dispatch) as world,
    ):
        yield world


@asynccontextmanager
async def dispatching_to(
    twilio: Twilio, place: Place, journal: Path, **dispatch: Any
) -> AsyncIterator[World]:
    """Open the same partition with the server at the URL of `twilio`."""
    settings = settings_for(twilio.url, **dispatch)
    store = await Store.connect(
        place.url,
        partition=place.partition,
        person_key=PERSON_KEY,
        worker_id="w1",
        profile="sandbox",
        lease=timedelta(seconds=settings.dispatch.lease_seconds),
        tuning=WORKER_TUNING,
    )
    client = TwilioClient(
        settings.accounts,
        slots=settings.dispatch.slots,
        connect_timeout=settings.dispatch.connect_timeout,
        read_timeout=settings.dispatch.read_timeout,
    )
    await register(store, settings)
    async with client:
        world = World(settings, store, twilio, client, place=place, journal=journal)
        try:
            yield world
        finally:
            await world.producer.close()
            await store.close()
            world.journal.close()
