"""Health, metrics, and a stop that lets every request finish."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.cast import ANNA, MESSAGE_SID
from tests.support.gateway_world import Between, Scene, gateway_at, journal_lines, status_form
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from worker.gateway.app import DRAINING
from worker.gateway.deferred_store import DeferredStore
from worker.gateway.server import serve
from worker.ports.statuses import StatusApplied, Statuses, StatusUpdate
from worker.stores.records import RecordStore
from worker.stores.store import Store

LOST = (
    "the store (store.url) does not answer: the connection was lost (lost); check that it runs, "
    "and that this host and port are its own; a TLS port closes what is not TLS (rediss://)"
)


class Records(RecordStore):
    """Records that can be away, and that count how often readiness reads them."""

    is_away = False
    asked = 0
    counted = 0

    async def counts(self) -> Mapping[str, int]:
        self.counted += 1
        return await super().counts()

    async def probe(self) -> None:
        self.asked += 1
        if self.is_away:
            raise ConnectionError("down")
        await super().probe()


@pytest.mark.asyncio
async def test_live_makes_no_request_without_an_account(store: Place) -> None:
    """A gateway without its store is alive, because a restart would not help."""
    async with gateway_at(store) as scene:
        answer, text = await scene.twilio.send("GET", "/health/live")
        assert (answer, json.loads(text)) == (200, {"live": True})


@pytest.mark.asyncio
async def test_ready_follows_the_store(store: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway is ready exactly while its store answers, since it cannot store a callback
    without it.
    """
    records: list[Records] = []
    monkeypatch.setattr("worker.gateway.health.FRESH_SECONDS", 0.0)

    def wrap(real: Store) -> Between:
        between = Between(real)
        records.append(Records(real._calls))
        between.records = records[0]
        return between

    async with gateway_at(store, wrap=wrap) as scene:
        assert (await scene.twilio.send("GET", "/health/ready"))[0] == 200
        records[0].is_away = True
        answer, text = await scene.twilio.send("GET", "/health/ready")
        assert (answer, json.loads(text)["problem"]) == (503, LOST)
        assert b"sendwindow_ready 0.0" in scene.metrics.render()
        assert "sendwindow_store_up 0.0" in (await scene.twilio.send("GET", "/metrics"))[1]
        records[0].is_away = False
        assert (await scene.twilio.send("GET", "/health/ready"))[0] == 200


