"""Two spellings of one number, a release that counts them as two persons, and steps of what
persons say.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import strategies as st

from policies.consent import Standing, permission
from sendwindow.scripts import load_script
from sendwindow.vocabulary import Purpose
from tests.policies.test_spellings import ALIKE
from tests.support.shipped import rules
from tests.support.stores_world import (
    ACCOUNT,
    PERSON_KEY,
    SENDER,
    World,
)
from worker.ports.people import ConsentEntry
from worker.stores import ledger
from worker.stores.ledger import Tuning
from worker.stores.person_digests import PersonDigests
from worker.stores.worker_scripts import CONSTANTS, SOURCES

WHATSAPP = [pair for pair in ALIKE if pair[0].startswith("whatsapp:")]
SMS = [pair for pair in ALIKE if pair[0].startswith("+")]
BOTH_WAYS = [*WHATSAPP, *SMS, *[(other, one) for one, other in (*WHATSAPP, *SMS)]]
ONE, OTHER = "whatsapp:+5511995550123", "whatsapp:+551195550123"
"""The canonical spelling of a number in Brazil, and the one that WhatsApp may use."""

PLAIN = "whatsapp:+14155550123"
"""A number with one spelling."""

LASTING = Tuning(permit=timedelta(minutes=1))
DIGESTS = PersonDigests(PERSON_KEY)


@contextmanager
def another_release() -> Iterator[None]:
    """Make every spelling a person of its own, as in a release that knows no spellings."""
    plain = replace(SOURCES, constants={**CONSTANTS, "OPTIONAL_DIGITS": []})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PersonDigests, "persons_of", lambda self, address: self.digest(address))
        patch.setattr(ledger, "_CLAIM", load_script("claim", plain, flags=["allow-oom"]))
        yield


async def grant(world: World, address: str, purpose: Purpose | None = Purpose.UTILITY) -> None:
    word = await world.store.people.record_consent(
        address, ConsentEntry(True, ACCOUNT, purpose, None, "form")
    )
    assert word == "recorded"


async def standing(world: World, address: str, purpose: Purpose = Purpose.UTILITY) -> Standing:
    facts = await world.store.people.facts(address, SENDER, ACCOUNT, None)
    return permission(
        facts.person, purpose, SENDER, rules().policy, await world.store.now()
    ).standing


async def has_window(world: World, address: str) -> bool:
    facts = await world.store.people.facts(address, SENDER, ACCOUNT, None)
    return facts.person.last_inbound_at is not None


def person_key(world: World, spelling: str) -> str:
    return world.keys.person(DIGESTS.digest(spelling))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["grant", "marketing", "revoke", "stop", "start", "hello", "hello other"]),
        st.sampled_from([ONE, OTHER]),
        st.booleans(),
    ),
    max_size=8,
)


async def take(world: World, step: str, number: int, address: str) -> None:
    purpose = Purpose.MARKETING if step in {"marketing", "revoke"} else Purpose.UTILITY
    if step in {"grant", "marketing", "revoke"}:
        entry = ConsentEntry(step != "revoke", ACCOUNT, purpose, None, "form")
        await world.store.people.record_consent(address, entry)
    else:
        word, _, elsewhere = step.partition(" ")
        keyword = word if word != "hello" else None
        await world.writes(
            f"SM{address}{number}", keyword=keyword, address=address, sender=elsewhere or SENDER
        )
    await world.later(seconds=1)
