"""STOP and START in every order, also when the clock was set back."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from policies.consent import Standing
from sendwindow.vocabulary import Purpose
from tests.support.cast import ANNA, BERT
from tests.support.people_steps import consents_of, standing
from tests.support.stores_world import (
    ACCOUNT,
    REFUSED,
    SENDER,
    WAITS,
    Place,
    World,
    opened,
)
from worker.ports.effects import OptOut
from worker.ports.people import ConsentEntry

pytestmark = pytest.mark.asyncio


async def test_stop_covers_the_account_and_start_undoes_it(store: Place) -> None:
    """A STOP to one sender stops every sender of the account, but not another channel's address."""
    async with opened(store) as world:
        grant = ConsentEntry(
            granted=True, account=ACCOUNT, purpose="marketing", sender=None, source="form"
        )
        await world.store.people.record_consent(ANNA, grant)
        assert (await world.writes("SM1", keyword="stop")).opted == "stop"
        for sender in (SENDER, "other"):
            facts = await consents_of(world, sender)
            assert [(one.granted, one.purpose, one.sender) for one in facts if not one.granted] == [
                (False, None, None)
            ]
        assert await consents_of(world, account="another") == ()
        assert await consents_of(world, address="+14155550123") == ()
        await world.later(seconds=1)
        assert (await world.writes("SM2", keyword="start")).opted == "start"
        assert [(one.granted, one.purpose) for one in await consents_of(world)] == [
            (True, Purpose.MARKETING)
        ]
        history = await world.store.people.consents(ANNA)
        assert [line["granted"] for line in history] == [True, False, True]
        assert [line["source"] for line in history] == ["form", "inbound", "inbound"]


async def test_start_without_a_stop_grants_nothing(store: Place) -> None:
    """A START from a person who never stopped is an ordinary message."""
    async with opened(store) as world:
        assert (await world.writes("SM1", keyword="start")).opted is None
        assert await consents_of(world) == ()
        assert await world.store.people.consents(ANNA) == []


async def test_an_old_start_cannot_undo_a_later_stop(store: Place) -> None:
    """Acts count in the order of their dates, however late they arrive, and a tie is a stop."""
    async with opened(store) as world:
        now = await world.store.now()
        await world.writes("SM1", keyword="stop", received_at=now - timedelta(hours=1))
        for minutes in (90, 60):
            replay = await world.writes(
                f"SM-{minutes}", keyword="start", received_at=now - timedelta(minutes=minutes)
            )
            assert replay.opted is None
        assert [one.granted for one in await consents_of(world)] == [False]


async def test_an_old_stop_does_not_undo_a_later_start(store: Place) -> None:
    """A late STOP from before a START does not undo that START."""
    async with opened(store) as world:
        now = await world.store.now()
        await world.writes("SM1", keyword="start", received_at=now - timedelta(hours=1))
        await world.writes("SM2", keyword="stop", received_at=now - timedelta(hours=2))
        assert await consents_of(world) == ()
        await world.writes("SM3", keyword="stop", received_at=now - timedelta(minutes=1))
        assert [one.granted for one in await consents_of(world)] == [False]


async def test_a_stop_heard_now_is_the_last_word_though_the_clock_was_set_back(
    store: Place,
) -> None:
    """A STOP counts as the last act even if a failover set the clock back."""
    async with opened(store) as world:
        await world.writes("SM1", "stop")
        await world.later(seconds=5)
        assert (await world.writes("SM2", "start")).opted == "start"
        await world.later(hours=-1)
        assert (await world.writes("SM3", "stop")).opted == "stop"
        consents = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person.consents
        assert [consent.granted for consent in consents] == [False]


async def _is_told_by_phone(world: World) -> None:
    entry = ConsentEntry(False, ACCOUNT, None, None, "call")
    assert await world.store.people.record_consent(ANNA, entry) == "recorded"


async def _purpose_is_withdrawn(world: World) -> None:
    entry = ConsentEntry(False, ACCOUNT, "utility", SENDER, "call")
    assert await world.store.people.record_consent(ANNA, entry) == "recorded"


async def _is_told_by_the_provider(world: World) -> None:
    claimed = await world.post()
    stop = OptOut(sender_only=True, evidence="21610")
    await world.settle(claimed, REFUSED, effects=(stop,))


@pytest.mark.parametrize("purpose", ["utility", None])
@pytest.mark.parametrize("sender", [SENDER, None])
@pytest.mark.parametrize(
    "stops",
    [
        lambda world: world.writes("SM1", "stop"),
        _is_told_by_phone,
        _purpose_is_withdrawn,
        _is_told_by_the_provider,
    ],
    ids=["stop", "withdrawal", "withdrawal of the purpose", "21610"],
)
async def test_a_stop_outranks_a_grant_dated_ahead_of_the_clock(
    store: Place,
    stops: Callable[[World], Awaitable[object]],
    sender: str | None,
    purpose: str | None,
) -> None:
    """A STOP outranks a grant that the failed primary's clock dated ahead."""
    async with opened(store) as world:
        await world.later(seconds=5)
        for each in {purpose, "utility"}:
            await world.store.people.record_consent(
                ANNA, ConsentEntry(True, ACCOUNT, each, sender, "form")
            )
        await world.later(seconds=-3)
        await stops(world)
        await world.later(seconds=10)
        assert await standing(world) is Standing.OPTED_OUT


async def test_a_start_heard_now_outranks_a_stop_dated_ahead_of_the_clock(store: Place) -> None:
    """A START, or a grant `after_stop`, outranks a STOP that was dated ahead of the clock."""
    async with opened(store) as world:
        people, grant = world.store.people, ConsentEntry(True, ACCOUNT, "utility", None, "form")
        await people.record_consent(ANNA, grant)
        await world.later(seconds=5)
        await world.writes("SM1", "stop")
        await world.later(seconds=-3)
        assert await people.record_consent(ANNA, grant) == "opted_out"
        assert (await world.writes("SM2", "start")).opted == "start"
        assert await standing(world) is Standing.GRANTED
        await world.writes("SM3", "stop")
        assert await standing(world) is Standing.OPTED_OUT
        await people.record_consent(ANNA, grant, after_stop=True)
        await world.later(seconds=10)
        assert await standing(world) is Standing.GRANTED


async def test_a_stop_makes_what_waited_decide_again(store: Place) -> None:
    """Every inbound releases what waits for it, and after a STOP the message is refused with its
    reason.
    """
    async with opened(store) as world:
        await world.enqueue(to=ANNA)
        await world.enqueue("m2", to=BERT)
        for claimed in await world.claim():
            await world.settle(claimed, WAITS, attempt=0, posted=False)
        assert (await world.writes(keyword="stop")).released == 1
        (released,) = await world.claim()
        assert released.message_id == "m1"
        assert [one.granted for one in released.facts.person.consents] == [False]
