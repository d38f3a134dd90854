"""A copy of the store that is restored after messages went out: none is sent twice and none is
lost.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sendwindow.contract import Freeform
from sendwindow.vocabulary import OnUnknown, Stage
from tests.support.cast import ACCOUNT_SID, SHOP, german, sid
from tests.support.pipeline_world import Twilio, World, accepting, dispatching, rejecting
from tests.support.processes_world import report_of
from tests.support.stores_world import Place
from worker.pipeline.unknown.matching import listing_of

pytestmark = pytest.mark.asyncio

LISTINGS = {"shop": listing_of(ACCOUNT_SID, SHOP)}


def person(number: int) -> str:
    return f"whatsapp:{german(number)}"


async def showing(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
    """Accept every message, and show it in the list."""
    answer = await accepting(twilio, form)
    twilio.show(sid(len(twilio.posts)), at=datetime.now(UTC), body=form["Body"], to=form["To"])
    return answer


async def copied(world: World) -> dict[bytes, tuple[bytes, int]]:
    """Copy every key of the partition, as a copy of the append-only file holds them."""
    keys = [key async for key in world.redis.scan_iter(f"*{{{world.place.partition}}}*")]
    return {key: (await world.redis.dump(key), max(0, await world.redis.pttl(key))) for key in keys}


async def restore(world: World, copy: Mapping[bytes, tuple[bytes, int]]) -> None:
    for key in [key async for key in world.redis.scan_iter(f"*{{{world.place.partition}}}*")]:
        await world.redis.delete(key)
    for key, (value, ttl) in copy.items():
        await world.redis.restore(key, ttl, value)


async def instant(world: World) -> datetime:
    """Return the store's time, less the two seconds that Twilio's dates may be behind it."""
    return await world.store.now() - timedelta(seconds=2)


async def mark(world: World, at: datetime) -> int:
    """Do what `store restored` does after the fetch of inbound messages. Returns how many moved."""
    assert (await world.store.restored.begin(at)).copied_at is not None
    assert (await world.store.ledger.claim(10)).claimed == ()
    moved = 0
    async for many in world.store.restored.sweep(LISTINGS):
        moved += many
    await world.store.restored.end()
    return moved


async def search(world: World) -> None:
    """Search until no attempt is due."""
    while await world.search().turn():
        continue


async def queue(world: World, number: int, **wish: Any) -> None:
    await world.consents(person(number))
    await world.writes(person(number))
    body = Freeform(body=f"Your order {number} is on its way.")
    await world.enqueue(f"m{number}", to=person(number), freeform=body, **wish)


async def after(world: World, **more: float) -> None:
    absent = world.rules.policy.absent_after
    await world.later(seconds=absent.total_seconds() + 60, **more)


async def test_a_restored_copy_sends_nothing_twice_and_loses_nothing(
    store: Place, tmp_path: Path
) -> None:
    """Messages sent since the copy are found under their SIDs, and the others go out once, on
    time.
    """
    async with dispatching(store, tmp_path / "j", showing) as world:
        later = datetime.now(UTC) + timedelta(hours=2)
        for number in range(40):
            rule = list(OnUnknown)[number % len(OnUnknown)]
            await queue(world, number, on_unknown=rule, not_before=later if number >= 30 else None)
        held = (await world.store.ledger.claim(5)).claimed
        assert len(held) == 5
        at, copy = await instant(world), await copied(world)
        await world.store.ledger.release([(one.message_id, one.fence) for one in held])
        await world.run_until(Stage.ACCEPTED, 30)
        assert len(world.twilio.posts) == 30
        await restore(world, copy)
        assert await mark(world, at) == 40
        await after(world)
        await search(world)
        # An attempt that was searched for before anything was found waits for a proven list.
        await world.later(seconds=60)
        await search(world)
        stages = Counter([await world.stage(f"m{number}") for number in range(40)])
        assert stages == {"accepted": 30, "queued": 10}
        assert len(world.twilio.posts) == 30
        row = (await world.record("m35")).row
        assert (row["nb"], row["fa"], row["r"]) == (
            str(int(later.timestamp() * 1000)),
            "1",
            "not_sent",
        )
        await world.later(hours=3)
        for number in range(30, 40):
            await world.writes(person(number))
        await world.run_until(Stage.ACCEPTED, 70)
        bodies = Counter(form["Body"] for form in world.twilio.posts)
        assert len(bodies) == 40
        assert set(bodies.values()) == {1}


async def test_what_cannot_be_told_waits_for_a_person_whatever_its_rule(
    store: Place, tmp_path: Path
) -> None:
    """Another text to that person is neither proof nor absence, so an operator decides, even
    with `resend`.
    """
    async with dispatching(store, tmp_path / "j", showing) as world:
        await queue(world, 1, on_unknown=OnUnknown.RESEND)
        await queue(world, 2, on_unknown=OnUnknown.NEVER)
        at = await world.store.now()
        world.twilio.show(sid(71), at=at, body="", to=person(1))
        world.twilio.show(sid(72), at=at, body="", to=person(2))
        assert await mark(world, at) == 2
        await after(world)
        await search(world)
        assert [await world.stage(f"m{number}") for number in (1, 2)] == ["unresolved"] * 2
        assert world.twilio.posts == []


async def test_a_list_that_nothing_proves_is_waited_for_and_then_left_to_a_person(
    store: Place, tmp_path: Path
) -> None:
    """A list without a witness since the copy could lag, so after a while an operator decides."""
    async with dispatching(store, tmp_path / "j", showing) as world:
        await queue(world, 1)
        await mark(world, await world.store.now())
        await after(world)
        await search(world)
        assert await world.stage("m1") == "unknown"
        await world.later(seconds=world.rules.policy.hold_after.total_seconds())
        await search(world)
        assert await world.stage("m1") == "unresolved"
        assert world.twilio.posts == []


async def test_an_attempt_under_way_in_the_copy_may_have_been_sent_again_since(
    store: Place, tmp_path: Path
) -> None:
    """After a restore the rule waits for proof before it resends, and finds the row of the
    second POST.
    """
    async with dispatching(store, tmp_path / "j", showing) as world:
        await queue(world, 1, on_unknown=OnUnknown.RESEND)
        answer = rejecting(20500, 500, then=showing)
        world.twilio.answer = answer
        await world.run_until(Stage.UNKNOWN)
        at, copy = await world.store.now(), await copied(world)
        await restore(world, copy)
        hours = at + timedelta(hours=3)
        await world.later(hours=3)
        body = "Your order 1 is on its way."
        world.twilio.show(sid(9), at=hours, body=body, to=person(1))
        assert await mark(world, at) == 1
        await after(world)
        await search(world)
        record = await world.record("m1")
        assert (record.row["s"], record.row["sid"]) == ("accepted", sid(9))
        assert len(world.twilio.posts) == 1


async def test_sweeping_again_moves_nothing_twice(store: Place, tmp_path: Path) -> None:
    """A restore command that died is repeated, and each message gets only one possible attempt
    more.
    """
    async with dispatching(store, tmp_path / "j", showing) as world:
        for number in range(70):
            await queue(world, number)
        at = await world.store.now()
        await world.store.restored.begin(at)
        steps = [many async for many in world.store.restored.sweep(LISTINGS)]
        assert (sum(steps), max(steps)) == (70, 32)
        assert (await world.store.restored.begin(at + timedelta(hours=1))).copied_at == at.replace(
            microsecond=at.microsecond // 1000 * 1000
        )
        assert sum([many async for many in world.store.restored.sweep(LISTINGS)]) == 0
        assert (await world.record("m69")).row["n"] == "1"


async def test_what_is_queued_after_the_restore_is_no_part_of_the_copy(
    store: Place, tmp_path: Path
) -> None:
    """A message queued after the restore only waits until the mark ends."""
    async with dispatching(store, tmp_path / "j", showing) as world:
        await world.store.restored.begin(await world.store.now())
        await world.later(seconds=1)
        await queue(world, 1)
        assert sum([many async for many in world.store.restored.sweep(LISTINGS)]) == 0
        await world.store.restored.end()
        await world.run_until(Stage.ACCEPTED)


async def test_a_living_process_forbids_the_mark(store: Place, tmp_path: Path) -> None:
    """A living process forbids the mark, because a worker would send while its store is
    examined.
    """
    async with dispatching(store, tmp_path / "j", showing) as world:
        assert not (await world.store.processes.report(report_of())).is_restoring
        mark_ = await world.store.restored.begin(await world.store.now())
        assert (mark_.copied_at, mark_.living) == (None, 1)
        assert mark_.alive_at is not None


async def test_a_quiet_weekend_is_not_taken_for_a_restore(store: Place, tmp_path: Path) -> None:
    """A store that was untouched for three days works as before.

    Only an operator's command marks it as a copy.
    """
    async with dispatching(store, tmp_path / "j", showing) as world:
        await world.store.processes.report(report_of())
        await queue(world, 1)
        await world.later(days=3)
        await world.writes(person(1))
        assert not (await world.store.processes.report(report_of())).is_restoring
        await queue(world, 2)
        await world.run_until(Stage.ACCEPTED)
        assert len(world.twilio.posts) >= 1
        assert world.twilio.reads == 0
