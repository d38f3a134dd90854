"""The breaker of an account: it opens after a few POSTs without an answer, and one message closes
it.
"""

from datetime import timedelta
from typing import Any

import pytest

from sendwindow.producer import Producer
from sendwindow.vocabulary import OnUnknown, Priority, Reason, Stage
from tests.support.claims import suspected
from tests.support.limited_claims import MINUTE, limit
from tests.support.ring_steps import lane, queue
from tests.support.stores_world import (
    ACCOUNT,
    REFUSED,
    SENDER,
    UNKNOWN,
    Place,
    World,
    accepted,
    opened,
    settlement,
)
from worker.error_effects import CREDENTIALS_REFUSED
from worker.ports.admissions import Charge, Later, Permit, PostLimit
from worker.ports.claims import ClaimedMessage, Suspects
from worker.ports.effects import PauseAccount
from worker.ports.settlements import BreakerChange, SettleAgain, Settled

pytestmark = pytest.mark.asyncio

OPENED = BreakerChange(is_open=True, was_open_for=timedelta())
BACK = SettleAgain(Stage.WAITING, Reason.BREAKER_OPEN, keeps_place=True)
NOT_SENT = SettleAgain(Stage.RETRYING, Reason.NOT_SENT, delay_ms=1)


async def fail(world: World, claimed: ClaimedMessage) -> Settled:
    """Post a message, and get no answer."""
    assert isinstance(await world.admit(claimed), Permit)
    return await world.settle(claimed, UNKNOWN, answered=False)


async def succeed(world: World, claimed: ClaimedMessage, sid: str) -> Settled:
    assert isinstance(await world.admit(claimed), Permit)
    return await world.settle(claimed, accepted(sid), answered=True)


async def break_down(world: World, prefix: str = "down") -> None:
    """Let three POSTs in a row get no answer."""
    ids = [f"{prefix}-{number}" for number in range(3)]
    await queue(world, lane(priority="urgent"), ids)
    batch = await claim(world, 3)
    assert [one.message_id for one in batch] == ids
    changes = [(await fail(world, one)).breaker for one in batch]
    assert changes == [None, None, OPENED]


async def claim(world: World, limit: int = 10) -> tuple[ClaimedMessage, ...]:
    return (await world.store.ledger.claim(limit, Suspects.NEVER)).claimed


async def ids(world: World, limit: int = 10) -> list[str]:
    return [one.message_id for one in await claim(world, limit)]


async def half_open(world: World) -> None:
    """Ask Twilio by a GET once that is due, and get an answer."""
    await world.later(seconds=61)
    assert await world.store.breakers.due([ACCOUNT]) == [ACCOUNT]
    await world.store.breakers.answered(ACCOUNT, is_active=False)


async def try_one(world: World, expected: str) -> ClaimedMessage:
    """Claim the one message that tries."""
    await half_open(world)
    (probe,) = await claim(world)
    assert probe.message_id == expected
    assert await claim(world) == ()
    return probe


async def test_three_posts_in_a_row_without_an_answer_stop_the_account(store: Place) -> None:
    """Nothing more is claimed for it, while another account goes on."""
    async with opened(store) as world:
        await world.store.register_senders({"third": "second"}, {})
        await break_down(world)
        await queue(world, lane(), ["m1", "m2"])
        await queue(world, lane("other", "urgent"), ["o1"])
        await queue(world, lane("third"), ["t1"])
        assert await ids(world) == ["t1"]
        await world.later(hours=1)
        assert await ids(world) == []


async def test_an_answer_between_begins_the_count_again(store: Place) -> None:
    """Two failures, an answer, and two failures more leave the account alone."""
    async with opened(store) as world:
        await queue(world, lane(), [f"m{number}" for number in range(6)])
        claimed = await claim(world)
        for number, one in enumerate(claimed[:5]):
            settled = await (succeed(world, one, "SM7") if number == 2 else fail(world, one))
            assert settled.breaker is None
        assert isinstance(await world.admit(claimed[5]), Permit)


