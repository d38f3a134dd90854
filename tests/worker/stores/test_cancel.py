"""What a cancel answers and does in each stage, before and after a worker records its end."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from redis.exceptions import ResponseError

from sendwindow.protocol import CANCEL
from sendwindow.scripts import Script
from sendwindow.vocabulary import Reason, Stage
from tests.support.stores_world import (
    AT_ONCE,
    DEAD,
    FAR,
    LATER,
    PAST,
    REFUSED,
    SENDER,
    UNKNOWN,
    WAITS,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.admissions import Cancelled
from worker.ports.settlements import Result
from worker.ports.unknowns import Resolution, SettleUnresolved

pytestmark = pytest.mark.asyncio

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "scripts"
"""What the libraries of earlier releases send to the store. A file is never edited."""


@pytest.mark.parametrize("result", [REFUSED, DEAD, LATER], ids=["refused", "dead", "retrying"])
async def test_a_claim_that_was_cancelled_ends_so_whatever_was_decided(
    store: Place, result: Result
) -> None:
    """A claim that was cancelled ends as cancelled, whatever was decided.

    No POST went out and the caller was told `cancelled`, so no other end may contradict it.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert await world.cancel() == "cancelled"
        settled = await world.settle(claimed, result, attempt=0, posted=False)
        assert (settled.applied, settled.stage) == (True, Stage.CANCELLED)
        row = await world.row()
        assert (row["s"], row["r"]) == ("cancelled", "cancelled")
        assert (await world.events())[-1] == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 1
        assert await world.cancel() == "cancelled"


@pytest.mark.parametrize("stage", ["posting", "unknown", "unresolved"])
async def test_what_may_be_at_twilio_is_not_sent_again_once_cancelled(
    store: Place, stage: str
) -> None:
    """A cancelled message that may be at Twilio is not sent again by a retry, a rule or an
    operator. The caller is not told that it never went out.
    """
    async with opened(store) as world:
        claimed = await world.post()
        if stage != "posting":
            await world.settle(claimed, UNKNOWN)
        if stage == "unresolved":
            await world.store.unknowns.resolve(
                [Resolution("m1", 1, SettleUnresolved(Reason.HELD_BY_RULE, ""))]
            )
        assert (await world.row())["s"] == stage
        assert await world.cancel() == "too_late"
        if stage == "posting":
            await world.settle(claimed, LATER)
        else:
            await world.send_again()
        assert (await world.row())["s"] == "cancelled"
        assert await world.claim() == ()
        assert await world.cancel() == ("cancelled" if stage == "posting" else "too_late")


async def test_what_may_be_at_twilio_is_cancelled_too_late(store: Place) -> None:
    """An earlier attempt is unproven, so a cancel ends the message but returns `too_late`."""
    async with opened(store) as world:
        await world.park()
        await world.send_again()
        assert (await world.row())["s"] == "retrying"
        assert await world.cancel() == "too_late"
        assert (await world.row())["s"] == "cancelled"
        assert await world.cancel() == "too_late"
        assert await world.claim() == ()
        await world.callback("sent", "SM1")
        assert await world.cancel() == "too_late"


async def test_a_claim_of_what_may_be_at_twilio_is_cancelled_too_late(store: Place) -> None:
    """A cancel during a claim stops a further POST and keeps returning `too_late`.

    An earlier attempt is unproven.
    """
    async with opened(store) as world:
        await world.park()
        await world.send_again()
        claimed = await world.claim_one()
        assert await world.cancel() == "too_late"
        assert isinstance(await world.admit(claimed), Cancelled)
        await world.settle(claimed, REFUSED, attempt=0, posted=False)
        assert (await world.row())["s"] == "cancelled"
        assert await world.cancel() == "too_late"


async def test_what_was_proven_not_sent_is_cancelled(store: Place) -> None:
    """A message whose only attempts were rejected or lapsed is cancelled without a doubt."""
    async with opened(store) as world:
        first = await world.post()
        await world.settle(first, AT_ONCE)
        second = await world.claim_one()
        await world.admit(second)
        await world.settle(second, AT_ONCE, posted=False)
        assert await world.cancel() == "cancelled"
        assert await world.cancel() == "cancelled"


