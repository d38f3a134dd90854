"""A status finds the attempt and the life that it is about."""

from datetime import timedelta

import pytest

from policies.facts import TagState
from sendwindow.vocabulary import Reason
from tests.support.cast import ANNA, BERT
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    PAST,
    SENDER,
    UNKNOWN,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.admissions import Lost
from worker.ports.effects import PauseSender, SetTag
from worker.stores.unknowns import MAX_RIVALS

pytestmark = pytest.mark.asyncio


async def test_a_callback_without_attempt_means_the_last(store: Place) -> None:
    """A query without an attempt means the last attempt of the message."""
    async with opened(store) as world:
        await world.park()
        assert (await world.callback("sent", "SM1", attempt=None)).resolved
        assert (await world.row())["a"] == "1"


async def test_a_callback_proves_an_attempt_whose_intent_was_lost(store: Place) -> None:
    """A signed callback proves an attempt whose intent a failover lost, so the message is not sent
    twice.
    """
    async with opened(store) as world:
        await world.enqueue()
        applied = await world.callback("sent", "SM1")
        assert applied.known
        row = await world.row()
        assert (row["s"], row["n"]) == ("accepted", "1")
        assert await world.claim() == ()


async def test_a_callback_stops_a_claimed_resend(store: Place) -> None:
    """A proof between claim and admission denies the resend its permit."""
    async with opened(store) as world:
        await world.settle(await world.post(), AT_ONCE)
        again = await world.claim_one()
        await world.callback("sent", "SM1")
        assert isinstance(await world.admit(again), Lost)
        assert (await world.row())["a"] == "1"


async def test_a_bound_sid_outranks_the_query(store: Place) -> None:
    """A SID bound by the reply stays bound, whatever a later query says."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        await world.accept("m2", "SM2")
        applied = await world.callback("sent", "SM1", message_id="m2")
        assert applied.message_id == "m1"
        assert (await world.row("m2"))["st"] == "queued"


async def test_a_signed_query_outranks_what_a_list_seemed_to_show(store: Place) -> None:
    """A signed query outranks a list: its message is accepted, and the wrongly bound one is
    unknown again.
    """
    async with opened(store) as world:
        await world.park("m1")
        await world.park("m2")
        await world.callback("sent", "SM1", evidence=Reason.EVIDENCE_LIST)
        assert (await world.row("m1"))["s"] == "accepted"
        applied = await world.callback("delivered", "SM1", message_id="m2")
        assert (applied.message_id, applied.resolved, applied.unbound) == ("m2", True, ("m1", 1))
        assert (await world.row("m2"))["st"] == "delivered"
        row = await world.row("m1")
        assert row["s"] == "unknown"
        assert "sid" not in row
        assert await world.redis.pttl(world.keys.row("m1")) == -1
        assert [one.message_id for one in await world.store.unknowns.due(5, 1000)] == ["m1"]
        again = await world.callback("delivered", "SM1", message_id="m2")
        assert (again.moved, again.unbound) == (False, None)


async def test_another_look_at_the_list_never_takes_a_sid_away(store: Place) -> None:
    """Only a signed callback may correct a binding; a second list may not."""
    async with opened(store) as world:
        await world.park("m1")
        await world.park("m2")
        await world.callback("sent", "SM1", evidence=Reason.EVIDENCE_LIST)
        applied = await world.callback(
            "sent", "SM1", message_id="m2", evidence=Reason.EVIDENCE_LIST
        )
        assert (applied.message_id, applied.unbound) == ("m1", None)
        assert (await world.row("m2"))["s"] == "unknown"


async def test_unproven_attempts_to_a_person_are_rivals_until_they_are_proven(store: Place) -> None:
    """Attempts in flight or unknown to one person are rivals until they have SIDs of their own."""
    async with opened(store) as world:
        digest = (await world.park("m1")).facts.person_digest
        flying = await world.post("m2")
        unknowns = world.store.unknowns
        rivals = await unknowns.rivals(digest, "m1", PAST) or []
        assert [(rival.message_id, rival.attempt, rival.was_template) for rival in rivals] == [
            ("m2", 1, False)
        ]
        assert rivals[0].payload is not None
        await world.settle(flying, accepted("SM2"))
        assert await unknowns.rivals(digest, "m1", PAST) == []
        assert [one.message_id for one in await unknowns.rivals(digest, "m2", PAST) or []] == ["m1"]
        await world.callback("sent", "SM1")
        assert await unknowns.rivals(digest, "m2", PAST) == []


async def test_rivals_are_those_since_an_instant_and_none_are_named_of_a_crowd(
    store: Place,
) -> None:
    """Only rivals since an instant are named, and none of a crowd, so that the reply stays
    bounded.
    """
    async with opened(store) as world:
        unknowns = world.store.unknowns
        digest = (await world.park("m0")).facts.person_digest
        await world.later(hours=1)
        since = await world.store.now()
        for number in range(1, MAX_RIVALS):
            await world.park(f"m{number}")
        assert len(await unknowns.rivals(digest, "m0", since) or []) == MAX_RIVALS - 1
        assert len(await unknowns.rivals(digest, "another", PAST) or []) == MAX_RIVALS
        await world.park("more")
        assert await unknowns.rivals(digest, "m0", PAST) is None
        assert len(await unknowns.rivals(digest, "m0", since) or []) == MAX_RIVALS


async def test_only_an_attempt_that_relied_on_the_tag_speaks_for_the_page(store: Place) -> None:
    """A code of an attempt inside an open window says nothing about ACCOUNT_UPDATE."""
    async with opened(store) as world:
        dead = (SetTag("dead", "code 63016"),)
        await world.accept("m1", "SM1")
        await world.callback("failed", "SM1", effects=dead)
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).tag.state is TagState.UNPROVEN
        await world.enqueue("m2")
        await world.admit(claimed := await world.claim_one(), relies_on_tag=True)
        await world.settle(claimed, accepted("SM2"))
        await world.callback("failed", "SM2", message_id="m2", effects=dead)
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).tag.state is TagState.DEAD


async def test_a_second_sid_of_an_accepted_message_is_a_copy(store: Place) -> None:
    """A second SID is a copy: both are kept, and the row's status follows its own SID."""
    async with opened(store) as world:
        await world.accept()
        for _ in range(2):
            applied = await world.callback("delivered", "SM2", attempt=2)
            assert (applied.known, applied.moved) == (True, False)
        row = await world.row()
        assert (row["sid"], row["st"]) == ("SM1", "queued")
        assert (await world.sids())["SM2"].attempt == 2
        assert await world.count("duplicates") == 1


