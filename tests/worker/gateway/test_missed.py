"""Messages that persons wrote while no gateway listened: fetched from Twilio's list and applied."""

import asyncio
import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from policies.facts import PersonFact
from tests.support.cast import ACCOUNT_SID, ANNA, SHOP, sid
from tests.support.gateway_world import Scene, gateway_at, journal_lines, settings_for_tests
from tests.support.stores_world import Place
from tests.support.waiting import until
from worker.gateway import missed_inbound
from worker.gateway.app import MISSED
from worker.runtime.cancellation import end_tasks
from worker.twilio.client import TwilioClient

pytestmark = pytest.mark.asyncio


@dataclass
class Lists:
    """Twilio's lists of the account `main`.

    `http` is another answer instead, and `asked` counts requests.
    """

    url: str = ""
    rows: list[dict[str, str]] = field(default_factory=list)
    http: int = 200
    asked: int = 0
    is_endless: bool = False

    def wrote(self, body: str, at: datetime, number: int = 1, **changes: str) -> None:
        """Add a message that Twilio could not deliver to the list."""
        row = {
            "sid": sid(number),
            "status": "received",
            "direction": "inbound",
            "from": ANNA,
            "to": SHOP,
            "body": body,
            "date_created": format_datetime(at.astimezone(UTC)),
        }
        self.rows.insert(0, row | changes)

    async def answer(self, request: web.Request) -> web.Response:
        if request.match_info["account"] != ACCOUNT_SID:
            return web.json_response({"messages": []})
        self.asked += 1
        more = str(request.rel_url) if self.is_endless else None
        return web.json_response({"messages": self.rows, "next_page_uri": more}, status=self.http)


