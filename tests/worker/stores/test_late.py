"""A late settlement: the effects that it still has, and the state that it must not change."""

from datetime import timedelta

import pytest

from policies.facts import TagState
from sendwindow.vocabulary import OnUnknown, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import ACCOUNT, ORDER, REFUSED, SENDER, Place, opened
from worker.ports.effects import (
    CloseWindow,
    OptOut,
    PauseAccount,
    PauseSender,
    SetTag,
    SetTemplate,
    SuppressAddress,
)

pytestmark = pytest.mark.asyncio


async def test_a_late_settlement_teaches_what_holds_of_the_person_since_its_attempt(
    store: Place,
) -> None:
    """A late settlement applies a stop, a closed window or a bad address once, dated to its intent.

    It changes no schedule.
    """
    async with opened(store) as world:
        late = await world.post(template="order_update")
        intent_at = await world.store.now()
        await world.reap()
        await world.send_again()
        held = await world.claim_one()
        of_person = (
            OptOut(sender_only=False, evidence="21610"),
            CloseWindow(),
            SuppressAddress(3600, "63024"),
        )
        of_moment = (
            PauseSender(60, "x"),
            PauseAccount(60, "x"),
            SetTemplate("paused", "63041", 60),
        )
        settled = await world.settle(
            late, REFUSED, template=ORDER, effects=(*of_person, *of_moment)
        )
        assert (settled.applied, settled.stage) == (False, Stage.CLAIMED)
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)
        assert (facts.sender.paused_until, facts.account.paused_until, facts.template.state) == (
            None,
            None,
            None,
        )
        assert [consent.granted for consent in facts.person.consents] == [False]
        assert facts.person.closed_at is not None
        assert facts.person.suppressed_until is not None
        assert facts.person.closed_at <= intent_at
        assert facts.person.suppressed_until <= intent_at + timedelta(hours=1)
        await world.later(minutes=10)
        before = await world.contents()
        await world.settle(late, REFUSED, effects=(*of_person, *of_moment))
        assert await world.contents() == before
        assert (await world.settle(held, REFUSED, attempt=0, posted=False)).applied


async def test_what_the_person_did_since_outranks_a_late_settlement(store: Place) -> None:
    """Acts of the person since the attempt outrank its late settlement.

    A message and a START between two attempts keep window and consent open.
    """
    async with opened(store) as world:
        late = await world.post()
        await world.reap()
        await world.writes("SM90", keyword="start")
        await world.send_again()
        await world.later(seconds=5)
        await world.admit(await world.claim_one())
        await world.settle(
            late, REFUSED, effects=(OptOut(sender_only=False, evidence="21610"), CloseWindow())
        )
        person = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person
        assert person.consents == ()
        assert person.closed_at is not None
        assert person.last_inbound_at is not None
        assert person.closed_at < person.last_inbound_at


@pytest.mark.parametrize("has_tag", [True, False])
async def test_a_late_settlement_opens_the_breaker_of_the_page_its_attempt_relied_on(
    store: Place, has_tag: bool
) -> None:
    """A late settlement opens the breaker of the Page that its own attempt relied on.

    So at most one message a Page is risked; the tag of another attempt does not count.
    """
    async with opened(store) as world:
        await world.enqueue(on_unknown=OnUnknown.RESEND)
        late = await world.claim_one()
        await world.admit(late, relies_on_tag=has_tag)
        await world.reap()
        await world.send_again()
        await world.admit(await world.claim_one(), relies_on_tag=not has_tag)
        await world.settle(late, REFUSED, effects=(SetTag("dead", "code 63016"),))
        state = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).tag.state
        assert state is (TagState.DEAD if has_tag else TagState.UNPROVEN)


@pytest.mark.parametrize("is_proven", [True, False])
async def test_a_late_rejection_frees_the_page_of_its_attempt(
    store: Place, is_proven: bool
) -> None:
    """A late rejection frees the Page of its attempt, unless a callback says that the message is
    on its way.
    """
    async with opened(store) as world:
        await world.enqueue(on_unknown=OnUnknown.RESEND)
        late = await world.claim_one()
        await world.admit(late, relies_on_tag=True)
        await world.reap()
        await world.send_again()
        await world.admit(await world.claim_one())
        if is_proven:
            await world.callback("queued", "SM1")
        for _ in range(2):
            await world.settle(late, REFUSED)
        tag = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).tag
        assert tag.in_flight == is_proven
