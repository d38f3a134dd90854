"""Senders of one messaging service: a stop that Twilio enforces at one of them holds at all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import pytest

from policies.consent import Standing, permission
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import Purpose
from tests.support.cast import ANNA
from tests.support.shipped import rules
from tests.support.stores_world import ACCOUNT, REFUSED, SENDER, Place, World, opened
from worker.ports.admissions import Stale
from worker.ports.effects import OptOut
from worker.ports.people import ConsentEntry

pytestmark = pytest.mark.asyncio

SERVICE: Final = "MG" + "1" * 32
SENDERS: Final = (SENDER, "other", "alone")
STOPPED: Final = OptOut(sender_only=True, evidence="twilio code 21610")


@asynccontextmanager
async def in_a_service(store: Place) -> AsyncIterator[World]:
    """Register two senders in one service and a third in none."""
    async with opened(store) as world:
        await world.store.register_senders(
            dict.fromkeys(SENDERS, ACCOUNT), services={SENDER: SERVICE, "other": SERVICE}
        )
        yield world


async def stopped_at(world: World) -> list[str]:
    """Return the senders whose decisions see a withdrawal of their own."""
    found = []
    for sender in SENDERS:
        person = (await world.store.people.facts(ANNA, sender, ACCOUNT, None)).person
        if any(not fact.granted and fact.sender == sender for fact in person.consents):
            found.append(sender)
    return found


async def refused_by_twilio(world: World) -> datetime:
    """Let Twilio refuse a message of the first sender with 21610, and return when its intent was
    written.
    """
    await world.accept()
    await world.callback("failed", effects=(STOPPED,))
    return from_ms(int((await world.row())["i"]))


async def test_a_stop_known_to_twilio_covers_the_whole_service(store: Place) -> None:
    """21610 stops every sender of the service and no other, and the ledger names the service."""
    async with in_a_service(store) as world:
        await refused_by_twilio(world)
        assert await stopped_at(world) == [SENDER, "other"]
        (line,) = await world.store.people.consents(ANNA)
        assert (line["granted"], line["sender"], line["source"]) == (False, SERVICE, "provider")


async def test_without_a_service_it_covers_the_sender(store: Place) -> None:
    """Without a service, 21610 covers the sender only, as Twilio's own list does."""
    async with opened(store) as world:
        await world.store.register_senders({"alone": ACCOUNT})
        await refused_by_twilio(world)
        assert await stopped_at(world) == [SENDER]


@pytest.mark.parametrize(
    "sender, still", [(SENDER, []), ("other", []), ("alone", [SENDER, "other"])]
)
async def test_a_start_at_any_of_its_senders_undoes_it(
    store: Place, sender: str, still: Sequence[str]
) -> None:
    """A START to any sender of the service undoes 21610, and a late repetition of the refusal
    stops nothing.
    """
    async with in_a_service(store) as world:
        await refused_by_twilio(world)
        await world.later(seconds=5)
        await world.writes(keyword="start", sender=sender)
        assert await stopped_at(world) == still
        await world.callback("failed", effects=(STOPPED,))
        assert await stopped_at(world) == still


@pytest.mark.parametrize("service", [None, "MG" + "2" * 32])
async def test_it_stays_with_a_sender_that_leaves_its_service(
    store: Place, service: str | None
) -> None:
    """A refused sender keeps its stop when it leaves the service, and only a START to it undoes
    that. The ledger has it once.
    """
    async with in_a_service(store) as world:
        await refused_by_twilio(world)
        await world.store.register_senders(
            {SENDER: ACCOUNT}, services={SENDER: service} if service else {}
        )
        assert await stopped_at(world) == [SENDER, "other"]
        await world.later(seconds=5)
        await world.writes("SM901", keyword="start", sender="other")
        assert await stopped_at(world) == [SENDER]
        assert len(await world.store.people.consents(ANNA)) == 2
        await world.writes("SM902", keyword="start")
        assert await stopped_at(world) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_one_start_undoes_what_several_of_its_senders_met(
    store: Place, order: Sequence[int]
) -> None:
    """One START undoes 21610 of two messages, in whichever order the refusals arrive."""
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
async def test_a_start_at_one_sender_leaves_what_was_withdrawn_at_another(
    store: Place, refused: str
) -> None:
    """A START at one sender leaves a withdrawal at another, since that is no stop of the
    service.
    """
    async with in_a_service(store) as world:
        await world.store.people.record_consent(
            ANNA, ConsentEntry(False, ACCOUNT, None, SENDER, "call")
        )
        await world.later(seconds=1)
        await world.settle(
            await world.post(sender=refused), REFUSED, effects=(STOPPED,), sender=refused
        )
        await world.later(seconds=1)
        await world.writes(keyword="start", sender="other")
        assert await stopped_at(world) == [SENDER]
        await world.later(seconds=1)
        await world.writes("SM901", keyword="start")
        assert await stopped_at(world) == []


async def test_a_grant_at_one_sender_is_held_against_the_services_stop(store: Place) -> None:
    """A grant dated after the service's stop is refused unless it is meant.

    Then it undoes the stop only at its own sender.
    """
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
                permission(
                    person, Purpose.UTILITY, sender, rules().policy, await world.store.now()
                ).standing
            )
        assert standings == [Standing.OPTED_OUT, Standing.GRANTED, Standing.NONE]


async def test_a_sender_that_changes_its_service_makes_decisions_stale(store: Place) -> None:
    """A sender's new service makes decisions stale; registering the same one again changes nothing.

    What was decided under the stops of another service must be decided again.
    """
    async with in_a_service(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        await world.store.register_senders({SENDER: ACCOUNT}, services={SENDER: SERVICE})
        revision = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).sender.revision
        assert revision == claimed.facts.sender.revision
        await world.store.register_senders({SENDER: ACCOUNT})
        assert isinstance(await world.admit(claimed), Stale)
