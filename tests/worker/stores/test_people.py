"""Persons: windows that only the person opens, stops that last, consent with its evidence."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policies.consent import Standing, permission
from policies.facts import ConsentFact
from sendwindow.vocabulary import Purpose
from tests.support.cast import ANNA, BERT
from tests.support.stores_world import (
    ACCOUNT,
    REFUSED,
    SENDER,
    WAITS,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.effects import OptOut
from worker.ports.people import ConsentEntry, Inbound
from worker.settings.settings import Settings
from worker.stores.ledger import Tuning
from worker.wiring import load_rules

pytestmark = pytest.mark.asyncio

LASTING = Tuning(permit=timedelta(minutes=1))
"""Permits that outlast a test on any machine."""


async def _person(
    world: World, sender: str = SENDER, account: str = ACCOUNT, address: str = ANNA
) -> tuple[ConsentFact, ...]:
    return (await world.store.people.facts(address, sender, account, None)).person.consents


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


async def test_stop_covers_the_account_and_start_undoes_it(store: Place) -> None:
    """A STOP to one sender stops every sender of the account, but not another channel's address."""
    async with opened(store) as world:
        grant = ConsentEntry(
            granted=True, account=ACCOUNT, purpose="marketing", sender=None, source="form"
        )
        await world.store.people.record_consent(ANNA, grant)
        assert (await world.writes("SM1", keyword="stop")).opted == "stop"
        for sender in (SENDER, "other"):
            facts = await _person(world, sender)
            assert [(one.granted, one.purpose, one.sender) for one in facts if not one.granted] == [
                (False, None, None)
            ]
        assert await _person(world, account="another") == ()
        assert await _person(world, address="+14155550123") == ()
        await world.later(seconds=1)
        assert (await world.writes("SM2", keyword="start")).opted == "start"
        assert [(one.granted, one.purpose) for one in await _person(world)] == [
            (True, Purpose.MARKETING)
        ]
        history = await world.store.people.consents(ANNA)
        assert [line["granted"] for line in history] == [True, False, True]
        assert [line["source"] for line in history] == ["form", "inbound", "inbound"]


async def test_start_without_a_stop_grants_nothing(store: Place) -> None:
    """A START from a person who never stopped is an ordinary message."""
    async with opened(store) as world:
        assert (await world.writes("SM1", keyword="start")).opted is None
        assert await _person(world) == ()
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
        assert [one.granted for one in await _person(world)] == [False]


async def test_an_old_stop_does_not_undo_a_later_start(store: Place) -> None:
    """A late STOP from before a START does not undo that START."""
    async with opened(store) as world:
        now = await world.store.now()
        await world.writes("SM1", keyword="start", received_at=now - timedelta(hours=1))
        await world.writes("SM2", keyword="stop", received_at=now - timedelta(hours=2))
        assert await _person(world) == ()
        await world.writes("SM3", keyword="stop", received_at=now - timedelta(minutes=1))
        assert [one.granted for one in await _person(world)] == [False]


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


async def _standing(world: World, purpose: Purpose = Purpose.UTILITY) -> Standing:
    person = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person
    return permission(
        person, purpose, SENDER, load_rules(Settings()).policy, await world.store.now()
    ).standing


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
        assert await _standing(world) is Standing.OPTED_OUT


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
        assert await _standing(world) is Standing.GRANTED
        await world.writes("SM3", "stop")
        assert await _standing(world) is Standing.OPTED_OUT
        await people.record_consent(ANNA, grant, after_stop=True)
        await world.later(seconds=10)
        assert await _standing(world) is Standing.GRANTED


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


async def test_a_permit_nobody_settles_lapses(store: Place) -> None:
    """The permit of a killed worker ends on time, and the store reports it as unsettled."""
    async with opened(store) as world:
        claimed = await world.post()
        await world.later(seconds=3)
        assert await world.store.people.permits_left_ms(claimed.facts.person_digest) < 0