@asynccontextmanager
async def listed() -> AsyncIterator[Lists]:
    lists = Lists()
    app = web.Application()
    app.router.add_get("/2010-04-01/Accounts/{account}/Messages.json", lists.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    lists.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield lists
    finally:
        await runner.cleanup()


@asynccontextmanager
async def started(
    scene: Scene, lists: Lists, until: str = "inbound_fetched"
) -> AsyncIterator[None]:
    """Start what a gateway starts, and return when it has logged an event about `main`."""
    async with starting(scene, lists):
        await logs(scene, until)
        yield


@asynccontextmanager
async def starting(scene: Scene, lists: Lists) -> AsyncIterator[None]:
    accounts = {
        name: replace(account, base_url=lists.url)
        for name, account in settings_for_tests().accounts.items()
    }
    async with TwilioClient(accounts) as twilio:
        run = scene.gateway._app[MISSED].run(twilio, scene.world.store.listening)
        running = asyncio.create_task(run)
        try:
            yield
        finally:
            await end_tasks([running])


async def logs(scene: Scene, event: str, times: int = 1) -> None:
    await until(
        lambda: len(said(scene, event)),
        f"{event} in the log",
        holds=lambda found: found >= times,
        seen=scene.logged_events,
    )


def said(scene: Scene, event: str) -> list[dict[str, Any]]:
    return [
        line for line in scene.lines if line["event"] == event and line.get("account") == "main"
    ]


async def person(scene: Scene) -> PersonFact:
    return (await scene.world.store.people.facts(ANNA, "shop", "main", None)).person


async def heard(scene: Scene, ago: timedelta) -> datetime:
    """Record that a gateway listened until that long ago, and return the store's time.

    It is in whole seconds, as Twilio's times are.
    """
    await scene.world.store.listening.hear("main")
    await scene.world.later(seconds=ago.total_seconds())
    return (await scene.world.store.now()).replace(microsecond=0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_MARK_SECONDS", "_RETRY_SECONDS", "_MAX_RETRY_SECONDS"):
        monkeypatch.setattr(missed_inbound, name, 0.01)


async def test_a_stop_sent_while_no_gateway_listened_counts(store: Place, tmp_path: Path) -> None:
    """A missed STOP is applied at the start with its own date, and journaled like a delivered
    one.
    """
    journal = tmp_path / "gateway.jsonl"
    async with listed() as lists, gateway_at(store, journal=journal) as scene:
        now = await heard(scene, timedelta(minutes=10))
        lists.wrote("STOP", now - timedelta(minutes=5))
        async with started(scene, lists):
            known = await person(scene)
        assert [one.granted for one in known.consents] == [False]
        assert known.last_inbound_at == now - timedelta(minutes=5)
        [line] = [line for line in journal_lines(journal) if line["e"] == "inbound"]
        assert (line["sid"], line["keyword"], line["opted"]) == (sid(1), "stop", "stop")
        assert scene.logged_events().count("inbound") == 1


async def test_what_was_delivered_is_not_applied_again(store: Place) -> None:
    """A message that was delivered is not applied again, so a STOP undone since stays undone.

    The list reaches back before the gateway's last mark.
    """
    async with listed() as lists, gateway_at(store) as scene:
        await scene.twilio.inbound("STOP", MessageSid=sid(1))
        await scene.world.later(seconds=1)
        await scene.twilio.inbound("START", MessageSid=sid(2))
        now = await heard(scene, timedelta(seconds=30))
        lists.wrote("STOP", now - timedelta(seconds=31), 1)
        lists.wrote("START", now - timedelta(seconds=30), 2)
        async with started(scene, lists):
            assert not (await person(scene)).consents
        assert [line["first"] for line in scene.lines if line["event"] == "inbound"][2:] == [
            False,
            False,
        ]


async def test_a_missed_stop_does_not_undo_what_the_person_said_since(store: Place) -> None:
    """Messages count by when they were written, not by when they were read."""
    async with listed() as lists, gateway_at(store) as scene:
        now = await heard(scene, timedelta(minutes=10))
        lists.wrote("STOP", now - timedelta(minutes=5))
        await scene.twilio.inbound("START", MessageSid=sid(2))
        async with started(scene, lists):
            assert all(one.granted for one in (await person(scene)).consents)


async def test_a_new_store_asks_for_nothing(store: Place, impatient: None) -> None:
    """A new store reads no list, because old messages would open windows.

    No gateway has listened yet, so none was missed.
    """
    async with listed() as lists, gateway_at(store) as scene:
        lists.wrote("hello", await scene.world.store.now())
        async with starting(scene, lists):
            await until(
                lambda: scene.world.store.listening.heard_until("main"),
                "the first mark",
                holds=lambda heard: heard[1] is not None,
            )
        assert lists.asked == 0


async def test_a_gateway_listens_on_without_asking(store: Place, impatient: None) -> None:
    """A gateway reads the list once, and then only moves its mark."""
    async with listed() as lists, gateway_at(store) as scene:
        await heard(scene, timedelta(seconds=1))
        async with started(scene, lists):
            _, first = await scene.world.store.listening.heard_until("main")
            await until(
                lambda: scene.world.store.listening.heard_until("main"),
                "the mark to move",
                holds=lambda heard: heard[1] != first,
            )
        assert lists.asked == 1


async def test_a_gap_under_a_running_gateway_is_looked_at_too(
    store: Place, impatient: None
) -> None:
    """The list is read for an outage of the store too, because the gateway stored nothing then."""
    async with listed() as lists, gateway_at(store) as scene:
        await heard(scene, timedelta(seconds=1))
        async with started(scene, lists):
            await scene.world.later(minutes=5)
            await logs(scene, "inbound_fetched", 2)


@pytest.mark.parametrize("http", [401, 503])
async def test_twilio_away_keeps_no_gateway_from_working(
    store: Place, impatient: None, http: int
) -> None:
    """While Twilio is away the gateway works, logs the gap as an error, and retries.

    The mark stays.
    """
    async with listed() as lists, gateway_at(store) as scene:
        now = await heard(scene, timedelta(minutes=10))
        _, before = await scene.world.store.listening.heard_until("main")
        lists.http = http
        lists.wrote("STOP", now - timedelta(minutes=5))
        async with starting(scene, lists):
            await logs(scene, "inbound_not_fetched", 2)
            assert said(scene, "inbound_not_fetched")[0]["status"] == http
            await until(
                lambda: scene.gateway._app[MISSED].problem, "no problem", holds=operator.not_
            )
            assert (await scene.world.store.listening.heard_until("main"))[1] == before
            lists.http = 200
            await logs(scene, "inbound_fetched")
            assert [one.granted for one in (await person(scene)).consents] == [False]


async def test_a_gateway_is_not_ready_before_it_looked(store: Place) -> None:
    """A gateway is not ready before it has read the list, but it stores what arrives."""
    async with gateway_at(store) as scene:
        watch = scene.gateway._app[MISSED]
        assert (await scene.twilio.send("GET", "/health/ready"))[0] == 200
        watch.expect()
        status, text = await scene.twilio.send("GET", "/health/ready")
        assert status == 503
        assert "being fetched" in text
        assert (await scene.twilio.inbound("hello"))[0] == 200


async def test_what_a_waiting_gateway_turned_away_is_fetched(store: Place) -> None:
    """What was turned away while this gateway had to wait is fetched, although a gateway of
    another release moved the mark in the meantime.
    """
    async with listed() as lists, gateway_at(store) as scene:
        now = await heard(scene, timedelta())
        lists.wrote("STOP", now - timedelta(minutes=8))
        scene.gateway._app[MISSED].expect(turned_away_since=now - timedelta(minutes=10))
        async with started(scene, lists):
            assert [one.granted for one in (await person(scene)).consents] == [False]


async def test_a_gap_of_days_is_fetched_as_far_as_repetitions_are_known(store: Place) -> None:
    """A long gap is fetched only as far back as repetitions are recognized; the log names the rest.

    Older messages could be applied twice, so an operator has to look at them.
    """
    async with listed() as lists, gateway_at(store) as scene:
        now = await heard(scene, timedelta(days=4))
        lists.wrote("STOP", now - timedelta(days=3), 1)
        lists.wrote("hello", now - timedelta(hours=46), 2)
        async with started(scene, lists):
            known = await person(scene)
        assert (known.consents, known.last_inbound_at) == ((), now - timedelta(hours=46))
        assert len(said(scene, "inbound_gap_too_long")) == 1


async def test_a_list_without_end_is_left_and_said(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests for a long list are bounded.

    The messages read so far are applied, and the log says so.
    """
    monkeypatch.setattr(missed_inbound, "MAX_REQUESTS", 2)
    async with listed() as lists, gateway_at(store) as scene:
        now = await heard(scene, timedelta(minutes=10))
        lists.wrote("STOP", now - timedelta(minutes=5))
        lists.is_endless = True
        async with started(scene, lists, "inbound_list_incomplete"):
            assert lists.asked == 2
            assert (await person(scene)).consents


async def test_a_row_without_a_sender_harms_no_other(store: Place) -> None:
    """A row without a sender is named by its SID, and the other rows are applied."""
    async with listed() as lists, gateway_at(store) as scene:
        now = await heard(scene, timedelta(minutes=10))
        lists.wrote("STOP", now - timedelta(minutes=5), 1)
        lists.wrote("hello", now - timedelta(minutes=4), 2, **{"from": ""})
        async with started(scene, lists):
            assert (await person(scene)).consents
        assert [line["sid"] for line in said(scene, "inbound_row_unreadable")] == [sid(2)]
