"""63016 allows one new decision."""

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.support.stores_world import (
    ORDER,
    Place,
    opened,
)
from worker.ports.settlements import SettleAgain

pytestmark = pytest.mark.asyncio


WINDOW = SettleAgain(Stage.RETRYING, Reason.WINDOW_CLOSED_BY_PROVIDER, redecided=True, code=63016)


@pytest.mark.parametrize("template", [None, ORDER])
async def test_a_closed_window_in_the_reply_allows_one_new_decision_and_none_to_a_template(
    store: Place, template: str | None
) -> None:
    """63016 in the reply allows one new decision for a freeform and none for a template.

    A template needs no window, so a second one would be refused again.
    """
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        await world.admit(claimed, template=template)
        settled = await world.settle(claimed, WINDOW, template=template)
        if template is not None:
            assert settled.stage is Stage.FAILED
            assert (await world.row())["r"] == Reason.WINDOW_CLOSED_BY_PROVIDER
            return
        assert settled.stage is Stage.RETRYING
        again = await world.claim_one()
        await world.admit(again)
        assert (await world.settle(again, WINDOW)).stage is Stage.FAILED


async def test_the_one_new_decision_is_shared_by_both_ways(store: Place) -> None:
    """The one new decision is shared: after a report used it, a reply with 63016 ends the
    message.
    """
    async with opened(store) as world:
        await world.accept()
        assert (await world.callback("failed", reopen_after_ms=0, redecides=True)).reopened
        again = await world.claim_one()
        await world.admit(again)
        assert (await world.settle(again, WINDOW)).stage is Stage.FAILED


@pytest.mark.parametrize("template", [None, ORDER])
async def test_a_closed_window_is_judged_by_the_reply_when_the_intent_was_lost(
    store: Place, template: str | None
) -> None:
    """If a failover lost the intent, the worker's own form decides about 63016 in its reply."""
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        settled = await world.settle(claimed, WINDOW, template=template)
        assert settled.stage is (Stage.RETRYING if template is None else Stage.FAILED)


async def test_a_closed_window_that_is_reported_of_an_unknown_form_allows_nothing(
    store: Place,
) -> None:
    """63016 for an unknown form allows no new decision, since it may have been a template."""
    async with opened(store) as world:
        await world.accept()
        await world.redis.hdel(world.keys.row("m1"), "@1")  # type: ignore[misc]  # redis-py types both flavours
        assert not (await world.callback("failed", reopen_after_ms=0, redecides=True)).reopened
        assert (await world.row())["s"] == Stage.ACCEPTED
