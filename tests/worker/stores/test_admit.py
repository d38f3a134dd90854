"""Admission: no permit unless everything that the decision saw still holds."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.decision import SeenRevisions
from policies.facts import TagState
from sendwindow.vocabulary import Reason, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    ORDER,
    REFUSED,
    SENDER,
    Place,
    World,
    accepted,
    ask,
    opened,
    settlement,
)
from worker.ports.admissions import Cancelled, Later, Lost, Permit, Stale
from worker.ports.effects import (
    CloseWindow,
    Effect,
    OptOut,
    PauseAccount,
    PauseSender,
    SetTag,
    SetTemplate,
    SuppressAddress,
)
from worker.ports.people import ConsentEntry
from worker.ports.settlements import SettleAgain, SettleEnd
from worker.runtime import clock
from worker.stores.ledger import Tuning

pytestmark = pytest.mark.asyncio

Flip = Callable[[World], Awaitable[object]]


async def _another_settles(world: World, effect: Effect) -> None:
    """Another message of the same person ends and leaves its effects."""
    await world.enqueue("teacher")
    other = next(one for one in await world.claim() if one.message_id == "teacher")
    if isinstance(effect, SetTag):
        # Only an attempt that relied on the tag says anything about the Page.
        await world.admit(other, relies_on_tag=True)
    end = SettleEnd(Stage.REFUSED, Reason.PROVIDER_REFUSED)
    await world.store.ledger.settle(
        [settlement(other, end, attempt=0, posted=False, effects=(effect,), template=ORDER)]
    )


def _by(effect: Effect) -> Flip:
    return lambda world: _another_settles(world, effect)


def _consent(granted: bool) -> Flip:
    entry = ConsentEntry(granted, ACCOUNT, "marketing", None, "test")
    return lambda world: world.store.people.record_consent(ANNA, entry)


FLIPS: dict[str, Flip] = {
    "the person writes": lambda world: world.writes(),
    "the person stops": lambda world: world.writes(keyword="stop"),
    "consent is granted": _consent(granted=True),
    "consent is withdrawn": _consent(granted=False),
    "the provider closes the window": _by(CloseWindow()),
    "the provider reports a stop": _by(OptOut(sender_only=True, evidence="21610")),
    "the address is suppressed": _by(SuppressAddress(60, "63003")),
    "the sender is paused by an error": _by(PauseSender(60, "63018")),
    "the sender is paused by hand": lambda world: world.store.switches.pause(
        "sender", SENDER, timedelta(minutes=1), "x"
    ),
    "the account is paused": _by(PauseAccount(60, "20003")),
    "the template is disabled": _by(SetTemplate("disabled", "63041")),
    "the tag is dead": _by(SetTag("dead", "63016")),
    "the sender moves to another account": lambda world: world.store.register_senders(
        {SENDER: "second"}
    ),
}


@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS.keys())
async def test_a_fact_that_flips_after_the_decision_admits_nothing(
    store: Place, flip: Flip
) -> None:
    """A fact that changes after the claim makes the decision stale, and the reply brings the
    fresh facts.
    """
    async with opened(store) as world:
        await world.enqueue(template=ORDER)
        claimed = await world.claim_one()
        facts = claimed.facts
        seen = SeenRevisions(
            facts.person.revision,
            facts.sender.revision,
            facts.account.revision,
            facts.template.revision,
            facts.tag.revision,
        )
        await flip(world)
        answer = await world.admit(claimed, template=ORDER, seen=seen)
        assert isinstance(answer, Stale)
        assert answer.facts != facts
        assert answer.facts == await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)
        assert (await world.row())["s"] == "claimed"
        assert await world.store.people.permits_left_ms(facts.person_digest) == 0


async def test_no_message_goes_out_by_another_account_than_its_facts(store: Place) -> None:
    """A worker gets no permit for another account than the facts belong to.

    The sender moved to another account before the claim, and the decision saw that account's
    consents.
    """
    async with opened(store) as world:
        await world.writes(keyword="stop")
        await world.store.register_senders({SENDER: "second"})
        await world.enqueue()
        claimed = await world.claim_one()
        assert (claimed.facts.registered, claimed.facts.person.consents) == ("second", ())
        answer = await world.admit(claimed)
        assert isinstance(answer, Stale)
        assert answer.facts.registered == "second"
        assert await world.store.people.permits_left_ms(claimed.facts.person_digest) == 0
        assert isinstance(await world.admit(claimed, account="second"), Permit)


async def test_fresh_facts_lead_to_a_permit(store: Place) -> None:
    """A new decision on the facts in Stale gets a permit."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.writes()
        stale = await world.admit(claimed)
        assert isinstance(stale, Stale)
        assert isinstance(await world.admit(replace(claimed, facts=stale.facts)), Permit)


