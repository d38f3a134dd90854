"""Statuses whose callbacks do not come are fetched."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from sendwindow.vocabulary import Stage
from tests.support.cast import sid
from tests.support.pipeline_world import dispatching
from tests.support.stores_world import Place
from tests.support.unknown_world import Unacknowledged, accept
from worker.pipeline.token_bucket import TokenBucket
from worker.ports.statuses import StatusApplied, StatusUpdate

pytestmark = pytest.mark.asyncio


async def test_a_missing_status_is_fetched_once_it_is_overdue(store: Place, tmp_path: Path) -> None:
    """A status whose callback is overdue is fetched and moves forward as by a callback."""
    async with dispatching(store, tmp_path / "j", accept) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        world.twilio.show(sid(1001), at=await world.store.now(), status="delivered")
        assert await world.reconciler().turn() == 0
        await world.later(minutes=16)
        assert await world.reconciler().turn() == 1
        assert (await world.record()).row["st"] == "delivered"
        fetched = [line for line in world.journaled() if line["e"] == "fetched"]
        assert [(line["sid"], line["status"], line["moved"]) for line in fetched] == [
            (sid(1001), "delivered", True)
        ]
        await world.later(hours=2)
        assert await world.reconciler().turn() == 0


@pytest.mark.usefixtures("short_wait")
async def test_what_a_fetch_did_is_told_although_no_replica_answered(
    store: Place, tmp_path: Path
) -> None:
    """A fetched status that the store applied is journaled, although its reply was lost.

    The message is final then, so no later turn would fetch its status again.
    """
    async with dispatching(store, tmp_path / "j", accept) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        world.twilio.show(sid(1001), at=await world.store.now(), status="delivered")
        await world.later(minutes=16)
        statuses: Any = Unacknowledged(world, world.store.statuses)
        assert await replace(world.reconciler(), statuses=statuses).turn() == 1
        fetched = [line for line in world.journaled() if line["e"] == "fetched"]
        assert [(line["status"], line["moved"]) for line in fetched] == [("delivered", True)]
        assert world.watch.parts == ["fetch"]


async def test_a_store_that_answers_with_errors_ends_a_turn(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn whose status the store refuses ends with that error, which periodic work counts."""
    monkeypatch.setattr("worker.pipeline.store_retry._MAX_PAUSE_SECONDS", 0.01)
    async with dispatching(store, tmp_path / "j", accept) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        world.twilio.show(sid(1001), at=await world.store.now(), status="delivered")
        await world.later(minutes=16)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await replace(world.reconciler(), statuses=Refusing()).turn()


class Refusing:
    """A store of statuses that answers every call with an error."""

    async def apply(self, updates: Sequence[StatusUpdate]) -> list[StatusApplied]:
        raise ResponseError("WRONGTYPE")


async def test_a_missing_message_is_counted_and_only_by_twilios_own_word(
    store: Place, tmp_path: Path
) -> None:
    """Only Twilio's own 404 counts a message as missing; a proxy's 404 is a logged failure.

    The message stays as it is.
    """
    async with dispatching(store, tmp_path / "j", accept) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        for is_behind_proxy in (True, False):
            await world.later(minutes=16 if is_behind_proxy else 180)
            world.twilio.is_behind_proxy = is_behind_proxy
            with capture_logs() as logs:
                assert await world.reconciler().turn() == 1
            unreadable_settlement = [
                (line["http"], line["code"]) for line in logs if line["event"] == "status_unread"
            ]
            assert unreadable_settlement == ([(404, None)] if is_behind_proxy else [])
        assert (await world.record()).row["s"] == Stage.ACCEPTED
        assert not [line for line in world.journaled() if line["e"] == "fetched"]


async def test_fetching_keeps_to_its_token_bucket(store: Place, tmp_path: Path) -> None:
    """A fetch that the token bucket does not allow now is made later."""
    async with dispatching(store, tmp_path / "j", accept) as world:
        await world.consents()
        await world.writes()
        for number in range(3):
            await world.enqueue(f"m{number}")
        await world.run_until(Stage.ACCEPTED, 3)
        await world.later(minutes=16)
        assert await world.reconciler(TokenBucket(0.0, 2, lambda: 0.0)).turn() == 2
        assert world.twilio.reads == 2


async def test_a_token_bucket_refills_with_time_and_remembers_debt() -> None:
    """Spending more than was left delays the next requests."""
    now = 0.0
    bucket = TokenBucket(2.0, 10, lambda: now)
    bucket.spend(12)
    assert bucket.left == 0
    now = 1.5
    assert bucket.left == 1
    now = 100.0
    assert bucket.left == 10
