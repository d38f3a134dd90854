"""Steps of persons that several test files use."""

from policies.consent import Standing, permission
from policies.facts import ConsentFact
from sendwindow.vocabulary import Purpose
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    SENDER,
    World,
)
from worker.settings.settings import Settings
from worker.wiring import load_rules


async def consents_of(
    world: World, sender: str = SENDER, account: str = ACCOUNT, address: str = ANNA
) -> tuple[ConsentFact, ...]:
    return (await world.store.people.facts(address, sender, account, None)).person.consents


async def standing(world: World, purpose: Purpose = Purpose.UTILITY) -> Standing:
    person = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person
    return permission(
        person, purpose, SENDER, load_rules(Settings()).policy, await world.store.now()
    ).standing