async def test_facts_not_looked_at_do_not_matter(store: Place) -> None:
    """A freeform decision saw no template and no tag, so changes of those do not make it stale."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.store.switches.pause("sender", "other", timedelta(minutes=1), "x")
        await _another_settles(world, SetTag("dead", "63016"))
        await _another_settles_template(world)
        assert isinstance(await world.admit(claimed), Permit)


async def _another_settles_template(world: World) -> None:
    await world.enqueue("teacher2")
    other = next(one for one in await world.claim() if one.message_id == "teacher2")
    end = SettleEnd(Stage.REFUSED, Reason.PROVIDER_REFUSED)
    effect = SetTemplate("paused", "63041")
    await world.store.ledger.settle(
        [settlement(other, end, attempt=0, posted=False, effects=(effect,), template=ORDER)]
    )


async def test_a_decision_past_its_time_is_stale(store: Place) -> None:
    """A decision is stale from `valid_until` on, to the millisecond of the store's clock."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        past = await world.store.now()
        assert isinstance(await world.admit(claimed, valid_until=past), Stale)
        assert isinstance(
            await world.admit(claimed, valid_until=past + timedelta(minutes=1)), Permit
        )


async def test_the_intent_is_written_with_its_reason(store: Place) -> None:
    """The intent is in the row before any byte leaves: attempt, time, person and reason.

    The timeline has the trace.
    """
    async with opened(store) as world:
        claimed = await world.post()
        row = await world.row()
        assert (row["s"], row["n"], row["p"], row["r"], row["v"]) == (
            "posting",
            "1",
            claimed.facts.person_digest,
            "window_open",
            "2026-11",
        )
        record = await world.store.records.record("m1")
        assert record is not None
        intent = record.timeline[-1]
        assert (intent["e"], intent["n"], intent["policy"]) == ("intent", 1, "2026-11")
        assert intent["trace"] == [["consent", "pass"], ["window", "choose", "open"]]


async def test_a_permit_asked_for_again_is_the_same(store: Place) -> None:
    """A permit asked for again after a lost reply is the same: one intent, one permit."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        first = await world.admit(claimed)
        before = await world.contents()
        second = await world.admit(claimed)
        assert isinstance(first, Permit)
        assert isinstance(second, Permit)
        assert (second.attempt, second.fence) == (first.attempt, first.fence)
        assert await world.contents() == before


async def test_a_permit_lapses_by_the_workers_own_clock(store: Place) -> None:
    """The worker counts a permit from before the call, so it ends before the store's record of
    it.
    """
    async with opened(store, tuning=Tuning(permit=timedelta(seconds=2))) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        asked = clock.monotonic()
        permit = await world.admit(claimed)
        assert isinstance(permit, Permit)
        left_ms = await world.store.people.permits_left_ms(claimed.facts.person_digest)
        assert asked + 2 <= permit.lapses_at <= clock.monotonic() + left_ms / 1000


async def test_an_old_fence_gets_nothing(store: Place) -> None:
    """A worker that lost a message to a reaper, another claim or its end gets no permit and
    learns why.
    """
    async with opened(store) as world:
        await world.enqueue()
        lost = await world.claim_one()
        await world.later(seconds=20)
        await world.store.ledger.reap(10)
        assert isinstance(await world.admit(lost), Lost)
        held = await world.claim_one()
        assert isinstance(await world.admit(lost), Lost)
        assert isinstance(await world.admit(held), Permit)
        await world.settle(held, accepted())
        assert isinstance(await world.admit(held), Lost)
        assert isinstance(await world.admit(replace(held, message_id="nobody")), Lost)


async def test_an_attempt_number_out_of_turn_is_refused(store: Place) -> None:
    """Attempts are numbered without gaps, so that a callback names exactly one."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert isinstance(await world.admit(claimed, attempt=2), Lost)
        assert isinstance(await world.admit(claimed, attempt=1), Permit)


async def test_a_cancelled_message_is_not_admitted(store: Place) -> None:
    """A message cancelled between claim and admission gets no intent."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert await world.cancel() == "cancelled"
        assert isinstance(await world.admit(claimed), Cancelled)
        assert (await world.row())["n"] == "0"


@pytest.mark.parametrize(
    "kind, name, reason",
    [("sender", SENDER, Reason.SENDER_PAUSED), ("account", ACCOUNT, Reason.ACCOUNT_PAUSED)],
)
async def test_a_pause_that_was_seen_still_holds_it_back(
    store: Place, kind: str, name: str, reason: Reason
) -> None:
    """A decision that overlooked a pause gets no permit, but the time at which the pause ends."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.store.switches.pause(
            "sender" if kind == "sender" else "account", name, timedelta(minutes=1), "x"
        )
        fresh = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        answer = await world.admit(replace(claimed, facts=fresh))
        assert isinstance(answer, Later)
        assert answer.reason is reason
        assert (
            timedelta(seconds=50) < answer.until - await world.store.now() <= timedelta(minutes=1)
        )


