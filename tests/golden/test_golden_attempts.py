"""Golden rows of the version that kept evidence in `ev`, `sid:`, `cb:`, `dup`, `fa`, `tg`.

The attempts table holds all of it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from sendwindow.row_fields import FOLDED_FIELDS
from sendwindow.scripts import execute
from sendwindow.vocabulary import Reason, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import ACCOUNT, FAR, SENDER, Place, World, accepted, opened
from worker.ports.claims import ClaimedMessage, Owner
from worker.ports.records import SidLine
from worker.ports.settlements import SettleAgain
from worker.ports.stored_facts import StoredFacts
from worker.ports.unknowns import Resolution

pytestmark = pytest.mark.asyncio

FOLDER = Path(__file__).parent / "attempts"
NAMES = sorted(file.stem for file in FOLDER.iterdir())
EXPIRES = "4070908800000"


async def _put(world: World, name: str) -> dict[str, Any]:
    """Store m1 as that version did, with its job and in its place."""
    kept: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    await world.enqueue(template="order_update")
    await world.redis.zrem(world.keys.lane(f"{SENDER}|normal|"), "m1")
    row = kept["row"] | {"e": EXPIRES, "p": world.store.people.digest(ANNA)}
    pipeline = world.redis.pipeline()
    pipeline.delete(world.keys.row("m1"), world.keys.timeline("m1"))
    pipeline.hset(world.keys.row("m1"), mapping=row)
    pipeline.rpush(world.keys.timeline("m1"), *kept["timeline"])
    for sid, bound in kept["sids"].items():
        pipeline.set(world.keys.sid(sid), bound)
    await pipeline.execute()
    return kept


async def _raw(world: World) -> dict[str, str]:
    fields: Any = await execute(world.redis, "HGETALL", world.keys.row("m1"))
    return {name.decode(): value.decode() for name, value in fields.items()}


def _is_old(name: str) -> bool:
    return name in FOLDED_FIELDS or name.startswith(("sid:", "cb:"))


@pytest.mark.parametrize("name", NAMES)
async def test_a_touched_row_has_its_evidence_in_the_table_only(store: Place, name: str) -> None:
    """The first script that loads the row moves every old field into the table, and the record
    is unchanged.
    """
    async with opened(store) as world:
        await _put(world, name)
        before = await world.row()
        assert any(map(_is_old, await _raw(world)))
        await world.store.ledger.release([("m1", 1)])
        fields = await _raw(world)
        assert not any(map(_is_old, fields))
        assert all(len(value) <= 64 for value in fields.values())
        after = await world.row()
        assert {key: after.get(key) for key in FOLDED_FIELDS if key not in {"ev", "dup"}} == {
            key: before.get(key) for key in FOLDED_FIELDS if key not in {"ev", "dup"}
        }


async def test_proof_at_hand_still_ends_the_message(store: Place) -> None:
    """A proof from before the deploy still ends the message.

    Its Page, copies and free attempt are known.
    """
    async with opened(store) as world:
        kept = await _put(world, "posting")
        facts = (await world.claim(0), await world.store.people.facts(ANNA, SENDER, ACCOUNT, None))[
            1
        ]
        claimed = _claimed(facts, int(kept["row"]["f"]))
        settled = await world.settle(claimed, SettleAgain("retrying", "throttled"), attempt=3)  # type: ignore[arg-type]  # plain words
        assert settled.stage == "accepted"
        row = await world.row()
        assert (row["sid"], row["st"], row["tg"], row["fa"]) == ("SMtwo", "sent", "3", "1")
        sids = await world.sids()
        assert (sids["SMone"], len(sids)) == (
            SidLine(2, "failed", has_failed=True, was_sent_again=False, code=30500),
            7,
        )
        assert not (await world.callback("queued", "SMq9", attempt=2)).moved


async def test_a_message_that_was_opened_again_is_ended_by_later_proof(store: Place) -> None:
    """A message that failed under the older version and is then delivered is not sent again."""
    async with opened(store) as world:
        await _put(world, "reopened")
        applied = await world.callback("delivered", "SMone")
        assert (applied.moved, applied.is_end) == (True, True)
        row = await world.row()
        assert (row["s"], row["sid"], row["st"], row["fm"]) == (
            "accepted",
            "SMone",
            "delivered",
            "t",
        )
        assert "c" not in row


async def test_a_repeated_settlement_still_says_that_it_proved_a_copy(store: Place) -> None:
    """A settlement repeated after the deploy returns the same reply about the copy."""
    async with opened(store) as world:
        kept = await _put(world, "copied")
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        claimed = _claimed(facts, int(kept["row"]["dup"]))
        settled = await world.settle(claimed, accepted("SMtwo"), attempt=2)
        assert (settled.applied, settled.has_copy) == (True, True)
        assert not (await world.callback("failed", "SMtwo", attempt=2)).moved


async def test_an_attempt_in_doubt_keeps_its_own_intent(store: Place) -> None:
    """An unproven first attempt keeps the intent that the timeline held."""
    async with opened(store) as world:
        kept = await _put(world, "copied")
        digest = world.store.people.digest(ANNA)
        await world.redis.zadd(world.keys.permits(digest), {"1:m1": 1})
        again = SettleAgain(Stage.RETRYING, Reason.RESENT_BY_RULE)
        await world.store.unknowns.resolve([Resolution("m1", 2, again)])
        first = json.loads(kept["timeline"][0])["at"]
        assert (await _raw(world))["@1"] == f"{first}f"


def _claimed(facts: StoredFacts, fence: int) -> ClaimedMessage:
    return ClaimedMessage(
        message_id="m1",
        fence=fence,
        payload=None,
        attempts=0,
        expires_at=FAR,
        crashes=0,
        cancel_asked=False,
        facts=facts,
        enqueued_at=FAR,
        owner=Owner(ACCOUNT, SENDER),
    )
