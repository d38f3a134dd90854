"""The end of a message whose place a newer one took."""

import pytest

from sendwindow.producer import Producer
from sendwindow.vocabulary import OnUnknown, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import SENDER, UNKNOWN, Place, World, opened
from worker.ports.admissions import Permit

pytestmark = pytest.mark.asyncio


async def send(place: Place, message_id: str, **fields: str) -> None:
    async with Producer(place.url, place.partition) as producer:
        wish = {
            "to": ANNA,
            "sender": SENDER,
            "purpose": "utility",
            "freeform": {"body": "hello"},
            "message_id": message_id,
            "supersedes": "parcel",
        }
        await producer.send(wish | fields)


async def seen(world: World, message_id: str = "m1") -> tuple[str, str]:
    record = await world.store.records.record(message_id)
    assert record is not None
    return record.row["s"], record.row["r"]


async def test_a_superseded_message_ends_with_its_reason(store: Place) -> None:
    """The sweep of cancels records the end, and the row and the timeline name the newer one."""
    async with opened(store) as world:
        await send(store, "m1")
        await send(store, "m2")
        assert await seen(world) == ("cancelled", "superseded")
        await world.store.ledger.end_cancelled(10)
        assert await seen(world) == ("cancelled", "superseded")
        assert await world.count("end:cancelled:superseded") == 1
        assert (await world.row())["sb"] == "m2"
        assert await world.events() == ["enqueued", "superseded", "cancelled"]
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]


async def test_a_message_does_not_supersede_itself(store: Place) -> None:
    """Its row may be gone while the newest message of its key still has its id."""
    async with opened(store) as world:
        await send(store, "m1")
        await world.cancel()
        await world.redis.delete(world.keys.row("m1"))
        await send(store, "m1")
        assert [claimed.message_id for claimed in await world.claim()] == ["m1"]
        assert "x" not in await world.row()


async def test_a_claim_that_comes_first_ends_it_with_its_reason(store: Place) -> None:
    """A worker that claims the message before the sweep is told, and sends nothing."""
    async with opened(store) as world:
        await send(store, "m1")
        await send(store, "m2")
        held = {claimed.message_id: claimed for claimed in await world.claim()}
        assert held["m1"].cancel_asked
        await world.store.ledger.release([("m1", held["m1"].fence)])
        assert await seen(world) == ("cancelled", "superseded")


async def test_a_claimed_message_is_sent_as_well(store: Place) -> None:
    """A message that a worker holds already goes out, and so does the newer one."""
    async with opened(store) as world:
        await send(store, "m1")
        claimed = await world.claim_one()
        await send(store, "m2")
        assert isinstance(await world.admit(claimed), Permit)


async def test_a_message_that_may_be_at_twilio_keeps_its_stage_until_its_end(
    store: Place,
) -> None:
    """A message that waits to be sent again ends as superseded, and says that it may be sent."""
    async with opened(store) as world:
        await send(store, "m1", on_unknown=OnUnknown.RESEND)
        claimed = await world.claim_one()
        await world.admit(claimed)
        await world.settle(claimed, UNKNOWN)
        await world.send_again()
        await send(store, "m2")
        assert (await seen(world))[0] == Stage.RETRYING
        await world.store.ledger.end_cancelled(10)
        assert await seen(world) == ("cancelled", "superseded")
        assert (await world.row())["ps"] == "1"