async def test_the_persons_cap_counts_a_rolling_day(store: Place) -> None:
    """A message over the person's cap is decided again and refused until the oldest POST is a day
    old.

    POSTs that Twilio did not take do not count.
    """
    async with opened(store) as world:
        for number in range(4):
            await world.enqueue(f"m{number}")
        never, one, two, over = await world.claim()
        assert isinstance(await world.admit(never, person_cap=2), Permit)
        await world.settle(never, AT_ONCE, posted=False)
        [never] = await world.claim()
        assert isinstance(await world.admit(never, person_cap=2, attempt=2), Permit)
        await world.settle(never, REFUSED, attempt=2)
        assert isinstance(await world.admit(one, person_cap=2), Permit)
        await world.later(hours=1)
        assert isinstance(await world.admit(two, person_cap=2), Permit)
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).person.sent_last_day == 2
        answer = await world.admit(over, person_cap=2)
        assert isinstance(answer, Stale)
        assert answer.facts.person.sent_last_day == 2
        await world.later(hours=23, seconds=1)
        assert isinstance(await world.admit(over, person_cap=2), Permit)


async def test_one_unproven_tagged_message_at_a_time(store: Place) -> None:
    """A Page has one unproven ACCOUNT_UPDATE message at a time.

    The second waits until the tag is proven.
    """
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.enqueue("m2")
        first, second = await world.claim()
        await world.admit(first, relies_on_tag=True)
        stale = await world.admit(second, relies_on_tag=True, seen=replace(ask(second).seen, tag=0))
        assert isinstance(stale, Stale)
        assert stale.facts.tag.in_flight
        later = await world.admit(second, relies_on_tag=True)
        assert isinstance(later, Later)
        assert later.reason is Reason.ACCOUNT_UPDATE_UNPROVEN
        await world.settle(first, accepted("SM1"))
        assert isinstance(await world.admit(second, relies_on_tag=True), Later)
        await world.callback("sent")
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).tag.state is TagState.PROVEN
        assert isinstance(await world.admit(second, relies_on_tag=True), Permit)


async def test_a_tagged_message_that_was_not_accepted_frees_the_page(store: Place) -> None:
    """A tagged message that was not accepted frees its Page, and the same message may try again."""
    async with opened(store) as world:
        await world.enqueue("m1")
        first = await world.claim_one()
        await world.admit(first, relies_on_tag=True)
        assert not (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None, "m1")).tag.in_flight
        assert (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None, "m2")).tag.in_flight
        await world.settle(first, SettleAgain(Stage.RETRYING, Reason.THROTTLED))
        tag = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None, "m2")).tag
        assert (tag.state, tag.in_flight) == (TagState.UNPROVEN, False)


async def test_a_dead_tag_stays_dead_until_a_person_resets_it(store: Place) -> None:
    """A dead tag stays dead until an operator resets it, whatever an earlier message proves
    later.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.admit(claimed, relies_on_tag=True)
        await world.settle(claimed, accepted())
        await world.callback("failed", effects=(SetTag("dead", "63016"),))
        await world.callback("read")
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).tag.state is TagState.DEAD
        assert await world.store.switches.reset("tag_state", SENDER)
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).tag.state is TagState.UNPROVEN


async def test_a_template_state_lapses(store: Place) -> None:
    """A paused template lapses with its term, and a disabled one lasts until a reset."""
    async with opened(store) as world:
        for seconds, lapses in ((60, True), (0, False)):
            await world.enqueue(f"m{seconds}")
            claimed = await world.claim_one()
            effect = SetTemplate("paused", "63041", seconds)
            await world.settle(
                claimed,
                SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED),
                effects=(effect,),
                template="t",
            )
            assert (
                await world.store.people.facts(ANNA, SENDER, ACCOUNT, "t")
            ).template.state == "paused"
            await world.later(seconds=seconds + 1)
            state = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, "t")).template.state
            assert state == (None if lapses else "paused")
        assert await world.store.switches.reset("template", "t")
        assert (await world.store.people.facts(ANNA, SENDER, ACCOUNT, "t")).template.state is None


async def test_only_a_tagged_attempt_proves_the_tag(store: Place) -> None:
    """Only an attempt that used the tag proves it.

    The second attempt went out inside the window, so its `sent` says nothing about ACCOUNT_UPDATE.
    """
    async with opened(store) as world:
        await world.enqueue()
        first = await world.claim_one()
        await world.admit(first, relies_on_tag=True)
        await world.settle(first, AT_ONCE)
        second = await world.claim_one()
        await world.admit(second)
        await world.settle(second, accepted())
        await world.callback("sent", attempt=2)
        assert (
            await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        ).tag.state is TagState.UNPROVEN