async def test_a_retry_of_a_cancelled_claim_ends_cancelled(store: Place) -> None:
    """A cancelled claim ends cancelled, whatever retry the worker settles."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert await world.cancel() == "cancelled"
        settled = await world.settle(claimed, LATER, attempt=0, posted=False)
        assert settled.stage is Stage.CANCELLED
        await world.later(hours=1)
        assert await world.claim() == ()


@pytest.mark.parametrize(
    "stage, answer",
    [
        ("queued", "cancelled"),
        ("waiting", "cancelled"),
        ("retrying", "cancelled"),
        ("posting", "too_late"),
        ("unknown", "too_late"),
        ("unresolved", "too_late"),
        ("accepted", "ended"),
        ("refused", "ended"),
        ("nowhere", "unknown_id"),
    ],
)
async def test_cancel_answers_by_stage(store: Place, stage: str, answer: str) -> None:
    """`cancelled` means that no POST will happen, and asking twice returns the same."""
    async with opened(store) as world:
        await _bring_to(world, stage)
        assert await world.cancel() == answer
        before = await world.contents()
        assert await world.cancel() == answer
        assert await world.contents() == before
        if answer == "cancelled":
            assert (await world.row())["s"] == "cancelled"
            assert await world.claim() == ()
            assert (await world.writes()).released == 0


async def _bring_to(world: World, stage: str) -> None:
    if stage == "nowhere":
        return
    if stage == "queued":
        await world.enqueue()
    elif stage == "posting":
        await world.post()
    elif stage in {"unknown", "unresolved"}:
        await world.park()
        if stage == "unresolved":
            await world.store.unknowns.resolve(
                [Resolution("m1", 1, SettleUnresolved(Reason.HELD_BY_RULE, ""))]
            )
    else:
        results: dict[str, Result] = {
            "waiting": WAITS,
            "retrying": LATER,
            "accepted": accepted(),
            "refused": REFUSED,
        }
        await world.settle(await world.post(), results[stage])


@pytest.mark.parametrize("stage", ["queued", "waiting", "retrying"])
async def test_a_cancel_counts_at_once_and_a_worker_records_its_end(
    store: Place, stage: str
) -> None:
    """From the cancel on every reader sees the message as cancelled, and no POST of it begins. The
    row ends when a worker comes to it, once.
    """
    async with opened(store) as world:
        await _bring_to(world, stage)
        assert await world.ask_to_cancel() == "cancelled"
        row = await world.row()
        assert (row["s"], row["r"]) == ("cancelled", "cancelled")
        assert await _stored_stage(world) == stage
        assert await world.count("end:cancelled:cancelled") == 0
        assert await world.store.ledger.end_cancelled(64) == 0
        assert await _stored_stage(world) == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 1
        assert await world.ask_to_cancel() == "cancelled"
        assert await _asked(world) == []


@pytest.mark.parametrize("stage", ["queued", "claimed", "unknown", "dead", "refused", "accepted"])
async def test_a_message_is_listed_once_however_often_its_cancel_is_asked_for(
    store: Place, stage: str
) -> None:
    """Only the first cancel lists a message, and only if no worker holds or resolves it."""
    async with opened(store) as world:
        if stage == "claimed":
            await world.enqueue()
            await world.claim_one()
        elif stage == "dead":
            await world.settle(await world.post(), DEAD)
        else:
            await _bring_to(world, stage)
        answers = {await world.ask_to_cancel() for _ in range(3)}
        assert len(answers) == 1
        assert await _asked(world) == ([] if stage in {"claimed", "unknown"} else ["m1"])
        assert (await world.events()).count("cancel_asked") == 1
        await world.store.ledger.end_cancelled(64)
        assert {await world.ask_to_cancel() for _ in range(3)} == answers
        assert await _asked(world) == []


async def test_a_claim_is_shown_as_cancelled_from_its_cancel_on(store: Place) -> None:
    """No reader sees a cancelled message as claimed, whether the cancel or the claim came first."""
    async with opened(store) as world:
        for name in ("m1", "m2"):
            await world.enqueue(name)
        assert await world.ask_to_cancel("m1") == "cancelled"
        held = await world.claim()
        assert await world.ask_to_cancel("m2") == "cancelled"
        assert [claimed.cancel_asked for claimed in held] == [True, False]
        for claimed in held:
            name = claimed.message_id
            assert (await world.row(name))["s"] == "cancelled"
            assert isinstance(await world.admit(claimed), Cancelled)
            assert (await world.row(name))["s"] == "cancelled"
        assert await world.store.ledger.end_cancelled(64) == 0
        for claimed in held:
            await world.settle(claimed, LATER, attempt=0, posted=False)
            assert await _stored_stage(world, claimed.message_id) == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 2


@pytest.mark.parametrize("lost_by", ["crash", "release"])
async def test_a_cancelled_claim_that_is_lost_or_given_back_ends(
    store: Place, lost_by: str
) -> None:
    """A claim ends as cancelled when its worker dies or stops, and is shown so all the time."""
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        assert await world.ask_to_cancel() == "cancelled"
        if lost_by == "crash":
            await world.reap()
        else:
            await world.store.ledger.release([("m1", claimed.fence)])
        assert await _stored_stage(world) == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 1


async def test_what_may_be_at_twilio_keeps_its_stage_until_its_end_is_recorded(
    store: Place,
) -> None:
    """A message with an unproven attempt is not shown as cancelled before its end, also not while
    it is claimed.
    """
    async with opened(store) as world:
        await world.park()
        await world.send_again()
        assert await world.ask_to_cancel() == "too_late"
        assert (await world.row())["s"] == "retrying"
        claimed = await world.claim_one()
        assert (await world.row())["s"] == "claimed"
        assert await world.ask_to_cancel() == "too_late"
        await world.settle(claimed, REFUSED, attempt=0, posted=False)
        assert (await world.row())["s"] == "cancelled"
        assert await world.ask_to_cancel() == "too_late"


@pytest.mark.parametrize("is_claimed", [False, True], ids=["in its lane", "claimed"])
async def test_proof_still_ends_what_may_be_at_twilio(store: Place, is_claimed: bool) -> None:
    """Proof of the doubtful attempt ends a message after its cancel, and the doubt is over."""
    async with opened(store) as world:
        await world.park()
        await world.send_again()
        if is_claimed:
            await world.claim_one()
        assert await world.ask_to_cancel() == "too_late"
        assert (await world.row())["ps"] == "1"
        await world.callback("sent", "SM1")
        row = await world.row()
        assert (row["s"], row["sid"]) == ("accepted", "SM1")
        assert "ps" not in row
        assert await world.store.ledger.end_cancelled(64) == 0
        assert (await world.row())["s"] == "accepted"
        assert await world.claim() == ()


@pytest.mark.parametrize("is_claimed", [False, True], ids=["in its lane", "claimed"])
@pytest.mark.parametrize("failed_first", [False, True], ids=["new", "corrected"])
async def test_proof_of_what_counts_as_cancelled_is_late_evidence(
    store: Place, is_claimed: bool, failed_first: bool
) -> None:
    """No reader sees a cancelled message as accepted. Proof that comes after the cancel is counted
    as late evidence, as it is once the end is recorded.
    """
    async with opened(store) as world:
        if failed_first:
            await world.accept()
            await world.callback("failed", "SM1", reopen_after_ms=0)
        else:
            await world.settle(await world.post(), AT_ONCE)
        claimed = await world.claim_one() if is_claimed else None
        assert await world.ask_to_cancel() == "cancelled"
        applied = await world.callback("delivered", "SM1")
        assert (applied.is_end, applied.resolved) == (False, False)
        assert (await world.row())["s"] == "cancelled"
        assert await world.count("late_evidence") == 1
        if claimed:
            await world.settle(claimed, REFUSED, attempt=0, posted=False)
        await world.store.ledger.end_cancelled(64)
        assert await _stored_stage(world) == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 1


async def test_a_person_who_writes_releases_no_cancelled_message(store: Place) -> None:
    """A message that waits for the person stays where it is after its cancel, and then ends."""
    async with opened(store) as world:
        await _bring_to(world, "waiting")
        await world.ask_to_cancel()
        assert (await world.writes()).released == 0
        assert await world.claim() == ()
        await world.store.ledger.end_cancelled(64)
        assert await _stored_stage(world) == "cancelled"
        assert "w" not in await world.row()


async def test_a_cancelled_message_of_a_parked_sender_ends(store: Place) -> None:
    """A message ends although its sender may not send, and no claim finds it after the pause."""
    async with opened(store) as world:
        for name in ("m1", "m2"):
            await world.enqueue(name)
        await world.store.switches.pause("sender", SENDER, timedelta(hours=1), "63007")
        assert await world.claim() == ()
        await world.ask_to_cancel("m1")
        assert await world.store.ledger.end_cancelled(64) == 0
        assert await _stored_stage(world) == "cancelled"
        await world.later(hours=2)
        assert [claimed.message_id for claimed in await world.claim()] == ["m2"]


async def test_a_cancelled_message_of_a_restored_copy_ends(store: Place) -> None:
    """Nothing was posted after the cancel, so the sweep ends the message and searches for none."""
    async with opened(store) as world:
        for name in ("m1", "m2", "m3"):
            await world.enqueue(name)
        await world.claim_one()
        await world.ask_to_cancel("m1")
        await world.ask_to_cancel("m2")
        await world.store.restored.begin(PAST)
        async for _ in world.store.restored.sweep({}):
            pass
        await world.store.restored.end()
        found = [await _stored_stage(world, name) for name in ("m1", "m2", "m3")]
        assert found == ["cancelled", "cancelled", "unknown"]
        assert await world.store.ledger.end_cancelled(64) == 0
        assert await world.count("end:cancelled:cancelled") == 2


async def test_an_operator_sends_nothing_again_between_a_cancel_and_its_end(store: Place) -> None:
    """From the cancel on `retry` and `replay` refuse, before and after a worker records it."""
    async with opened(store) as world:
        await world.enqueue("queued", not_before=FAR)
        await world.settle(await world.post("refused"), REFUSED)
        await world.settle(await world.post("dead"), DEAD)
        records = world.store.records
        for name in ("queued", "refused", "dead"):
            await world.ask_to_cancel(name)
        for _ in range(2):
            assert await records.may_retry(["queued", "refused"]) == ["cancelled"] * 2
            assert await records.retry(["queued", "refused"], FAR) == ["cancelled"] * 2
            assert await records.replay(["dead"], FAR) == ["cancelled"]
            await world.store.ledger.end_cancelled(64)
        assert await world.redis.zcard(world.keys.dead) == 0
        jobs = [world.keys.job(name) for name in ("queued", "refused", "dead")]
        assert await world.redis.exists(*jobs) == 0


async def test_a_dropped_dead_letter_stays_dropped_after_its_cancel(store: Place) -> None:
    """An operator who drops a dead letter before a worker comes to its cancel decides alone."""
    async with opened(store) as world:
        await world.settle(await world.post(), DEAD)
        await world.ask_to_cancel()
        assert await world.store.records.drop(["m1"]) == ["dropped"]
        assert await world.store.ledger.end_cancelled(64) == 0
        row = await world.row()
        assert (row["s"], row["r"]) == ("dead", "dropped")


async def test_many_cancels_end_in_bounded_steps(store: Place) -> None:
    """One call ends as many messages as it is asked to, and returns how many are left."""
    async with opened(store) as world:
        for number in range(5):
            await world.enqueue(f"m{number}")
            assert await world.ask_to_cancel(f"m{number}") == "cancelled"
        assert [await world.store.ledger.end_cancelled(2) for _ in range(4)] == [3, 1, 0, 0]
        assert await world.count("end:cancelled:cancelled") == 5


async def test_a_message_that_left_the_list_without_its_end_ends_at_its_claim(
    store: Place,
) -> None:
    """The mark on the row is enough. If the call that took the id from the list failed, the claim
    ends the message, and until then it is shown as cancelled.
    """
    async with opened(store) as world:
        await world.enqueue()
        await world.ask_to_cancel()
        assert await world.redis.lpop(world.keys.cancel_asked) == b"m1"  # type: ignore[misc]  # redis-py types both flavours at once
        assert await world.ask_to_cancel() == "cancelled"
        assert await world.store.ledger.end_cancelled(64) == 0
        claimed = await world.claim_one()
        assert claimed.cancel_asked
        assert isinstance(await world.admit(claimed), Cancelled)
        settled = await world.settle(claimed, LATER, attempt=0, posted=False)
        assert settled.stage is Stage.CANCELLED
        assert await world.count("end:cancelled:cancelled") == 1


async def test_an_id_that_fails_holds_up_none_behind_it(store: Place) -> None:
    """A call that fails has taken the id, so the next call goes on with the ids behind it."""
    async with opened(store) as world:
        await world.redis.set(world.keys.row("bad"), "not a hash")
        await world.redis.rpush(world.keys.cancel_asked, "bad")  # type: ignore[misc]  # redis-py types both flavours at once
        await world.enqueue()
        await world.ask_to_cancel()
        with pytest.raises(ResponseError):
            await world.store.ledger.end_cancelled(64)
        assert await world.store.ledger.end_cancelled(64) == 0
        assert await _stored_stage(world) == "cancelled"


@pytest.mark.parametrize(
    "field, value", [("l", None), ("n", "garbage"), ("n", "9" * 18), ("w", "garbage")]
)
async def test_a_row_that_cannot_be_read_keeps_its_place(
    store: Place, field: str, value: str | None
) -> None:
    """A worker that cannot read a row leaves it, with its mark, and ends the ones behind it."""
    async with opened(store) as world:
        for name in ("m1", "m2"):
            await world.enqueue(name)
        if value is None:
            await world.calls.ask("HDEL", world.keys.row("m1"), field)
        else:
            await world.calls.ask("HSET", world.keys.row("m1"), field, value)
        for name in ("m1", "m2"):
            assert await world.ask_to_cancel(name) == "cancelled"
        assert await world.store.ledger.end_cancelled(64) == 0
        found = [await _stored_stage(world, name) for name in ("m1", "m2")]
        assert found == ["queued", "cancelled"]
        assert await world.calls.ask("HGET", world.keys.row("m1"), "x") == b"1"


@pytest.mark.parametrize("count", ["garbage", "9" * 18, "inf", "nan"])
async def test_a_cancel_does_not_assume_what_it_cannot_count(store: Place, count: str) -> None:
    """If the number of attempts cannot be read, an attempt of the person may be this message's."""
    async with opened(store) as world:
        await world.park()
        await world.send_again()
        await world.calls.ask("HSET", world.keys.row("m1"), "n", count)
        assert await world.ask_to_cancel() == "too_late"
        assert await world.ask_to_cancel() == "too_late"