async def test_what_is_held_is_turned_away_and_keeps_its_place(store: Place) -> None:
    """A message that was claimed before gets no permit, and stands again where it stood."""
    async with opened(store) as world:
        await queue(world, lane(), ["m1", "m2", "m3"])
        held = (await claim(world, 2))[0]
        await break_down(world)
        later = await world.admit(held)
        assert isinstance(later, Later)
        assert later.reason is Reason.BREAKER_OPEN
        await world.settle(held, BACK, attempt=0, posted=False)
        assert (await world.row())["r"] == "breaker_open"
        await world.store.switches.resume("account", ACCOUNT)
        assert await ids(world, 1) == ["m1"]


async def test_one_caller_asks_twilio_every_five_seconds(store: Place) -> None:
    """The first question comes a second after the breaker opened, and never from two at once."""
    async with opened(store) as world:
        assert await world.store.breakers.due([ACCOUNT]) == []
        await break_down(world)
        assert await world.store.breakers.due([]) == []
        found = []
        for seconds in (0, 1, 0, 4, 1):
            await world.later(seconds=seconds)
            found.append(await world.store.breakers.due(["second", ACCOUNT]))
        assert found == [[], [ACCOUNT], [], [], [ACCOUNT]]


async def test_an_answer_lets_one_message_try_and_its_success_closes_the_breaker(
    store: Place,
) -> None:
    """The rest stays parked until then, and goes in its order afterwards."""
    async with opened(store) as world:
        await break_down(world)
        await queue(world, lane(), ["m1", "m2", "m3"])
        probe = await try_one(world, "m1")
        settled = await succeed(world, probe, "SM8")
        assert settled.breaker is not None
        assert not settled.breaker.is_open
        assert settled.breaker.was_open_for >= timedelta(seconds=61)
        assert await ids(world) == ["m2", "m3"]


async def test_a_message_that_was_posted_before_closes_nothing(store: Place) -> None:
    """Only the message that tries says that Twilio answers again."""
    async with opened(store) as world:
        await queue(world, lane(), ["early", "m1"])
        (early,) = await claim(world, 1)
        assert isinstance(await world.admit(early), Permit)
        await break_down(world)
        assert (await world.settle(early, accepted("SM8"), answered=True)).breaker is None
        assert await ids(world) == []


async def test_each_failed_try_waits_longer_but_not_long(store: Place) -> None:
    """Four times 8 s, then twice as long each time up to a minute."""
    async with opened(store) as world:
        await break_down(world)
        await queue(world, lane(), [f"m{number}" for number in range(8)])
        waits = []
        for number in range(8):
            probe = await try_one(world, f"m{number}")
            assert (await fail(world, probe)).breaker is None
            seconds = 0
            while not await world.store.breakers.due([ACCOUNT]):
                await world.later(seconds=1)
                seconds += 1
            waits.append(seconds)
        assert waits == [8, 8, 8, 8, 16, 32, 60, 60]


async def test_the_most_urgent_message_tries_unless_its_outcome_may_not_be_unknown(
    store: Place,
) -> None:
    """A message with the rule `never` or `hold` tries only when no other is due."""
    async with opened(store) as world:
        await break_down(world)
        await world.enqueue("urgent", priority=Priority.URGENT, on_unknown=OnUnknown.NEVER)
        await world.enqueue("held", priority=Priority.URGENT, on_unknown=OnUnknown.HOLD)
        await world.enqueue("normal", on_unknown=OnUnknown.RESEND)
        await world.enqueue("bulk", priority=Priority.BULK, on_unknown=OnUnknown.RESEND)
        found = []
        for expected in ("normal", "bulk", "urgent", "held"):
            await fail(world, await try_one(world, expected))
            found.append(expected)
        assert len(found) == 4


async def test_a_message_that_is_not_posted_leaves_the_try_to_the_next(store: Place) -> None:
    """One that is refused, or given back, is followed at once; one whose POST failed, soon."""
    async with opened(store) as world:
        await break_down(world)
        await queue(world, lane(), ["m1", "m2", "m3"])
        probe = await try_one(world, "m1")
        await world.settle(probe, REFUSED, attempt=0, posted=False)
        (second,) = await claim(world)
        assert second.message_id == "m2"
        await world.store.ledger.release([(second.message_id, second.fence)])
        (second,) = await claim(world)
        assert second.message_id == "m2"
        assert isinstance(await world.admit(second), Permit)
        await world.settle(second, NOT_SENT, posted=False)
        assert await ids(world) == []
        await world.later(seconds=2)
        assert len(await claim(world)) == 1


