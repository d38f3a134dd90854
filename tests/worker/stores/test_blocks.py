"""Effects of errors on a person in the store: they last until the person acts, and no other
attempt lifts them.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import pytest

from policies.consent import Standing, permission
from policies.facts import BlockFact, Holds, PersonFact
from sendwindow.scripts import execute
from sendwindow.vocabulary import Purpose, Reason, Stage
from tests.support.cast import ANNA
from tests.support.shipped import rules
from tests.support.stores_world import ACCOUNT, ORDER, SENDER, Place, World, accepted, opened
from worker.ports.admissions import Permit, Stale
from worker.ports.effects import Effect, HoldBack, OptOut, SuppressAddress, WithdrawMarketing
from worker.ports.people import ConsentEntry
from worker.ports.settlements import SettleEnd

pytestmark = pytest.mark.asyncio

FAILED: Final = SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED, 63014)
BLOCK: Final = HoldBack(
    Holds.ALL_BUT_REPLIES, Holds.MARKETING, 0, until_inbound=True, sender_only=False, code=63014
)
CAP: Final = HoldBack(
    Holds.MARKETING, Holds.MARKETING, 86_400, until_inbound=False, sender_only=True, code=63049
)
SUPPRESSED: Final = SuppressAddress(3600, "code 63024")
REASSIGNED: Final = OptOut(sender_only=True, evidence="twilio code 21610", suspends_grants=True)


async def marketing(world: World) -> Standing:
    """Return whether Anna wants marketing."""
    now = await world.store.now()
    return permission(await person(world), Purpose.MARKETING, SENDER, rules().policy, now).standing


Teach = Callable[[World, Effect], Awaitable[None]]


async def person(world: World, sender: str = SENDER, account: str = ACCOUNT) -> PersonFact:
    return (await world.store.people.facts(ANNA, sender, account, None)).person


async def by_reply(world: World, effect: Effect) -> None:
    """Apply the effects by the reply to a POST.

    A test may let the person write during that POST.
    """
    claimed = await world.post()
    await world.settle(claimed, FAILED, effects=(effect,))


async def by_callback(world: World, effect: Effect) -> None:
    """Apply the effects by a callback after acceptance."""
    await world.accept()
    await world.callback("failed", effects=(effect,))


async def by_reply_after_inbound(world: World, effect: Effect) -> None:
    claimed = await world.post()
    await world.later(seconds=1)
    await world.writes()
    await world.settle(claimed, FAILED, effects=(effect,))


async def by_callback_after_inbound(world: World, effect: Effect) -> None:
    await world.accept()
    await world.later(seconds=1)
    await world.writes()
    await world.callback("undelivered", effects=(effect,))


WAYS: Final = [by_reply, by_callback]
AFTER: Final = [by_reply_after_inbound, by_callback_after_inbound]


@pytest.mark.parametrize("teach", WAYS)
@pytest.mark.parametrize("effect", [SUPPRESSED, BLOCK], ids=["suppress", "block"])
async def test_what_an_error_taught_holds_until_the_person_writes(
    store: Place, teach: Teach, effect: Effect
) -> None:
    """A suppression and a block end with the next inbound from the address to any of our
    senders.
    """
    async with opened(store) as world:
        await teach(world, effect)
        before = await person(world)
        assert (before.suppressed_until is not None) is (effect is SUPPRESSED)
        assert [block.holds for block in before.blocks] == (
            [Holds.ALL_BUT_REPLIES] if effect is BLOCK else []
        )
        await world.later(seconds=1)
        await world.writes(sender="other")
        after = await person(world)
        assert (after.suppressed_until, after.suppressed_for, after.blocks) == (None, "", ())
        assert after.revision > before.revision


@pytest.mark.parametrize("teach", AFTER)
@pytest.mark.parametrize(
    "effect", [SUPPRESSED, BLOCK, REASSIGNED], ids=["suppress", "block", "grants"]
)
async def test_an_error_of_an_attempt_before_the_inbound_teaches_nothing(
    store: Place, teach: Teach, effect: Effect
) -> None:
    """An error of an attempt from before an inbound has no effect: the inbound proved the
    address.
    """
    async with opened(store) as world:
        await teach(world, effect)
        someone = await person(world)
        assert someone.suppressed_until is None
        assert someone.blocks == ()


async def test_an_inbound_older_than_the_attempt_ends_nothing(store: Place) -> None:
    """An inbound older than the attempt ends nothing: a missed one counts from when it was
    written.
    """
    async with opened(store) as world:
        wrote_at = await world.store.now()
        await world.later(seconds=5)
        await by_reply(world, BLOCK)
        await world.writes(received_at=wrote_at)
        assert len((await person(world)).blocks) == 1
        await world.writes("SM901")
        assert (await person(world)).blocks == ()


async def test_an_inbound_to_another_account_ends_the_suppression_only(store: Place) -> None:
    """An inbound to another account ends the suppression only; a block belongs to its account."""
    async with opened(store) as world:
        await world.store.register_senders({"theirs": "second"})
        await by_reply(world, BLOCK)
        await world.enqueue("m2")
        claimed = await world.claim_one()
        assert isinstance(await world.admit(claimed), Permit)
        await world.settle(claimed, FAILED, effects=(SUPPRESSED,))
        await world.later(seconds=1)
        await world.writes(sender="theirs", account="second")
        someone = await person(world)
        assert someone.suppressed_until is None
        assert len(someone.blocks) == 1


@pytest.mark.parametrize("teach", WAYS)
async def test_a_marketing_cap_outlasts_an_inbound_and_holds_at_one_sender(
    store: Place, teach: Teach
) -> None:
    """A 63049 cap ends after its 24 hours, not with an inbound, and holds at one sender."""
    async with opened(store) as world:
        began = await world.store.now()
        await teach(world, CAP)
        await world.later(seconds=1)
        await world.writes()
        [block] = (await person(world)).blocks
        assert (block.holds, block.sender, block.code) == (Holds.MARKETING, SENDER, 63049)
        assert block.ends_at is not None
        assert timedelta(hours=24) <= block.ends_at - began <= timedelta(hours=24, minutes=1)
        assert block.ends_at - block.at == timedelta(hours=24)


@pytest.mark.parametrize(
    "is_marketing, holds", [(True, Holds.MARKETING), (False, Holds.ALL_BUT_REPLIES)]
)
@pytest.mark.parametrize("is_late", [False, True], ids=["by-reply", "by-callback"])
async def test_after_a_marketing_template_only_marketing_is_held(
    store: Place, is_marketing: bool, holds: Holds, is_late: bool
) -> None:
    """After a marketing template an error holds only marketing, by reply or by callback.

    The intent keeps what the attempt sent.
    """
    async with opened(store) as world:
        await world.enqueue(template="order_update")
        claimed = await world.claim_one()
        assert isinstance(
            await world.admit(claimed, template=ORDER, is_marketing=is_marketing), Permit
        )
        if is_late:
            await world.settle(claimed, accepted())
            await world.callback("failed", effects=(BLOCK,))
        else:
            await world.settle(claimed, FAILED, effects=(BLOCK,), template=ORDER)
        assert [block.holds for block in (await person(world)).blocks] == [holds]


@pytest.mark.parametrize("to_user_id", [True, False])
@pytest.mark.parametrize("is_late", [False, True], ids=["by-reply", "by-callback"])
async def test_what_is_said_of_phones_says_nothing_of_a_user_id(
    store: Place, to_user_id: bool, is_late: bool
) -> None:
    """21211 for a user id suppresses no address: the fault is the sender's, whatever address the
    report shows.
    """
    effect = SuppressAddress(3600, "code 21211", phones_only=True)
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.admit(claimed, to_user_id=to_user_id)
        if is_late:
            await world.settle(claimed, accepted())
            await world.callback("failed", effects=(effect,))
        else:
            await world.settle(claimed, FAILED, effects=(effect,))
        assert ((await person(world)).suppressed_until is None) is to_user_id


async def test_a_block_makes_a_decision_stale(store: Place) -> None:
    """A decision from before a block gets no permit."""
    async with opened(store) as world:
        first = await world.post()
        await world.enqueue("m2")
        second = await world.claim_one()
        await world.settle(first, FAILED, effects=(BLOCK,))
        answer = await world.admit(second)
        assert isinstance(answer, Stale)
        assert answer.facts.person.blocks


@pytest.mark.parametrize("is_stopped", [False, True], ids=["never-said-stop", "said-stop"])
async def test_21610_without_a_stop_of_ours_suspends_grants(store: Place, is_stopped: bool) -> None:
    """21610 without a STOP that we know suspends the account's grants until the person writes.

    The stop at the sender stays.
    """
    async with opened(store) as world:
        if is_stopped:
            await world.writes(keyword="stop")
            await world.later(seconds=1)
        await by_reply(world, REASSIGNED)
        someone = await person(world, "other")
        assert [block.holds for block in someone.blocks] == ([] if is_stopped else [Holds.GRANTS])
        assert any(not one.granted for one in (await person(world)).consents)
        await world.later(seconds=1)
        await world.writes("SM901")
        assert (await person(world, "other")).blocks == ()
        assert any(not one.granted for one in (await person(world)).consents)


@pytest.mark.parametrize("teach", WAYS)
async def test_a_stop_of_marketing_is_a_withdrawal_in_the_ledger(
    store: Place, teach: Teach
) -> None:
    """Meta's "stop offers" is one withdrawal in the ledger, which only a newer grant undoes."""
    async with opened(store) as world:
        await world.store.people.record_consent(
            ANNA, ConsentEntry(True, ACCOUNT, "marketing", None, "form")
        )
        await world.later(seconds=1)
        await teach(world, WithdrawMarketing("twilio code 63033"))
        assert await marketing(world) is Standing.OPTED_OUT
        lines = await world.store.people.consents(ANNA)
        assert [line["source"] for line in lines] == ["form", "provider"]
        await world.later(seconds=1)
        await world.writes()
        assert await marketing(world) is Standing.OPTED_OUT
        await world.later(seconds=1)
        await world.store.people.record_consent(
            ANNA, ConsentEntry(True, ACCOUNT, "marketing", None, "x"), after_stop=True
        )
        assert await marketing(world) is Standing.GRANTED