async def test_consent_is_kept_with_its_proof(store: Place) -> None:
    """The ledger keeps source, time, method, wording and expiry; a decision sees the projection."""
    async with opened(store) as world:
        now = await world.store.now()
        ends_at = now + timedelta(days=90)
        entry = ConsentEntry(
            granted=True,
            account=ACCOUNT,
            purpose="utility",
            sender=SENDER,
            source="checkout form",
            wording="v3",
            evidence="order 12",
            at=now - timedelta(days=1),
            expires_at=ends_at,
        )
        await world.store.people.record_consent(ANNA, entry)
        (fact,) = await _person(world)
        assert (fact.granted, fact.purpose, fact.sender, fact.expires_at) == (
            True,
            Purpose.UTILITY,
            SENDER,
            ends_at,
        )
        assert fact.at == now - timedelta(days=1)
        (line,) = await world.store.people.consents(ANNA)
        assert line == {
            "granted": True,
            "account": ACCOUNT,
            "purpose": "utility",
            "sender": SENDER,
            "source": "checkout form",
            "wording": "v3",
            "evidence": "order 12",
            "at": now - timedelta(days=1),
            "expires_at": ends_at,
        }


async def test_the_latest_word_about_a_purpose_counts(store: Place) -> None:
    """An imported older grant does not outrank a later withdrawal, and the ledger keeps both."""
    async with opened(store) as world:
        now = await world.store.now()
        for granted, days in ((False, 1), (True, 2)):
            entry = ConsentEntry(
                granted, ACCOUNT, "marketing", None, "import", at=now - timedelta(days=days)
            )
            await world.store.people.record_consent(ANNA, entry)
        assert await _standing(world, Purpose.MARKETING) is Standing.OPTED_OUT
        assert len(await world.store.people.consents(ANNA)) == 2


@pytest.mark.parametrize(
    "days, opted_out", [(0, False), (2, True)], ids=["later than the stop", "older than the stop"]
)
async def test_a_grant_for_everything_undoes_only_an_earlier_stop(
    store: Place, days: int, opted_out: bool
) -> None:
    """A grant of everything counts from its date on, so it undoes only an earlier STOP."""
    async with opened(store) as world:
        now = await world.store.now()
        stop = ConsentEntry(
            granted=False, account=ACCOUNT, purpose=None, sender=None, source="call"
        )
        grant = ConsentEntry(
            granted=True, account=ACCOUNT, purpose=None, sender=None, source="form"
        )
        await world.store.people.record_consent(ANNA, replace(stop, at=now - timedelta(days=1)))
        await world.store.people.record_consent(
            ANNA, replace(grant, at=now - timedelta(days=days)), after_stop=True
        )
        assert await _standing(world) is (Standing.OPTED_OUT if opted_out else Standing.GRANTED)
        assert await _standing(world, Purpose.MARKETING) is Standing.OPTED_OUT


@pytest.mark.parametrize("purpose", ["utility", "marketing", None])
@pytest.mark.parametrize("sender", [SENDER, None])
async def test_a_grant_after_a_stop_is_refused(
    store: Place, purpose: str | None, sender: str | None
) -> None:
    """A grant after a STOP, present or dated later, returns `opted_out` and writes nothing."""
    async with opened(store) as world:
        people = world.store.people
        await world.writes("SM1", "stop")
        stopped_at = (await _person(world))[0].at
        await world.later(hours=1)
        before = await world.contents()
        grant = ConsentEntry(True, ACCOUNT, purpose, sender, "form")
        for at in (None, stopped_at + timedelta(minutes=1)):
            assert await people.record_consent(ANNA, replace(grant, at=at)) == "opted_out"
        assert await world.contents() == before