async def test_a_repeated_enqueue_of_a_cancelled_id_queues_nothing(store: Place) -> None:
    """A cancelled id stays taken, before and after its end is recorded."""
    async with opened(store) as world:
        await world.enqueue()
        await world.ask_to_cancel()
        assert await world.enqueue() == b"duplicate"
        await world.store.ledger.end_cancelled(64)
        assert await world.enqueue() == b"duplicate"
        assert await world.claim() == ()


@pytest.mark.parametrize("stage", ["queued", "waiting", "retrying", "dead", "refused"])
@pytest.mark.parametrize("first", ["old", "new"])
async def test_an_older_library_and_a_newer_one_cancel_the_same_message(
    store: Place, stage: str, first: str
) -> None:
    """The script of an older library ends the row itself. Whichever library comes first, the
    message ends once, both get the same answer, and a worker finds nothing left to do.
    """
    old = Script("cancel", (GOLDEN / "cancel-1.lua.txt").read_text())
    async with opened(store) as world:
        if stage == "dead":
            await world.settle(await world.post(), DEAD)
        else:
            await _bring_to(world, stage)
        answers = []
        for library in (first, "new" if first == "old" else "old"):
            script = old if library == "old" else CANCEL
            answers += await world.calls.run(script, ["m1"])
        assert answers == [b"ended" if stage == "refused" else b"cancelled"] * 2
        assert await world.store.ledger.end_cancelled(64) == 0
        ended = stage in {"dead", "refused"}
        assert await _stored_stage(world) == (stage if ended else "cancelled")
        assert await world.count("end:cancelled:cancelled") == (0 if ended else 1)
        assert await world.redis.exists(world.keys.job("m1")) == 0
        assert await world.redis.zcard(world.keys.dead) == 0
        assert await world.claim() == ()


async def _stored_stage(world: World, message_id: str = "m1") -> str:
    """Return the stage that the row has, whatever readers are shown."""
    found: bytes = await world.calls.ask("HGET", world.keys.row(message_id), "s")
    return found.decode()


async def _asked(world: World) -> list[str]:
    ids = await world.calls.ask("LRANGE", world.keys.cancel_asked, 0, -1)
    return [message_id.decode() for message_id in ids]
