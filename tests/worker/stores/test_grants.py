"""Grants and withdrawals, and which of them holds."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.consent import Standing, permission
from sendwindow.vocabulary import Purpose
from tests.support.cast import ANNA, BERT
from tests.support.people_steps import consents_of, standing
from tests.support.stores_world import (
    ACCOUNT,
    SENDER,
    Place,
    opened,
)
from worker.ports.people import ConsentEntry
from worker.settings.settings import Settings
from worker.wiring import load_rules

pytestmark = pytest.mark.asyncio


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
        (fact,) = await consents_of(world)
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
        assert await standing(world, Purpose.MARKETING) is Standing.OPTED_OUT
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
        assert await standing(world) is (Standing.OPTED_OUT if opted_out else Standing.GRANTED)
        assert await standing(world, Purpose.MARKETING) is Standing.OPTED_OUT


@pytest.mark.parametrize("purpose", ["utility", "marketing", None])
@pytest.mark.parametrize("sender", [SENDER, None])
async def test_a_grant_after_a_stop_is_refused(
    store: Place, purpose: str | None, sender: str | None
) -> None:
    """A grant after a STOP, present or dated later, returns `opted_out` and writes nothing."""
    async with opened(store) as world:
        people = world.store.people
        await world.writes("SM1", "stop")
        stopped_at = (await consents_of(world))[0].at
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
        stopped_at = (await consents_of(world))[0].at
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
        assert len(await consents_of(world)) == 1
