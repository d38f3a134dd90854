"""A sender moves to another account while workers of both configurations run."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.worker.dispatch_world import Between, World, dispatching
from tests.worker.stores_world import Place
from worker.values.admissions import Admission, AdmitRequest

pytestmark = pytest.mark.asyncio


async def test_a_stop_at_the_old_account_is_not_passed_by(store: Place, tmp_path: Path) -> None:
    """The worker of before the move sends by another account than the facts are of: it leaves the message to others."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes(keyword="stop")
        await world.store.register_senders({"shop": "second"})
        await world.enqueue()
        await world.run_until(Stage.QUEUED)
        assert (await world.stage(), await world.reason()) == ("queued", Reason.FACTS_CHANGED)
        assert world.twilio.posts == []
        await world.store.register_senders({"shop": "main"})
        await world.later(seconds=15)
        await world.run_until(Stage.REFUSED)
        assert await world.reason() == Reason.OPTED_OUT
        assert world.twilio.posts == []


class Moving(Between):
    """Moves the sender between decision and permit."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._store = world.store

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        await self._store.register_senders({"shop": "second"})
        return await self._ledger.admit(requests)


async def test_a_move_after_the_decision_gives_the_message_back_once(store: Place, tmp_path: Path) -> None:
    """Deciding again here would change nothing: it comes back later, to whoever sends by that account by then."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.QUEUED, ledger=Moving(world))
        assert [line["e"] for line in world.journaled()] == ["claimed", "decided", "settled"]
        assert (await world.store.ledger.claim(1)).claimed == ()
        assert world.twilio.posts == []


async def test_a_message_of_a_moved_sender_still_expires(store: Place, tmp_path: Path) -> None:
    """Nobody who sends by that account came: it ends like any other."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.store.register_senders({"shop": "second"})
        await world.enqueue()
        await world.later(hours=25)
        await world.run_until(Stage.EXPIRED)
