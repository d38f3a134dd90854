"""A proof takes back what the failure before it taught."""

import itertools
from typing import Any

import pytest

from policies.facts import Holds, TagState
from policies.status import FAILURES
from sendwindow.vocabulary import Purpose
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    ORDER,
    SENDER,
    UNREACHABLE,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.effects import (
    CloseWindow,
    Effect,
    HoldBack,
    OptOut,
    PauseSender,
    SetTag,
    SetTemplate,
    WithdrawMarketing,
)

pytestmark = pytest.mark.asyncio


async def _suppressed(world: World) -> bool:
    person = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person
    return person.suppressed_until is not None


@pytest.mark.parametrize("is_open_again", [False, True])
async def test_a_proof_takes_back_what_the_failure_taught(
    store: Place, is_open_again: bool
) -> None:
    """A later proof takes back the effects of a failure: 63024 had suppressed the address for 30
    days.
    """
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        await world.admit(claimed, template=ORDER)
        await world.settle(claimed, accepted())
        before = await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)
        taught: tuple[Effect, ...] = (
            *UNREACHABLE,
            CloseWindow(),
            PauseSender(3600, "x"),
            SetTemplate("paused", "63041", 3600),
            HoldBack(
                Holds.ALL_BUT_REPLIES,
                Holds.ALL_BUT_REPLIES,
                0,
                until_inbound=True,
                sender_only=False,
                code=63014,
            ),
        )
        reopen: dict[str, Any] = {"reopen_after_ms": 0} if is_open_again else {}
        await world.callback("failed", effects=taught, **reopen)
        assert await _suppressed(world)
        await world.callback("read")
        after = await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)
        assert (after.person.suppressed_until, after.person.closed_at) == (
            None,
            before.person.closed_at,
        )
        assert after.person.blocks == before.person.blocks
        assert (after.sender.paused_until, after.template.state) == (None, before.template.state)
        assert after.person.revision > before.person.revision
        assert await world.count("taken_back") == 1


async def test_what_was_written_after_the_failure_stays(store: Place) -> None:
    """Effects of another message that failed alike stay until its own failure is disproved."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        await world.callback("failed", effects=UNREACHABLE)
        await world.later(hours=1)
        await world.accept("m2", "SM2")
        await world.callback(
            "failed", "SM2", message_id="m2", effects=(*UNREACHABLE, PauseSender(7200, "x"))
        )
        await world.callback("delivered")
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        assert facts.person.suppressed_until is not None
        assert facts.sender.paused_until is not None
        await world.callback("delivered", "SM2", message_id="m2")
        assert not await _suppressed(world)


@pytest.mark.parametrize(
    "order", [("failed", "delivered"), ("delivered", "failed"), ("failed", "delivered", "failed")]
)
async def test_a_stop_and_a_dead_tag_stand_in_every_order(
    store: Place, order: tuple[str, ...]
) -> None:
    """An opt-out stands in every order until the person takes it back; a dead tag until an
    operator resets it.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.admit(claimed, relies_on_tag=True)
        await world.settle(claimed, accepted())
        for status in order:
            failed = (OptOut(sender_only=False, evidence="21610"), SetTag("dead", "x"))
            await world.callback(status, effects=failed if status in FAILURES else ())
        assert [line["granted"] for line in await world.store.people.consents(ANNA)] == [False]
        if order[0] == "failed":
            assert (
                await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
            ).tag.state is TagState.DEAD


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize(
    "order", list(itertools.permutations(("undelivered", "failed", "delivered")))
)
async def test_every_stop_counts_in_every_order_before_the_reply(
    store: Place, order: tuple[str, ...], is_named: bool
) -> None:
    """A STOP that waits under its SID is not lost to a status before or behind it."""
    names: dict[str, Any] = {} if is_named else {"message_id": None, "attempt": None}
    stops: dict[str, Effect] = {
        "undelivered": OptOut(sender_only=True, evidence="21610"),
        "failed": WithdrawMarketing("131050"),
    }
    async with opened(store) as world:
        claimed = await world.post()
        for status in order:
            effects = (stops[status],) if status in stops else ()
            await world.callback(status, "SM1", effects=effects, **names)
        await world.settle(claimed, accepted("SM1"))
        assert (await world.row())["st"] == "delivered"
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        assert {one.purpose for one in facts.person.consents if not one.granted} == {
            None,
            Purpose.MARKETING,
        }
