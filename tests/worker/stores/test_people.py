"""Inbound messages, windows and facts of a person."""

from datetime import datetime, timedelta

import pytest

from tests.support.cast import ANNA, BERT
from tests.support.people_steps import consents_of
from tests.support.stores_world import (
    ACCOUNT,
    SENDER,
    WAITS,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.people import ConsentEntry, Inbound
from worker.stores.ledger import Tuning

pytestmark = pytest.mark.asyncio


LASTING = Tuning(permit=timedelta(minutes=1))
"""Permits that outlast a test on any machine."""


async def _window(world: World, sender: str = SENDER) -> datetime | None:
    return (await world.store.people.facts(ANNA, sender, ACCOUNT, None)).person.last_inbound_at


async def test_an_inbound_moves_the_window_of_its_sender_only(store: Place) -> None:
    """Windows are per sender and person."""
    async with opened(store) as world:
        applied = await world.writes()
        assert (applied.first, applied.opted, applied.released) == (True, None, 0)
        assert applied.person_digest == world.store.people.digest(ANNA)
        opened_at = await _window(world)
        assert opened_at is not None
        assert timedelta() <= await world.store.now() - opened_at < timedelta(minutes=1)
        assert await _window(world, "other") is None


async def test_an_inbound_is_applied_once(store: Place) -> None:
    """A repeated MessageSid moves nothing, also days later."""
    async with opened(store) as world:
        assert (await world.writes("SM1", keyword="stop")).first
        opened_at = await _window(world)
        for hours in (1, 100):
            await world.later(hours=hours)
            repeated = await world.writes("SM1", keyword="stop")
            assert not repeated.first
            assert await _window(world) == opened_at
        await world.redis.delete(world.keys.inbound_seen("SM1"))
        assert not (await world.writes("SM1")).first
        assert await world.count("inbound") == 1


async def test_a_repeated_stop_still_waits_for_open_permits(store: Place) -> None:
    """A repeated STOP waits for open permits too.

    Twilio may repeat it before the first was answered, so both answers name what is still open.
    """
    async with opened(store, tuning=LASTING) as world:
        await world.post()
        first = await world.writes("SM1", keyword="stop")
        repeated = await world.writes("SM1", keyword="stop")
        assert (first.opted, repeated.opted) == ("stop", "stop")
        assert 0 < repeated.open_permits_ms <= first.open_permits_ms <= 60_001


async def test_a_window_never_goes_back_and_never_lies_ahead(store: Place) -> None:
    """`last_inbound_at` is a monotonic maximum, bounded by the store's now."""
    async with opened(store) as world:
        now = await world.store.now()
        await world.writes("SM1", received_at=now - timedelta(hours=2))
        assert await _window(world) == now - timedelta(hours=2)
        await world.writes("SM2", received_at=now - timedelta(hours=5))
        assert await _window(world) == now - timedelta(hours=2)
        await world.writes("SM3", received_at=now + timedelta(hours=5))
        ahead = await _window(world)
        assert ahead is not None
        assert ahead <= await world.store.now()


async def test_the_last_messages_of_a_person_are_remembered(store: Place) -> None:
    """The store remembers the last 32 messages of a person, however old, in little memory."""
    async with opened(store) as world:
        for number in range(40):
            await world.writes(f"SM{number}")
        names = [world.keys.inbound_seen(f"SM{number}") for number in range(40)]
        await world.redis.delete(*names)
        assert not (await world.writes("SM39")).first
        assert not (await world.writes("SM8")).first
        marks = await world.redis.hget(world.keys.person(world.store.people.digest(ANNA)), "in")  # type: ignore[misc]  # redis-py types both flavours at once
        assert len(marks) == 32 * 12


async def test_open_permits_are_counted_until_they_are_settled(store: Place) -> None:
    """The barrier of a STOP counts each POST that may start or is open, until settlement or
    lapse.
    """
    async with opened(store, tuning=LASTING) as world:
        claimed = await world.post()
        applied = await world.writes(keyword="stop")
        assert 0 < applied.open_permits_ms <= 60_001
        left_ms = await world.store.people.permits_left_ms(applied.person_digest)
        assert 0 < left_ms <= applied.open_permits_ms
        await world.settle(claimed, accepted())
        assert await world.store.people.permits_left_ms(applied.person_digest) == 0


async def test_a_permit_without_a_settlement_lapses(store: Place) -> None:
    """The permit of a killed worker ends on time, and the store reports it as unsettled."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.later(seconds=3)
        assert await world.store.people.permits_left_ms(claimed.facts.person_digest) < 0


async def test_facts_write_nothing(store: Place) -> None:
    """Reading facts writes nothing."""
    async with opened(store) as world:
        await world.writes()
        before = await world.contents()
        await world.store.people.facts(ANNA, SENDER, "", "order_update")
        await world.store.people.facts(BERT, "nobody", "", None)
        await world.store.people.permits_left_ms("nobody")
        assert await world.contents() == before


async def test_the_senders_account_is_known(store: Place) -> None:
    """Without an account the sender's registered account counts."""
    async with opened(store) as world:
        await world.writes(keyword="stop")
        assert await consents_of(world, account="") == await consents_of(world)


async def test_a_batch_of_inbounds_is_answered_one_by_one(store: Place) -> None:
    """One call for a batch of inbounds returns one result each, in order."""
    async with opened(store) as world:
        given = [
            Inbound(f"SM{number}", SENDER, ACCOUNT, address)
            for number, address in enumerate((ANNA, BERT, ANNA))
        ]
        answers = await world.store.people.apply_inbound([*given, given[0]])
        assert len({one.person_digest for one in answers}) == 2
        assert [one.first for one in answers[:3]] == [True, True, True]
        assert await world.count("inbound") == 3
        assert await world.store.people.apply_inbound([]) == []


async def test_no_address_is_stored(store: Place) -> None:
    """Persons are stored as keyed digests, except in the job, which is the message itself."""
    async with opened(store) as world:
        await world.accept()
        await world.writes(keyword="stop")
        await world.callback("delivered")
        digits = ANNA.removeprefix("whatsapp:+").encode()
        for name, value in (await world.contents()).items():
            assert digits not in name
            assert digits not in (value or b"")


async def test_start_undoes_the_providers_stop_at_its_sender(store: Place) -> None:
    """A START undoes 21610 only at its own sender."""
    async with opened(store) as world:
        stop = ConsentEntry(
            granted=False, account=ACCOUNT, purpose=None, sender=SENDER, source="provider"
        )
        await world.store.people.record_consent(ANNA, stop)
        await world.later(seconds=1)
        assert (await world.writes("SM1", keyword="start", sender="other")).opted is None
        assert [one.granted for one in await consents_of(world)] == [False]
        assert (await world.writes("SM2", keyword="start")).opted == "start"
        assert await consents_of(world) == ()


async def test_a_wait_list_may_name_a_message_that_is_gone(store: Place) -> None:
    """An inbound is applied even if the wait list names a message that is gone."""
    async with opened(store) as world:
        await world.enqueue()
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        await world.redis.delete(world.keys.row("m1"))
        assert (await world.writes()).released == 0
