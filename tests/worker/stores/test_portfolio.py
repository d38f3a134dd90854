"""The limit of people that a portfolio writes to outside an open window."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sendwindow.vocabulary import Reason, Stage
from tests.support.cast import ANNA, whatsapp
from tests.support.stores_world import (
    AT_ONCE,
    REFUSED,
    UNKNOWN,
    Place,
    World,
    accepted,
    ask,
    opened,
)
from worker.ports.admissions import Admission, Charge, Later, Permit, PortfolioLimit
from worker.ports.settlements import Result, SettleAgain

pytestmark = pytest.mark.asyncio

TWO = Charge(portfolio=PortfolioLimit("acme", 2))
DAY = timedelta(days=1)


async def _admitted(world: World, message_id: str, to: str, charge: Charge = TWO) -> Admission:
    await world.enqueue(message_id, to=to)
    return await world.admit(await world.claim_one(), charge=charge)


async def _people(world: World) -> int:
    return int(await world.redis.zcard(world.keys.portfolio("acme")))


async def test_a_portfolio_writes_to_no_more_people_than_its_limit(store: Place) -> None:
    """The third person waits until the first one counts no longer, 24 hours after the message."""
    async with opened(store) as world:
        assert isinstance(await _admitted(world, "m1", whatsapp(1)), Permit)
        first_at = await world.store.now()
        await world.later(hours=1)
        assert isinstance(await _admitted(world, "m2", whatsapp(2)), Permit)
        answer = await _admitted(world, "m3", whatsapp(3))
        assert isinstance(answer, Later)
        assert answer.reason is Reason.PORTFOLIO_LIMIT
        assert (
            timedelta()
            <= first_at + DAY - answer.until + timedelta(milliseconds=1)
            < timedelta(minutes=1)
        )


async def test_a_person_counts_once(store: Place) -> None:
    """More messages to the same people go out, and each begins their 24 hours again."""
    async with opened(store) as world:
        for number, person in enumerate([1, 2, 1, 2]):
            answer = await _admitted(world, f"m{number}", whatsapp(person))
            assert isinstance(answer, Permit)
        assert await _people(world) == 2
        await world.later(hours=23)
        await _admitted(world, "again", whatsapp(1))
        await world.later(hours=2)
        assert isinstance(await _admitted(world, "third", whatsapp(3)), Permit)
        assert isinstance(await _admitted(world, "fourth", whatsapp(4)), Later)


async def test_messages_of_one_call_share_the_limit(store: Place) -> None:
    """A batch gets no more permits than there are people left."""
    async with opened(store) as world:
        for number in range(4):
            await world.enqueue(f"m{number}", to=whatsapp(number))
        claimed = await world.claim(4)
        answers = await world.store.ledger.admit([ask(one, charge=TWO) for one in claimed])
        assert [type(one) for one in answers] == [Permit, Permit, Later, Later]


async def test_each_message_that_is_turned_away_has_a_place_of_its_own(store: Place) -> None:
    """One comes back for each person that counts no longer, so none is claimed again and again."""
    async with opened(store) as world:
        three = Charge(portfolio=PortfolioLimit("acme", 3))
        for number in range(3):
            await _admitted(world, f"m{number}", whatsapp(number), three)
            await world.later(hours=1)
        due = []
        for number in range(5):
            answer = await _admitted(world, f"late{number}", whatsapp(10 + number), three)
            assert isinstance(answer, Later)
            due.append(answer.until)
        hour = timedelta(minutes=59)
        assert due[1] - due[0] > hour
        assert due[2] - due[1] > hour
        # No person counts for longer, so the next ones share the day behind.
        assert due[3] - due[2] == due[4] - due[3] == DAY / 3


async def test_a_lower_limit_waits_for_as_many_people(store: Place) -> None:
    """After the limit was lowered, a message waits until fewer people count than it allows."""
    async with opened(store) as world:
        for number in range(4):
            high = Charge(portfolio=PortfolioLimit("acme", 4))
            await _admitted(world, f"m{number}", whatsapp(number), high)
            await world.later(hours=1)
        answer = await _admitted(world, "m9", whatsapp(9))
        assert isinstance(answer, Later)
        # The second of four has to leave, which was written to two hours before the last.
        left = answer.until - await world.store.now()
        assert timedelta(hours=21) < left <= timedelta(hours=22)


@pytest.mark.parametrize("result", [AT_ONCE, REFUSED])
async def test_a_person_that_got_nothing_does_not_count(store: Place, result: Result) -> None:
    """A permit that lapsed gives the place back, once."""
    async with opened(store) as world:
        await world.enqueue("m1", to=ANNA)
        one = await world.claim_one()
        await world.admit(one, charge=TWO)
        assert await _people(world) == 1
        await world.settle(one, result, posted=False)
        assert await _people(world) == 0


@pytest.mark.parametrize("result", [accepted(), UNKNOWN, REFUSED])
async def test_a_person_that_may_have_got_something_counts(store: Place, result: Result) -> None:
    """Whatever Twilio did with it, a message that was posted counts."""
    async with opened(store) as world:
        await world.enqueue("m1", to=ANNA)
        one = await world.claim_one()
        await world.admit(one, charge=TWO)
        await world.settle(one, result, posted=True)
        assert await _people(world) == 1


async def test_what_was_charged_before_comes_back(store: Place) -> None:
    """A person that got a message before counts from that one again."""
    async with opened(store) as world:
        key = world.keys.portfolio("acme")
        await _admitted(world, "m1", ANNA)
        [(_, before)] = await world.redis.zrange(key, 0, -1, withscores=True)
        await world.later(hours=1)
        await world.enqueue("m2", to=ANNA)
        one = await world.claim_one()
        await world.admit(one, charge=TWO)
        await world.settle(one, REFUSED, posted=False)
        assert await world.redis.zrange(key, 0, -1, withscores=True) == [(_, before)]


async def test_a_later_charge_of_the_same_person_stays(store: Place) -> None:
    """What is given back takes nothing from a message that was charged since."""
    async with opened(store) as world:
        await world.enqueue("m1", to=ANNA)
        one = await world.claim_one()
        await world.admit(one, charge=TWO)
        await _admitted(world, "m2", ANNA)
        await world.settle(one, REFUSED, posted=False)
        assert await _people(world) == 1


async def test_portfolios_do_not_share(store: Place) -> None:
    """Another portfolio has people of its own."""
    async with opened(store) as world:
        await _admitted(world, "m1", whatsapp(1))
        await _admitted(world, "m2", whatsapp(2))
        other = replace(TWO, portfolio=PortfolioLimit("other", 1))
        assert isinstance(await _admitted(world, "m3", whatsapp(3), other), Permit)


async def test_a_queue_beyond_the_limit_is_claimed_twice_at_most(store: Place) -> None:
    """Each message is claimed, turned away, and claimed again when a place is free."""
    async with opened(store) as world:
        five = Charge(portfolio=PortfolioLimit("acme", 5))
        for number in range(15):
            await world.enqueue(f"m{number}", to=whatsapp(number))
        claims, ended = 0, 0
        for _ in range(60):
            batch = await world.store.ledger.claim(10)
            claims += len(batch.claimed)
            for one in batch.claimed:
                answer = await world.admit(one, charge=five)
                if isinstance(answer, Later):
                    again = SettleAgain(Stage.WAITING, answer.reason, due_at=answer.until)
                    await world.settle(one, again, attempt=0, posted=False)
                else:
                    ended += 1
                    await world.settle(one, accepted(f"SM{ended}"))
            if ended == 10:
                break
            if not batch.claimed and batch.next_due_at is not None:
                waits = batch.next_due_at - batch.now
                await world.later(seconds=waits.total_seconds())
        assert ended == 10
        assert claims <= 2 * 15