async def test_a_day_is_the_limit_even_for_a_message_that_lives_longer(store: Place) -> None:
    """A failure after 25 hours is not retried, even if the message lives three more days."""
    async with opened(store) as world:
        await world.accept(expires_at=await world.store.now() + timedelta(days=3))
        await world.later(hours=25)
        assert not (await world.callback("failed", reopen_after_ms=1000)).reopened


async def _lives_again(world: World, *, keeps_sid: bool = False) -> int:
    """Deliver m1 as SMold, forget it after 72 hours, use its id again, and return the first
    life.
    """
    await world.accept("m1", "SMold")
    await world.callback("delivered", "SMold")
    life = int((await world.row())["q"])
    await world.later(hours=73)
    await world.redis.delete(world.keys.row("m1"), world.keys.timeline("m1"))
    if not keeps_sid:
        await world.redis.delete(world.keys.sid("SMold"))
    assert await world.enqueue("m1") == b"new"
    return life


@pytest.mark.parametrize("keeps_sid", [True, False])
@pytest.mark.parametrize("status", ["read", "failed"])
async def test_a_callback_of_an_earlier_life_says_nothing_of_this_one(
    store: Place, status: str, keeps_sid: bool
) -> None:
    """A callback of an earlier life of a reused id proves nothing and has no effect."""
    async with opened(store) as world:
        life = await _lives_again(world, keeps_sid=keeps_sid)
        before = await world.row()
        applied = await world.callback(
            status, "SMold", life=life, reopen_after_ms=0, effects=(PauseSender(60, "x"),)
        )
        assert (applied.known, applied.message_id) == (False, None)
        assert await world.row() == before
        claimed = await world.claim_one()
        await world.admit(claimed)
        assert not (await world.callback(status, "SMold", life=life)).known
        await world.settle(claimed, accepted("SMnew"))
        row = await world.row()
        assert (row["sid"], row["st"]) == ("SMnew", "queued")
        assert await world.count("duplicates") == 0
        assert (await world.callback("sent", "SMnew", life=int(row["q"]))).moved


async def test_an_earlier_life_takes_no_sid_from_what_a_list_showed(store: Place) -> None:
    """A callback of an earlier life takes no SID away that a list gave.

    Only a message that still exists can be wronged by a list.
    """
    async with opened(store) as world:
        life = await _lives_again(world)
        await world.claim_one()
        await world.park("m2", to=BERT)
        await world.callback("sent", "SMlisted", message_id="m2", evidence=Reason.EVIDENCE_LIST)
        applied = await world.callback("delivered", "SMlisted", life=life)
        assert (applied.message_id, applied.moved, applied.unbound) == ("m2", True, None)


async def test_a_row_written_again_after_a_failover_is_the_same_life(store: Place) -> None:
    """A row that was enqueued again after a failover lost it is the same life, so the first
    POST's callback proves it.
    """
    async with opened(store) as world:
        await world.enqueue()
        life = int((await world.row())["q"])
        await world.redis.delete(world.keys.row("m1"), world.keys.timeline("m1"))
        await world.later(minutes=10)
        assert await world.enqueue() == b"new"
        assert (await world.callback("sent", "SM1", life=life)).known
        assert (await world.row())["sid"] == "SM1"


async def test_a_callback_that_names_no_life_is_of_this_one(store: Place) -> None:
    """A callback without a life belongs to the present life, as the previous version wrote no
    life.
    """
    async with opened(store) as world:
        await _lives_again(world)
        claimed = await world.claim_one()
        await world.admit(claimed)
        await world.settle(claimed, UNKNOWN)
        assert (await world.callback("sent", "SMnew")).resolved