async def test_a_try_that_is_never_recorded_is_followed_by_another(store: Place) -> None:
    """A worker that dies with the message that tries stops nothing for good."""
    async with opened(store) as world:
        await break_down(world)
        await queue(world, lane(), ["m1", "m2"])
        await try_one(world, "m1")
        await world.later(seconds=61)
        assert len(await claim(world)) == 1
        assert await claim(world) == ()


async def test_an_empty_account_tries_with_its_next_message(store: Place) -> None:
    """When nothing is queued, the breaker stays half open until something is."""
    async with opened(store) as world:
        await break_down(world)
        await half_open(world)
        assert await claim(world) == ()
        await queue(world, lane(), ["m1", "m2"])
        (probe,) = await claim(world)
        assert (await succeed(world, probe, "SM8")).breaker is not None
        assert await ids(world) == ["m2"]


async def test_messages_of_a_paused_sender_do_not_try(store: Place) -> None:
    """A sender that may not send keeps its messages, whatever the breaker does."""
    async with opened(store) as world:
        await break_down(world)
        await world.store.switches.pause("sender", SENDER, timedelta(days=1), "63007")
        await queue(world, lane(priority="urgent"), ["m1"])
        await queue(world, lane("other"), ["o1"])
        await try_one(world, "o1")


async def test_messages_of_a_paused_campaign_do_not_try(store: Place) -> None:
    """A campaign that was paused during the outage is still in its ring, and keeps its messages."""
    async with opened(store) as world, Producer(store.url, store.partition) as producer:
        await break_down(world)
        await queue(world, lane(campaign="spring"), ["s1", "s2"])
        assert await claim(world) == ()
        await producer.pause_campaign(SENDER, "spring")
        await queue(world, lane(), ["m1"])
        probe = await try_one(world, "m1")
        assert (await succeed(world, probe, "SM8")).breaker is not None
        await producer.resume_campaign(SENDER, "spring")
        assert await ids(world) == ["s1", "s2"]


async def test_messages_of_a_sender_whose_rate_is_used_up_do_not_try(store: Place) -> None:
    """Admission would turn them away again and again, while those of another sender may go."""
    async with opened(store) as world:
        await limit(world, sender=MINUTE)
        await queue(world, lane(), ["m0"])
        (first,) = await claim(world)
        assert isinstance(await world.admit(first, charge=Charge(sender=MINUTE)), Permit)
        await world.settle(first, accepted("SM7"), answered=True)
        await queue(world, lane("other", "urgent"), ["down-1", "down-2", "down-3"])
        for one in await claim(world):
            await fail(world, one)
        await queue(world, lane(), ["m1"])
        await queue(world, lane("other"), ["o1"])
        await world.later(seconds=1)
        assert await world.store.breakers.due([ACCOUNT]) == [ACCOUNT]
        await world.store.breakers.answered(ACCOUNT, is_active=False)
        assert await ids(world) == ["o1"]


async def test_no_message_tries_while_its_account_has_no_place_for_a_post(store: Place) -> None:
    """It would be turned away at admission. It tries when a POST has ended."""
    async with opened(store) as world:
        await queue(world, lane(), ["open"])
        (open_,) = await claim(world)
        posts = PostLimit(1, timedelta(minutes=10))
        assert isinstance(await world.admit(open_, charge=Charge(posts=posts)), Permit)
        await break_down(world)
        await limit(world, posts=1)
        await queue(world, lane(), ["m1"])
        await half_open(world)
        assert await claim(world) == ()
        await world.settle(open_, UNKNOWN, answered=False)
        assert await ids(world) == ["m1"]


async def test_an_operator_may_close_a_breaker(store: Place) -> None:
    """`resume` forgets what the POSTs of the account said."""
    async with opened(store) as world:
        await break_down(world)
        await queue(world, lane(), ["m1", "m2"])
        assert await ids(world) == []
        assert await world.store.switches.resume("account", ACCOUNT)
        assert await ids(world) == ["m1", "m2"]
        assert not await world.store.switches.resume("account", ACCOUNT)


