"""Golden rows: the rows of a worker before a deploy, read by the one after.

A file is never edited.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policies.consent import permission
from policies.facts import ConsentFact
from sendwindow.row_fields import FOLDED_FIELDS, ROW_FIELDS
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import Purpose, Stage
from tests.support.cast import BERT
from tests.support.shipped import rules
from tests.support.stores_world import ACCOUNT, SENDER, Place, World, opened
from worker.ports.people import ConsentEntry

pytestmark = pytest.mark.asyncio

FOLDER = Path(__file__).parent


def _read(name: str) -> dict[str, str]:
    fields: dict[str, str] = json.loads((FOLDER / name).read_text())
    return fields


async def _put(world: World, key: str, fields: dict[str, str]) -> None:
    await world.redis.delete(key)
    await world.redis.hset(key, mapping=dict(fields))  # type: ignore[misc]  # redis-py types both flavours


async def test_every_stage_has_a_golden_row() -> None:
    """Every stage has a golden row, and every field ever written still has a meaning."""
    rows = {file.name: _read(f"rows/{file.name}") for file in (FOLDER / "rows").iterdir()}
    assert {row["s"] for row in rows.values()} == set(Stage)
    assert all(row.keys() <= ROW_FIELDS.keys() | FOLDED_FIELDS.keys() for row in rows.values())


@pytest.mark.parametrize("stage", Stage)
async def test_a_golden_row_is_a_record(store: Place, stage: Stage) -> None:
    """A golden row shows every field as it was written, and its time of enqueue."""
    row = _read(f"rows/{stage}-1.json")
    async with opened(store) as world:
        await _put(world, world.keys.row("m1"), row)
        record = await world.store.records.record("m1")
        assert record is not None
        assert (record.row, record.timeline) == (row, ({"at": int(row["q"]), "e": "enqueued"},))


@pytest.mark.parametrize("stage", [Stage.QUEUED, Stage.WAITING, Stage.RETRYING])
async def test_a_golden_row_in_a_lane_is_claimed(store: Place, stage: Stage) -> None:
    """A message that waited through a deploy keeps its times, its attempts and its rule."""
    row = _read(f"rows/{stage}-1.json")
    async with opened(store) as world:
        await world.enqueue("m1", campaign="spring")
        await _put(world, world.keys.row("m1"), row)
        claimed = await world.claim_one()
        assert (claimed.enqueued_at, claimed.expires_at) == (
            from_ms(int(row["q"])),
            from_ms(int(row["e"])),
        )
        assert claimed.attempts == claimed.tries == int(row["n"])


async def test_a_golden_person_keeps_consents_and_window(store: Place) -> None:
    """A golden person keeps a grant with an end, a withdrawal of one purpose, STOP, and the last
    inbound.
    """
    async with opened(store) as world:
        await _put(
            world,
            world.keys.person(world.store.people.digest(BERT)),
            _read("people/consents-1.json"),
        )
        person = (await world.store.people.facts(BERT, SENDER, ACCOUNT, None)).person
        ends_at = datetime(2099, 1, 1, tzinfo=UTC)
        assert set(person.consents) == {
            ConsentFact(True, from_ms(1795150236476), Purpose.MARKETING, SENDER, ends_at),
            ConsentFact(False, from_ms(1795236636479), Purpose.UTILITY),
            ConsentFact(False, from_ms(1795236636481)),
        }
        assert (person.last_inbound_at, person.revision) == (from_ms(1795236636481), 5)


SERVICE = "MG" + "1" * 32


async def _at(world: World, sender: str, days: int = 0) -> dict[str, str]:
    """Return how Bert stands towards purposes at a sender, days after the golden entries."""
    person = (await world.store.people.facts(BERT, sender, ACCOUNT, None)).person
    now = from_ms(1795236636500 + days * 86_400_000)
    return {
        purpose.value: permission(person, purpose, sender, rules().policy, now).standing.value
        for purpose in (Purpose.UTILITY, Purpose.REPLY, Purpose.MARKETING)
    }


async def test_a_golden_stop_in_a_service_and_at_its_sender_stands(store: Place) -> None:
    """An older version's stop, with one date at service and sender, stands after an earlier
    START.
    """
    async with opened(store) as world:
        await _put(
            world,
            world.keys.person(world.store.people.digest(BERT)),
            _read("people/consents-0.json"),
        )
        senders = {SENDER: ACCOUNT, "other": ACCOUNT, "alone": ACCOUNT}
        await world.store.register_senders(senders, services={"other": SERVICE})
        stopped = dict.fromkeys(("utility", "reply", "marketing"), "opted_out")
        assert await _at(world, SENDER) == await _at(world, "other") == stopped
        assert await _at(world, "alone") == {
            "utility": "opted_out",
            "reply": "granted",
            "marketing": "none",
        }


async def test_a_golden_withdrawal_of_a_purpose_is_not_forgotten_by_what_is_written_next(
    store: Place,
) -> None:
    """An older version's withdrawal next to the grants outlasts a limited grant that joins it
    there.
    """
    async with opened(store) as world:
        await _put(
            world,
            world.keys.person(world.store.people.digest(BERT)),
            _read("people/consents-0.json"),
        )
        at, ends_at = from_ms(1795236636490), from_ms(1795236636500 + 5 * 86_400_000)
        await world.later(days=9999)
        entry = ConsentEntry(True, ACCOUNT, "utility", None, "form", at=at, expires_at=ends_at)
        assert await world.store.people.record_consent(BERT, entry) == "opted_out"
        assert await world.store.people.record_consent(BERT, entry, after_stop=True) == "recorded"
        assert (await _at(world, "alone"))["utility"] == "granted"
        assert (await _at(world, "alone", days=6)) == {
            "utility": "opted_out",
            "reply": "granted",
            "marketing": "none",
        }


async def test_a_golden_projection_keeps_every_kind_of_field(store: Place) -> None:
    """A golden projection keeps two grants of a purpose, a withdrawal, an undone stop and a
    provider's stop.
    """
    async with opened(store) as world:
        await _put(
            world,
            world.keys.person(world.store.people.digest(BERT)),
            _read("people/consents-2.json"),
        )
        await world.store.register_senders(
            {SENDER: ACCOUNT, "other": ACCOUNT, "alone": ACCOUNT}, services={"other": SERVICE}
        )
        person = (await world.store.people.facts(BERT, SENDER, ACCOUNT, None)).person
        assert set(person.consents) == {
            ConsentFact(True, from_ms(1795150236476)),
            ConsentFact(
                True, from_ms(1795236636476), Purpose.MARKETING, SENDER, from_ms(1826772636476)
            ),
            ConsentFact(
                True,
                from_ms(1795150236476),
                Purpose.MARKETING,
                SENDER,
                datetime(2099, 1, 1, tzinfo=UTC),
            ),
            ConsentFact(False, from_ms(1795236636479), Purpose.UTILITY),
            ConsentFact(False, from_ms(1795236636482), sender=SENDER),
        }
        assert await _at(world, "other") == dict.fromkeys(
            ("utility", "reply", "marketing"), "opted_out"
        )
        assert await _at(world, "alone") == {
            "utility": "opted_out",
            "reply": "granted",
            "marketing": "none",
        }
