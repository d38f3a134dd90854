"""The count of a sender's queued messages, and how it is published and corrected."""

from pathlib import Path
from typing import Final

import pytest

from sendwindow.codec import encode_job
from sendwindow.contract import Freeform, SendMessage
from sendwindow.protocol import ENQUEUE, row_arguments
from sendwindow.scripts import Script
from sendwindow.vocabulary import Priority, Purpose
from tests.support.cast import ANNA
from tests.support.claims import suspected
from tests.support.stores_world import (
    AT_ONCE,
    FAR,
    LATER,
    REFUSED,
    SENDER,
    Place,
    World,
    opened,
)
from worker.ports.claims import Suspects

pytestmark = pytest.mark.asyncio

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "scripts"


async def counted(world: World, sender: str = SENDER) -> int:
    return int(await world.calls.ask("HGET", world.keys.queued, sender) or 0)


async def in_lanes(world: World) -> int:
    depths = await world.store.records.depths()
    return sum(depth for name, depth in depths.items() if name.startswith(f"{SENDER}|"))


async def ask(world: World, message_id: str) -> str:
    """Queue a message as a producer does, whose limits count."""
    message = SendMessage(
        to=ANNA,
        sender=SENDER,
        purpose=Purpose.UTILITY,
        freeform=Freeform(body="hello"),
        message_id=message_id,
    )
    reply = await world.calls.run(ENQUEUE, [80, *row_arguments(message, encode_job(message, 0))])
    word: str = reply[0][0].decode()
    return word


async def test_a_message_is_counted_while_it_is_in_a_lane(store: Place) -> None:
    """The count follows every message that comes into a lane and leaves it."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.enqueue("m2", priority=Priority.BULK, campaign="spring", not_before=FAR)
        assert await counted(world) == 2
        claimed = await world.claim_one()
        assert await counted(world) == 1
        await world.settle(claimed, LATER, attempt=0, posted=False)
        assert await counted(world) == 2
        await world.later(minutes=5)
        await world.settle(await world.claim_one(), REFUSED, attempt=0, posted=False)
        await world.cancel("m2")
        await world.store.ledger.end_cancelled(10)
        assert (await counted(world), await in_lanes(world)) == (0, 0)


async def test_a_retry_is_queued_however_full_the_queue_is(store: Place) -> None:
    """What comes back to its lane is never refused, and counts."""
    async with opened(store) as world:
        await world.store.register_senders({SENDER: "main"}, queue_limits={SENDER: (1, 0)})
        assert await ask(world, "m1") == "new"
        claimed = await world.claim_one()
        assert await ask(world, "m2") == "new"
        await world.settle(claimed, AT_ONCE, attempt=0, posted=False)
        assert await counted(world) == 2
        assert await ask(world, "m3") == "sender_full"
        assert await world.enqueue("m4") == b"new"  # as for a job that plain arq accepted


async def test_the_last_worker_that_started_sets_the_limits(store: Place) -> None:
    """A worker that starts replaces the limits. One that reports again only adds missing ones."""
    async with opened(store) as world:
        register = world.store.register_senders
        await register({SENDER: "main"}, queue_limits={SENDER: (5, 2)})
        await register({SENDER: "main"}, queue_limits={SENDER: (7, 7)}, overwrite=False)
        fields = await world.calls.ask("HMGET", world.keys.sender(SENDER), "mq", "mc")
        assert fields == [b"5", b"2"]
        await register({SENDER: "main"}, queue_limits={SENDER: (0, 0)})
        await register({SENDER: "main"}, queue_limits={SENDER: (7, 7)}, overwrite=False)
        fields = await world.calls.ask("HMGET", world.keys.sender(SENDER), "mq", "mc")
        assert fields == [b"0", b"0"]
        before = await world.store.switches.states([("sender", SENDER)])
        await register({SENDER: "main"}, queue_limits={SENDER: (3, 3)})
        assert await world.store.switches.states([("sender", SENDER)]) == before


async def test_what_an_older_library_queues_or_cancels_does_not_close_the_queue(
    store: Place,
) -> None:
    """An older library does not count what it cancels. A worker counts again when the queue seems
    full, and leaves alone what does not.
    """
    cancel = Script("cancel", (GOLDEN / "cancel-1.lua.txt").read_text("utf-8"))
    recount = {SENDER: 2, "other": 0}
    async with opened(store) as world:
        await world.store.register_senders({SENDER: "main"}, queue_limits={SENDER: (2, 0)})
        assert await world.store.recount_queued({"other": 0}) == 0
        assert await ask(world, "m1") == "new"
        assert await world.store.recount_queued(recount) == 0
        assert await ask(world, "m2") == "new"
        assert await world.store.recount_queued(recount) == 0
        await world.calls.run(cancel, ["m1"])
        assert await ask(world, "m3") == "sender_full"
        assert await world.store.recount_queued(recount) == 1
        assert await ask(world, "m3") == "new"


async def test_a_count_is_never_negative(store: Place) -> None:
    """Messages that an older library queued are not counted, and leave no debt."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.calls.ask("DEL", world.keys.queued)
        await world.claim_one()
        assert await counted(world) == 0


async def test_a_suspect_is_not_counted_while_it_is_apart(store: Place) -> None:
    """A suspect is in no lane until a worker puts it back."""
    async with opened(store) as world:
        await suspected(world, "m1")
        await world.claim(10, Suspects.NEVER)
        assert (await counted(world), await in_lanes(world)) == (0, 0)