@pytest.mark.asyncio
async def test_what_comes_before_the_store_is_open_waits_a_moment_for_it(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request at start waits a moment until the store is open, and is then stored."""
    monkeypatch.setattr("worker.gateway.deferred_store.MAX_SECONDS", 60)
    late: list[DeferredStore] = []

    def wrap(_real: Store) -> DeferredStore:
        late.append(DeferredStore())
        return late[0]

    async with gateway_at(store, wrap=wrap) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        request = asyncio.create_task(scene.twilio.status("delivered"))
        answer, text = await scene.twilio.send("GET", "/health/ready")
        assert (answer, json.loads(text)["problem"]) == (503, "the store has not answered yet")
        assert not request.done()
        late[0].open(scene.world.store)
        assert await asyncio.wait_for(request, HANG_SECONDS) == 204
        assert (await scene.world.row())["st"] == "delivered"


@pytest.mark.asyncio
async def test_a_gateway_is_ready_as_soon_as_its_store_is_open(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned without asking the store is not kept, because to ask again costs nothing."""
    monkeypatch.setattr("worker.gateway.health.FRESH_SECONDS", 3600.0)
    late = DeferredStore()
    async with gateway_at(store, wrap=lambda _: late) as scene:
        assert (await scene.twilio.send("GET", "/health/ready"))[0] == 503
        late.open(scene.world.store)
        assert (await scene.twilio.send("GET", "/health/ready"))[0] == 200


@pytest.mark.asyncio
async def test_a_store_that_stays_away_is_not_waited_for(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is away, Twilio gets 503, unsigned requests are refused, and a stop still
    works.
    """
    monkeypatch.setattr("worker.gateway.deferred_store.MAX_SECONDS", 0.01)
    async with gateway_at(store, wrap=lambda _: DeferredStore()) as scene:
        assert await scene.twilio.status("delivered") == 503
        assert (await scene.twilio.inbound("STOP"))[0] == 503
        assert await scene.twilio.get("/twilio/status?m=m1&a=1", status_form("delivered")) == 503
        assert (await scene.twilio.send("POST", "/twilio/inbound", b"Body=STOP"))[0] == 403
        assert "sendwindow_store_up 0.0" in (await scene.twilio.send("GET", "/metrics"))[1]
        assert {line["error"] for line in scene.lines if line["event"] == "request_failed"} == {
            "StoreNotOpenError"
        }


async def stop_is_heard(scene: Scene) -> None:
    """Send a status and a STOP, and check that both are stored and answered."""
    await scene.world.accept(sid=MESSAGE_SID)
    assert await scene.twilio.status("delivered") == 204
    assert (await scene.world.row())["st"] == "delivered"
    assert (await scene.twilio.inbound("STOP"))[0] == 200
    facts = await scene.world.store.people.facts(ANNA, "shop", "main", None)
    assert [consent.granted for consent in facts.person.consents if consent.purpose is None] == [
        False
    ]


@pytest.mark.asyncio
async def test_a_full_journal_costs_no_callback(store: Place) -> None:
    """A full journal is counted and reported once, callbacks are stored, and the gateway stays
    ready.
    """
    async with gateway_at(store, journal=Path("/dev/full")) as scene:
        await stop_is_heard(scene)
        assert (await scene.twilio.send("GET", "/health/ready"))[0] == 200
        metrics = (await scene.twilio.send("GET", "/metrics"))[1]
        counted = next(
            line for line in metrics.splitlines() if 'failures_total{part="journal"}' in line
        )
        assert float(counted.split()[1]) >= 2
        assert scene.logged_events().count("failing") == 1


@pytest.mark.asyncio
async def test_a_journal_that_can_be_written_again_lacks_nothing(
    store: Place, tmp_path: Path
) -> None:
    """Once the journal can be written, all lines follow with their instants.

    That includes lines of a file that could not be opened.
    """
    journal = tmp_path / "journal"
    journal.mkdir()
    async with gateway_at(store, journal=journal) as scene:
        await stop_is_heard(scene)
        journal.rmdir()
        assert (await scene.twilio.send("GET", "/health/ready"))[0] == 200
        lines = journal_lines(journal)
        assert [line["e"] for line in lines] == ["callback", "inbound"]
        assert lines[0]["t"] <= lines[1]["t"]
        assert scene.logged_events()[-1] == "recovered"


@pytest.mark.asyncio
async def test_probes_do_not_load_the_store(store: Place) -> None:
    """The store is asked at most once a second, however often health and metrics are read."""
    records: list[Records] = []

    def wrap(real: Store) -> Between:
        between = Between(real)
        records.append(Records(real._calls))
        between.records = records[0]
        return between

    async with gateway_at(store, wrap=wrap) as scene:
        await asyncio.gather(*(scene.twilio.send("GET", "/health/ready") for _ in range(20)))
        assert records[0].asked <= 2
        assert records[0].counted <= 2


@pytest.mark.asyncio
async def test_metrics_show_the_process_and_the_store(store: Place) -> None:
    """One scrape shows this gateway's counts, and totals and depths of the whole store."""
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        await scene.world.enqueue("m2")
        await scene.twilio.status("sent")
        answer, text = await scene.twilio.send("GET", "/metrics")
        assert answer == 200
        for line in (
            'sendwindow_callbacks_total{effect="moved",status="sent"} 1.0',
            'sendwindow_request_seconds_count{endpoint="status"} 1.0',
            "sendwindow_store_up 1.0",
            "sendwindow_ready 1.0",
            'sendwindow_lane_messages{priority="normal",sender="shop"} 1.0',
            'sendwindow_store_statuses_total{status="sent"} 1.0',
        ):
            assert line in text
        assert "sendwindow_claimed_messages" not in text
        assert "sendwindow_open_posts" not in text


class Held:
    """Statuses that are applied only when the test allows it."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses
        self.begun = asyncio.Event()
        self.let = asyncio.Event()

    async def apply(self, updates: Sequence[StatusUpdate]) -> list[StatusApplied]:
        self.begun.set()
        await self.let.wait()
        return await self._statuses.apply(updates)


@pytest.mark.asyncio
async def test_a_stop_lets_requests_under_way_finish(store: Place) -> None:
    """A stop ends new connections and readiness, and the requests under way are stored and
    answered.
    """
    held: list[Held] = []

    def wrap(real: Store) -> Between:
        between = Between(real)
        held.append(Held(real.statuses))
        between.statuses = held[0]
        return between

    async with gateway_at(store, wrap=wrap) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        request = asyncio.create_task(
            scene.twilio.post("/twilio/status?m=m1&a=1", status_form("delivered"))
        )
        await asyncio.wait_for(held[0].begun.wait(), HANG_SECONDS)
        stop = asyncio.create_task(scene.gateway.stop())
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", scene.twilio.port)
        held[0].let.set()
        assert (await asyncio.wait_for(request, HANG_SECONDS))[0] == 204
        await asyncio.wait_for(stop, HANG_SECONDS)
        assert (await scene.world.row())["st"] == "delivered"


@pytest.mark.asyncio
async def test_a_draining_gateway_is_not_ready(store: Place) -> None:
    """While the gateway drains, a probe on an open connection gets "not ready"."""
    async with gateway_at(store) as scene:
        assert (await scene.twilio.send("GET", "/health/ready"))[0] == 200
        scene.gateway._app[DRAINING].set()
        answer, text = await scene.twilio.send("GET", "/health/ready")
        assert (answer, json.loads(text)["problem"]) == (503, "draining")


@pytest.mark.asyncio
async def test_an_address_in_use_is_an_error(store: Place) -> None:
    """If the port is taken, the start fails with the system's error."""
    async with gateway_at(store) as scene:
        with pytest.raises(OSError, match="in use"):
            await serve(scene.gateway._app, "127.0.0.1", scene.gateway.port)