async def test_a_grant_after_the_attempt_outranks_its_stop_of_marketing(store: Place) -> None:
    """A grant after the attempt outranks its marketing stop, because the error is about the time
    before.
    """
    async with opened(store) as world:
        claimed = await world.post()
        await world.later(seconds=1)
        await world.store.people.record_consent(
            ANNA, ConsentEntry(True, ACCOUNT, "marketing", None, "form")
        )
        await world.settle(claimed, FAILED, effects=(WithdrawMarketing("twilio code 63033"),))
        assert await marketing(world) is Standing.GRANTED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("b:main|*|everything|63014", "1:::1:m1"),
        ("b:main|*|marketing|63014|more", "1::1:1:m1"),
        ("b:main|*|marketing|x", "1::1:1:m1"),
        ("b:main|*|marketing|63014", "soon::1:1:m1"),
        ("b:main|*|marketing|63014", "1:later:1:1:m1"),
        ("b:main|*|marketing|63014", "1::2:1:m1"),
        ("b:main|*|marketing|63014", "1"),
    ],
)
async def test_a_block_of_a_newer_version_permits_nothing(
    store: Place, name: str, value: str
) -> None:
    """A block of a newer version may hold anything, so it permits nothing, and reading it does
    not raise.
    """
    async with opened(store) as world:
        await execute(
            world.redis, "HSET", world.keys.person(world.store.people.digest(ANNA)), name, value
        )
        someone = await person(world)
        assert (someone.blocks, someone.is_readable) == ((), False)


async def test_each_code_holds_for_itself(store: Place) -> None:
    """Blocks that end with an inbound and blocks with a term end independently."""
    async with opened(store) as world:
        await by_reply(world, BLOCK)
        await world.enqueue("m2")
        claimed = await world.claim_one()
        await world.admit(claimed)
        await world.settle(claimed, FAILED, effects=(CAP,))
        assert {block.code for block in (await person(world)).blocks} == {63014, 63049}
        await world.later(seconds=1)
        await world.writes()
        [left] = (await person(world)).blocks
        assert isinstance(left, BlockFact)
        assert left.code == 63049
