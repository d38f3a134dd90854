"""Senders of one messaging service: what Twilio refuses at one of them for a stop, it refuses at all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import pytest

from policies.consent import Standing, permission
from sendwindow.instants import from_ms
from sendwindow.vocabulary import Purpose
from tests.worker.shipped import rules
from tests.worker.stores_world import ACCOUNT, ANNA, REFUSED, SENDER, Place, World, opened
from worker.values.admissions import Stale
from worker.values.effects import OptOut
from worker.values.people import ConsentEntry

pytestmark = pytest.mark.asyncio

SERVICE: Final = "MG" + "1" * 32
SENDERS: Final = (SENDER, "other", "alone")
STOPPED: Final = OptOut(sender_only=True, evidence="twilio code 21610")


@asynccontextmanager
async def in_a_service(store: Place) -> AsyncIterator[World]:
    """Two senders in one service, a third in none."""
    async with opened(store) as world:
        await world.store.register_senders(
            dict.fromkeys(SENDERS, ACCOUNT), services={SENDER: SERVICE, "other": SERVICE}
        )
        yield world


async def stopped_at(world: World) -> list[str]:
    """The senders whose decisions see a withdrawal of their own."""
    found = []
    for sender in SENDERS:
        person = (await world.store.people.facts(ANNA, sender, ACCOUNT, None)).person
        if any(not fact.granted and fact.sender == sender for fact in person.consents):
            found.append(sender)
    return found


async def refused_by_twilio(world: World) -> datetime:
    """Twilio answers a message of the first sender with 21610; when its intent was written."""
    await world.accept()
    await world.callback("failed", effects=(STOPPED,))
    return from_ms(int((await world.row())["i"]))


async def test_a_stop_known_to_twilio_covers_the_whole_service(store: Place) -> None:
    """21610 stops every sender of the service, and no other; the ledger says which service."""
    async with in_a_service(store) as world:
        await refused_by_twilio(world)
        assert await stopped_at(world) == [SENDER, "other"]
        (line,) = await world.store.people.consents(ANNA)
        assert (line["granted"], line["sender"], line["source"]) == (False, SERVICE, "provider")


async def test_without_a_service_it_covers_the_sender(store: Place) -> None:
    """As far as Twilio's own list reaches."""
    async with opened(store) as world:
        await world.store.register_senders({"alone": ACCOUNT})
        await refused_by_twilio(world)
        assert await stopped_at(world) == [SENDER]


@pytest.mark.parametrize("sender, still", [(SENDER, []), ("other", []), ("alone", [SENDER, "other"])])
async def test_a_start_at_any_of_its_senders_undoes_it(store: Place, sender: str, still: Sequence[str]) -> None:
    """The person writes START to one of them; told again or late, the old refusal stops nothing more."""
    async with in_a_service(store) as world:
        await refused_by_twilio(world)
        await world.later(seconds=5)
        await world.writes(keyword="start", sender=sender)
        assert await stopped_at(world) == still
        await world.callback("failed", effects=(STOPPED,))
        assert await stopped_at(world) == still


@pytest.mark.parametrize("service", [None, "MG" + "2" * 32])
async def test_it_stays_with_a_sender_that_leaves_its_service(store: Place, service: str | None) -> None:
    """It was refused itself: in another service or in none, only a START to it undoes that. Said once in the ledger."""
    async with in_a_service(store) as world:
        await refused_by_twilio(world)
        await world.store.register_senders({SENDER: ACCOUNT}, services={SENDER: service} if service else {})
        assert await stopped_at(world) == [SENDER, "other"]
        await world.later(seconds=5)
        await world.writes("SM901", keyword="start", sender="other")
        assert await stopped_at(world) == [SENDER]
        assert len(await world.store.people.consents(ANNA)) == 2
        await world.writes("SM902", keyword="start")
        assert await stopped_at(world) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_one_start_undoes_what_several_of_its_senders_met(store: Place, order: Sequence[int]) -> None:
    """Two messages were on their way, in whichever order Twilio's refusals are heard."""
    async with in_a_service(store) as world:
        posted = []
        for message_id, sender in (("m1", SENDER), ("m2", "other")):
            await world.later(seconds=1)
            posted.append((await world.post(message_id, sender=sender), sender))
        for claimed, sender in (posted[number] for number in order):
            await world.settle(claimed, REFUSED, effects=(STOPPED,), sender=sender)
        await world.later(seconds=1)
        await world.writes(keyword="start", sender="other")
        assert await stopped_at(world) == []


@pytest.mark.parametrize("refused", [SENDER, "other"])
async def test_a_start_at_one_sender_leaves_what_was_withdrawn_at_another(store: Place, refused: str) -> None:
    """The person asked for silence from one sender: that is no stop of the service's, whichever sender met one too."""
    async with in_a_service(store) as world:
        await world.store.people.record_consent(ANNA, ConsentEntry(False, ACCOUNT, None, SENDER, "call"))
        await world.later(seconds=1)
        await world.settle(await world.post(sender=refused), REFUSED, effects=(STOPPED,), sender=refused)
        await world.later(seconds=1)
        await world.writes(keyword="start", sender="other")
        assert await stopped_at(world) == [SENDER]
        await world.later(seconds=1)
        await world.writes("SM901", keyword="start")
        assert await stopped_at(world) == []


async def test_a_grant_at_one_sender_is_held_against_the_services_stop(store: Place) -> None:
    """A grant dated after it is refused unless it is meant. Then it undoes the stop where it was given, only there."""
    async with in_a_service(store) as world:
        await refused_by_twilio(world)
        await world.later(seconds=5)
        grant = ConsentEntry(True, ACCOUNT, None, "other", "test")
        assert await world.store.people.record_consent(ANNA, grant) == "opted_out"
        assert await world.store.people.record_consent(ANNA, grant, after_stop=True) == "recorded"
        standings = []
        for sender in SENDERS:
            person = (await world.store.people.facts(ANNA, sender, ACCOUNT, None)).person
            standings.append(
                permission(person, Purpose.UTILITY, sender, rules().policy, await world.store.now()).standing
            )
        assert standings == [Standing.OPTED_OUT, Standing.GRANTED, Standing.NONE]


async def test_a_sender_that_changes_its_service_makes_decisions_stale(store: Place) -> None:
    """What was decided under another service's stops is decided again; said twice, nothing changes."""
    async with in_a_service(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.store.register_senders({SENDER: ACCOUNT}, services={SENDER: SERVICE})
        revision = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).sender.revision
        assert revision == claimed.facts.sender.revision
        await world.store.register_senders({SENDER: ACCOUNT})
        assert isinstance(await world.admit(claimed), Stale)
