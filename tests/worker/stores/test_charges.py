"""What an admission charges to its limits, and when that is given back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.rate_limits import PAIR, Pace
from sendwindow.row_fields import RowField
from sendwindow.vocabulary import Reason
from tests.support.cast import ANNA, BERT
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    REFUSED,
    SENDER,
    UNKNOWN,
    Place,
    World,
    accepted,
    ask,
    opened,
)
from worker.ports.admissions import Charge, Later, Permit, PostLimit
from worker.ports.claims import ClaimedMessage
from worker.ports.settlements import Result

pytestmark = pytest.mark.asyncio

MINUTE = Pace(60_000_000, 0)
"""One message a minute: no test runs so long that a second one may go out."""

ONE_POST = Charge(posts=PostLimit(1, timedelta(minutes=1)))
EVERY = Charge(account=MINUTE, sender=MINUTE, pair=MINUTE)


async def _arrivals(world: World, person: str) -> list[int]:
    keys = world.keys
    names = (
        keys.account_rate(ACCOUNT),
        keys.sender_rate(SENDER),
        keys.pair_rate(person, SENDER),
    )
    return [int(((await world.redis.get(name)) or b"0").split()[0]) for name in names]


async def _claimed(world: World, message_id: str, to: str = ANNA) -> ClaimedMessage:
    await world.enqueue(message_id, to=to)
    return await world.claim_one()


@pytest.mark.parametrize(
    "charge, reason",
    [
        (Charge(account=MINUTE), Reason.ACCOUNT_RATE),
        (Charge(sender=MINUTE), Reason.SENDER_RATE),
        (Charge(pair=MINUTE), Reason.PAIR_RATE),
    ],
)
async def test_a_limit_that_is_used_up_turns_the_message_away(
    store: Place, charge: Charge, reason: Reason
) -> None:
    """The answer names the limit and the instant at which its charge is worked off."""
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        assert isinstance(await world.admit(first, charge=charge), Permit)
        arrival = max(await _arrivals(world, first.facts.person_digest))
        answer = await world.admit(await _claimed(world, "m2"), charge=charge)
        assert isinstance(answer, Later)
        assert answer.reason is reason
        assert answer.until.timestamp() * 1000 == pytest.approx(-(-arrival // 1000))


async def test_all_limits_are_checked_before_one_is_charged(store: Place) -> None:
    """A message that one limit turns away costs the others nothing."""
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        await world.admit(first, charge=Charge(pair=MINUTE))
        await world.admit(await _claimed(world, "m2"), charge=EVERY)
        account, sender, pair = await _arrivals(world, first.facts.person_digest)
        assert (account, sender) == (0, 0)
        assert pair > 0


async def test_the_limit_that_lasts_longest_is_named(store: Place) -> None:
    """The message comes back only when no limit is in its way any more."""
    hour = Charge(account=MINUTE, sender=Pace(3_600_000_000, 0))
    async with opened(store) as world:
        await world.admit(await _claimed(world, "m1"), charge=hour)
        answer = await world.admit(await _claimed(world, "m2"), charge=EVERY)
        assert isinstance(answer, Later)
        assert answer.reason is Reason.SENDER_RATE


async def test_a_pair_is_one_person(store: Place) -> None:
    """What one person got holds up no message to another."""
    async with opened(store) as world:
        await world.admit(await _claimed(world, "m1"), charge=Charge(pair=MINUTE))
        other = await world.admit(await _claimed(world, "m2", BERT), charge=Charge(pair=MINUTE))
        assert isinstance(other, Permit)


async def test_a_pair_has_45_messages_at_once(store: Place) -> None:
    """The 46th message to a person is turned away."""
    async with opened(store) as world:
        claimed = [await _claimed(world, f"m{at}") for at in range(46)]
        # In one call, which has one instant.
        *first, last = await world.store.ledger.admit(
            [ask(one, charge=Charge(pair=PAIR)) for one in claimed]
        )
        assert all(isinstance(one, Permit) for one in first)
        assert isinstance(last, Later)
        assert last.reason is Reason.PAIR_RATE


async def test_a_repeated_call_charges_once(store: Place) -> None:
    """A reply that was lost costs nothing: the same attempt gets the same permit."""
    async with opened(store) as world:
        one = await _claimed(world, "m1")
        await world.admit(one, charge=EVERY)
        before = await _arrivals(world, one.facts.person_digest)
        assert isinstance(await world.admit(one, charge=EVERY), Permit)
        assert await _arrivals(world, one.facts.person_digest) == before


async def test_segments_are_charged_each(store: Place) -> None:
    """A message of three segments takes as long as three messages."""
    async with opened(store) as world:
        one = await _claimed(world, "m1")
        await world.admit(one, charge=replace(EVERY, units=3))
        account, sender, _ = await _arrivals(world, one.facts.person_digest)
        now = (await world.store.now()).timestamp() * 1_000_000
        assert account == sender
        assert account - now > 2 * MINUTE.interval_us


@pytest.mark.parametrize("result", [AT_ONCE, REFUSED])
async def test_what_was_not_posted_is_given_back_once(store: Place, result: Result) -> None:
    """A permit that lapsed costs nothing, and a repeated settlement gives nothing back again."""
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        person = first.facts.person_digest
        await world.admit(first, charge=EVERY)
        charged = await _arrivals(world, person)
        await world.settle(first, result, posted=False)
        returned = await _arrivals(world, person)
        assert returned == [one - MINUTE.interval_us for one in charged]
        await world.settle(first, result, posted=False)
        assert await _arrivals(world, person) == returned
        second = await _claimed(world, "m2", BERT)
        assert isinstance(await world.admit(second, charge=Charge(account=MINUTE)), Permit)


@pytest.mark.parametrize("result", [accepted(), UNKNOWN, AT_ONCE, REFUSED])
async def test_what_may_have_been_posted_stays_charged(store: Place, result: Result) -> None:
    """Only an attempt whose POST never began is given back."""
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        await world.admit(first, charge=EVERY)
        charged = await _arrivals(world, first.facts.person_digest)
        await world.settle(first, result, posted=True)
        assert await _arrivals(world, first.facts.person_digest) == charged


async def test_a_late_proof_that_nothing_was_sent_gives_back(store: Place) -> None:
    """A worker whose lease ran out knows that its POST never began."""
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        person = first.facts.person_digest
        await world.admit(first, charge=EVERY)
        charged = await _arrivals(world, person)
        await world.reap()
        assert await _arrivals(world, person) == charged
        await world.settle(first, AT_ONCE, posted=False)
        assert await _arrivals(world, person) == [one - MINUTE.interval_us for one in charged]


async def test_a_lost_fence_gives_nothing_back(store: Place) -> None:
    """A worker that no longer holds the message cannot give back what a later attempt was
    charged.
    """
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        person = first.facts.person_digest
        await world.admit(first, charge=EVERY)
        await world.settle(first, AT_ONCE, posted=False)
        second = await world.claim_one()
        assert isinstance(await world.admit(second, charge=EVERY), Permit)
        charged = await _arrivals(world, person)
        await world.settle(first, AT_ONCE, posted=False)
        assert await _arrivals(world, person) == charged


async def test_an_ended_message_keeps_no_charge(store: Place) -> None:
    """What the attempt was charged leaves the row with its end."""
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        await world.admit(first, charge=EVERY)
        assert RowField.CHARGES in await world.row()
        await world.settle(first, accepted())
        assert RowField.CHARGES not in await world.row()


async def test_a_key_expires_when_its_charge_is_worked_off(store: Place) -> None:
    """No limit keeps a key longer than it matters, so people who got a message leave nothing."""
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        await world.admit(first, charge=EVERY)
        for name in (
            world.keys.account_rate(ACCOUNT),
            world.keys.sender_rate(SENDER),
            world.keys.pair_rate(first.facts.person_digest, SENDER),
        ):
            left = await world.redis.pttl(name)
            assert 0 < left <= timedelta(seconds=62) / timedelta(milliseconds=1)


async def test_without_limits_nothing_is_written(store: Place) -> None:
    """A sender without limits costs no key and no field."""
    async with opened(store) as world:
        await world.post("m1")
        assert RowField.CHARGES not in await world.row()
        assert not [key async for key in world.redis.scan_iter(match="*rate:*")]


async def _open_posts(world: World) -> int:
    return int(await world.redis.zcard(world.keys.open_posts(ACCOUNT)))


async def test_an_account_has_no_more_open_posts_than_its_limit(store: Place) -> None:
    """All workers together have one POST open, and the next message waits a moment."""
    async with opened(store) as world:
        assert isinstance(await world.admit(await _claimed(world, "m1"), charge=ONE_POST), Permit)
        second = await _claimed(world, "m2")
        answer = await world.admit(second, charge=ONE_POST)
        assert isinstance(answer, Later)
        assert answer.reason is Reason.ACCOUNT_BUSY
        assert await _open_posts(world) == 1


async def test_messages_of_one_call_share_the_places(store: Place) -> None:
    """A batch gets no more permits than places are left."""
    async with opened(store) as world:
        for at in range(3):
            await world.enqueue(f"m{at}")
        claimed = await world.claim(3)
        asked = [ask(one, charge=ONE_POST) for one in claimed]
        answers = await world.store.ledger.admit(asked)
        assert [type(one) for one in answers] == [Permit, Later, Later]


@pytest.mark.parametrize("posted", [True, False])
@pytest.mark.parametrize("result", [accepted(), UNKNOWN, AT_ONCE, REFUSED])
async def test_every_outcome_gives_up_the_place(store: Place, result: Result, posted: bool) -> None:
    """Once the outcome is recorded, another POST of the account may start."""
    async with opened(store) as world:
        first = await _claimed(world, "m1")
        await world.admit(first, charge=ONE_POST)
        await world.settle(first, result, posted=posted)
        assert await _open_posts(world) == 0
        second = await _claimed(world, "m2", BERT)
        assert isinstance(await world.admit(second, charge=ONE_POST), Permit)
        await world.settle(first, result, posted=posted)
        assert await _open_posts(world) == 1


async def test_a_worker_that_died_gives_up_its_places(store: Place) -> None:
    """When its lease is reaped, its POST counts no longer."""
    async with opened(store) as world:
        await world.admit(await _claimed(world, "m1"), charge=ONE_POST)
        await world.reap()
        assert await _open_posts(world) == 0


async def test_a_place_ends_with_its_term(store: Place) -> None:
    """A place that no outcome and no reaping gave up does not stay taken."""
    async with opened(store) as world:
        await world.admit(await _claimed(world, "m1"), charge=ONE_POST)
        assert 0 < await world.redis.pttl(world.keys.open_posts(ACCOUNT)) <= 61_000
        await world.later(minutes=1)
        second = await _claimed(world, "m2", BERT)
        assert isinstance(await world.admit(second, charge=ONE_POST), Permit)
        assert await _open_posts(world) == 1