async def test_a_suspect_may_be_the_message_that_tries(store: Place) -> None:
    """When only a suspect is queued, it tries, alone as always."""
    async with opened(store) as world:
        await suspected(world, "s1", "s2")
        await world.enqueue("down-0", priority=Priority.URGENT)
        (first,) = await world.claim(1, Suspects.NEVER)
        await fail(world, first)
        for message_id in ("down-1", "down-2"):
            await world.enqueue(message_id, priority=Priority.URGENT)
        for one in await world.claim(10, Suspects.NEVER):
            await fail(world, one)
        assert await world.claim(10, Suspects.FIRST) == ()
        await half_open(world)
        (probe,) = await world.claim(10, Suspects.FIRST)
        assert probe.message_id in {"s1", "s2"}
        assert await world.claim(10, Suspects.FIRST) == ()
        assert (await succeed(world, probe, "SM8")).breaker is not None
        assert len(await world.claim(10, Suspects.FIRST)) == 1


async def test_a_clock_that_is_set_back_delays_no_try(store: Place) -> None:
    """A try or a question that was planned on a clock that ran ahead does not wait for it."""
    async with opened(store) as world:
        await world.later(days=3)
        await break_down(world)
        await queue(world, lane(), ["m1", "m2"])
        await world.later(days=-2)
        await try_one(world, "m1")
        await world.later(days=-1)
        assert await world.store.breakers.due([ACCOUNT]) == []
        assert len(await claim(world)) == 1


async def test_other_failures_of_an_open_breaker_count_for_nothing(store: Place) -> None:
    """POSTs that were under way when the breaker opened do not delay the first question."""
    async with opened(store) as world:
        await queue(world, lane(), ["m1", "m2"])
        early = await claim(world)
        for one in early:
            assert isinstance(await world.admit(one), Permit)
        await break_down(world)
        for one in early:
            assert (await world.settle(one, UNKNOWN, answered=False)).breaker is None
        await world.later(seconds=1)
        assert await world.store.breakers.due([ACCOUNT]) == [ACCOUNT]
        # An answer that no worker waits for changes nothing.
        await world.store.breakers.answered(ACCOUNT, is_active=False)
        await world.store.breakers.answered(ACCOUNT, is_active=False)
        assert await ids(world) == []


async def test_an_unreadable_breaker_lets_one_message_try(store: Place) -> None:
    """What no version wrote is neither open for good nor closed."""
    async with opened(store) as world:
        await queue(world, lane(), ["m1", "m2"])
        redis: Any = world.redis
        await redis.hset(world.keys.account(ACCOUNT), "bu", "soon")
        assert len(await claim(world)) == 1
        assert await claim(world) == ()


async def test_a_settlement_without_an_account_changes_no_breaker(store: Place) -> None:
    """A job that could not be read has no sender, and says nothing about Twilio."""
    async with opened(store) as world:
        await world.enqueue()
        one = await world.claim_one()
        await world.store.ledger.settle([settlement(one, REFUSED, attempt=0, account="")])
        assert (await world.row())["s"] == "refused"


async def test_a_pause_because_of_credentials_ends_when_twilio_takes_them(store: Place) -> None:
    """Twilio is asked about it, and an answer that refuses them still changes nothing.

    A pause for another reason, or by an operator, does not end by a question.
    """
    async with opened(store) as world:
        await queue(world, lane(), ["m1", "m2", "m3"])
        (first,) = await claim(world, 1)
        assert isinstance(await world.admit(first), Permit)
        refused = SettleAgain(Stage.RETRYING, Reason.ACCOUNT_PAUSED, keeps_place=True, code=20003)
        pause = (PauseAccount(900, CREDENTIALS_REFUSED),)
        await world.settle(first, refused, effects=pause, answered=True)
        assert await ids(world) == []
        assert await world.store.breakers.due([ACCOUNT]) == [ACCOUNT]
        await world.store.breakers.answered(ACCOUNT, is_active=False)
        assert await ids(world) == []
        await world.later(seconds=5)
        assert await world.store.breakers.due([ACCOUNT]) == [ACCOUNT]
        await world.store.breakers.answered(ACCOUNT, is_active=True)
        assert await ids(world) == ["m1", "m2", "m3"]
        await world.store.switches.pause("account", ACCOUNT, timedelta(hours=1), "an operator")
        await world.later(seconds=10)
        assert await world.store.breakers.due([ACCOUNT]) == []
        await world.store.breakers.answered(ACCOUNT, is_active=True)
        (state,) = await world.store.switches.states([("account", ACCOUNT)])
        assert state.reason == "an operator"