async def test_a_grant_dated_before_a_stop_is_recorded_and_changes_nothing(store: Place) -> None:
    """A grant dated before a STOP is recorded in the ledger, and the STOP still outranks it."""
    async with opened(store) as world:
        people = world.store.people
        await world.writes("SM1", "stop")
        stopped_at = (await _person(world))[0].at
        for number, purpose in enumerate(("utility", None)):
            grant = ConsentEntry(
                True, ACCOUNT, purpose, None, "form", at=stopped_at - timedelta(days=number)
            )
            assert await people.record_consent(ANNA, grant) == "recorded"
        person = (await people.facts(ANNA, SENDER, ACCOUNT, None)).person
        standing = permission(
            person, Purpose.UTILITY, SENDER, load_rules(Settings()).policy, await world.store.now()
        )
        assert standing.standing is Standing.OPTED_OUT
        assert len(await people.consents(ANNA)) == 3


async def test_a_grant_that_is_said_to_come_after_the_stop_counts(store: Place) -> None:
    """With `after_stop` one purpose is granted again, and later renewals need no flag."""
    async with opened(store) as world:
        people = world.store.people
        await world.writes("SM1", "stop")
        await world.later(seconds=1)
        grant = ConsentEntry(True, ACCOUNT, "utility", None, "form")
        assert await people.record_consent(ANNA, grant, after_stop=True) == "recorded"
        await world.later(seconds=1)
        assert await people.record_consent(ANNA, replace(grant, sender=SENDER)) == "recorded"
        assert await people.record_consent(ANNA, replace(grant, purpose="marketing")) == "opted_out"
        person = (await people.facts(ANNA, SENDER, ACCOUNT, None)).person
        policy, now = load_rules(Settings()).policy, await world.store.now()
        assert permission(person, Purpose.UTILITY, SENDER, policy, now).standing is Standing.GRANTED
        assert (
            permission(person, Purpose.MARKETING, SENDER, policy, now).standing
            is Standing.OPTED_OUT
        )
        await world.writes("SM2", "stop")
        await world.later(seconds=1)
        assert await people.record_consent(ANNA, grant) == "opted_out"


async def test_a_grant_is_refused_only_where_a_withdrawal_holds(store: Place) -> None:
    """A grant is refused only where a withdrawal holds: other purposes, senders and accounts may
    be granted. After a START every grant is possible.
    """
    async with opened(store) as world:
        people = world.store.people
        await people.record_consent(ANNA, ConsentEntry(False, ACCOUNT, "marketing", SENDER, "call"))
        await world.later(seconds=1)
        grant = ConsentEntry(True, ACCOUNT, "marketing", None, "form")
        assert await people.record_consent(ANNA, grant) == "opted_out"
        assert await people.record_consent(ANNA, replace(grant, sender=SENDER)) == "opted_out"
        assert await people.record_consent(ANNA, replace(grant, sender="other")) == "recorded"
        assert await people.record_consent(ANNA, replace(grant, purpose="utility")) == "recorded"
        assert await people.record_consent(ANNA, replace(grant, account="another")) == "recorded"
        await world.writes("SM1", "stop", address=BERT)
        await world.later(seconds=1)
        assert await people.record_consent(BERT, grant) == "opted_out"
        await world.writes("SM2", "start", address=BERT)
        await world.later(seconds=1)
        assert await people.record_consent(BERT, grant) == "recorded"


async def test_a_withdrawal_that_changes_nothing_is_still_a_line(store: Place) -> None:
    """A withdrawal that changes nothing is still a line of the ledger."""
    async with opened(store) as world:
        now = await world.store.now()
        entry = ConsentEntry(False, ACCOUNT, None, None, "call", at=now)
        for _ in range(2):
            await world.store.people.record_consent(ANNA, entry)
        assert len(await world.store.people.consents(ANNA)) == 2
        assert len(await _person(world)) == 1


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
        assert await _person(world, account="") == await _person(world)


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
        assert [one.granted for one in await _person(world)] == [False]
        assert (await world.writes("SM2", keyword="start")).opted == "start"
        assert await _person(world) == ()


async def test_a_wait_list_may_name_a_message_that_is_gone(store: Place) -> None:
    """An inbound is applied even if the wait list names a message that is gone."""
    async with opened(store) as world:
        await world.enqueue()
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        await world.redis.delete(world.keys.row("m1"))
        assert (await world.writes()).released == 0
