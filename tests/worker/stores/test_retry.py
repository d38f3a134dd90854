"""An operator's `retry` in the store: which messages live again, once an order, never after a
late proof.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from sendwindow.timestamps import to_ms
from sendwindow.vocabulary import Reason, Stage
from tests.depth import examples
from tests.support.stores_world import (
    DEAD,
    FAR,
    REFUSED,
    UNKNOWN,
    WAITS,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.admissions import Lost
from worker.ports.settlements import Result, SettleAgain, SettleEnd
from worker.ports.unknowns import Resolution, SettleUnresolved
from worker.stores.worker_scripts import worker_script

pytestmark = pytest.mark.asyncio

FAILED = SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED, code=63013)
EXPIRED = SettleEnd(Stage.EXPIRED, Reason.EXPIRED)
RETRYING = SettleAgain(Stage.RETRYING, Reason.THROTTLED, delay_ms=60_000)
DAY = timedelta(days=1)


async def _settled(world: World, result: Result) -> None:
    await world.settle(await world.post(), result)


async def _queued(world: World) -> None:
    await world.enqueue()


async def _claimed(world: World) -> None:
    await world.enqueue()
    await world.claim_one()


async def _posting(world: World) -> None:
    await world.post()


async def _unresolved(world: World) -> None:
    await world.park()
    held = SettleUnresolved(Reason.HELD_BY_RULE, "held")
    assert await world.store.unknowns.resolve([Resolution("m1", 1, held)]) == [Stage.UNRESOLVED]


async def _cancelled(world: World) -> None:
    await world.enqueue()
    await world.cancel()


def _by(result: Result) -> Callable[[World], Awaitable[None]]:
    return lambda world: _settled(world, result)


WAYS: dict[Stage, Callable[[World], Awaitable[None]]] = {
    Stage.QUEUED: _queued,
    Stage.CLAIMED: _claimed,
    Stage.POSTING: _posting,
    Stage.WAITING: _by(WAITS),
    Stage.RETRYING: _by(RETRYING),
    Stage.UNKNOWN: _by(UNKNOWN),
    Stage.UNRESOLVED: _unresolved,
    Stage.ACCEPTED: _by(accepted()),
    Stage.REFUSED: _by(REFUSED),
    Stage.FAILED: _by(FAILED),
    Stage.EXPIRED: _by(EXPIRED),
    Stage.CANCELLED: _cancelled,
    Stage.DEAD: _by(DEAD),
}
RETRIED = {Stage.REFUSED, Stage.FAILED, Stage.EXPIRED}


async def _ends(world: World) -> int:
    """Return how many ends are counted."""
    counts = await world.store.records.counts()
    return sum(number for name, number in counts.items() if name.startswith("end:"))


@pytest.mark.parametrize("stage", list(Stage))
async def test_only_three_ends_are_left_by_a_retry(store: Place, stage: Stage) -> None:
    """Of all stages, only refused, failed and expired begin another life by a retry.

    In the others no byte changes, whatever is allowed.
    """
    async with opened(store) as world:
        await WAYS[stage](world)
        assert (await world.row())["s"] == stage
        before = await world.contents()
        told = await world.store.records.may_retry(["m1"], even_if_sent=True)
        assert await world.contents() == before
        answer = await world.store.records.retry(["m1"], FAR, even_if_sent=True)
        if stage in RETRIED:
            row = await world.row()
            assert (told, answer, row["s"], row["lf"], row["r"]) == (
                ["may_go"],
                ["retried"],
                "queued",
                "2",
                "retried",
            )
            assert await _ends(world) == 0
            names = [world.keys.row("m1"), world.keys.job("m1"), world.keys.timeline("m1")]
            assert [await world.redis.pttl(name) for name in names] == [-1, -1, -1]
        else:
            assert told == answer == ["cancelled" if stage is Stage.CANCELLED else "not_ended"]
            assert await world.contents() == before


@pytest.mark.parametrize("stage", sorted(RETRIED))
@pytest.mark.parametrize("when", ["claimed", "posting", "ended", "retried"])
async def test_after_a_cancel_no_retry_sends_the_message(
    store: Place, stage: Stage, when: str
) -> None:
    """After a cancel no retry sends the message, and no job stays.

    This holds for a cancel before the end, after it, or while the retried life waits.
    """
    async with opened(store) as world:
        result = {Stage.REFUSED: REFUSED, Stage.FAILED: FAILED, Stage.EXPIRED: EXPIRED}[stage]
        await world.enqueue()
        claimed = await world.claim_one()
        if when == "claimed":
            await world.cancel()
            await world.settle(claimed, result, attempt=0, posted=False)
        else:
            await world.admit(claimed)
            if when == "posting":
                await world.cancel()
            await world.settle(claimed, result)
        if when == "retried":
            assert await world.store.records.retry(["m1"], FAR) == ["retried"]
        if when in {"ended", "retried"}:
            await world.cancel()
        assert await world.store.records.may_retry(["m1"], even_if_sent=True) == ["cancelled"]
        assert await world.store.records.retry(["m1"], FAR + DAY, even_if_sent=True) == [
            "cancelled"
        ]
        assert await world.claim() == ()
        assert not await world.redis.exists(world.keys.job("m1"))


@pytest.mark.parametrize(
    "decision, result, told, later",
    [
        ("retry", REFUSED, "retried", "not_ended"),
        ("replay", DEAD, "replayed", "not_dead"),
        ("drop", DEAD, "dropped", ""),
    ],
)
async def test_a_repeated_call_is_told_from_a_second_order(
    store: Place, decision: str, result: SettleEnd, told: str, later: str
) -> None:
    """A call repeated after a lost reply begins no second life, but another order may."""
    async with opened(store) as world:
        await _settled(world, result)

        async def order(request: str) -> list[bytes]:
            answers: list[bytes] = await world.calls.run(
                worker_script("dead"), [request, decision, "", "m1", to_ms(FAR)]
            )
            return answers

        assert await order("first") == [told.encode()]
        before = await world.contents()
        assert await order("first") == [told.encode()]
        assert await world.contents() == before
        if decision == "drop":
            return
        assert await order("second") == [later.encode()]
        claimed = await world.claim_one()
        assert (claimed.attempts, claimed.tries) == (1, 0)
        assert abs(claimed.expires_at - FAR) < timedelta(milliseconds=2)
        await world.settle(claimed, result, attempt=0, posted=False)
        assert await order("first") == [told.encode()]
        assert await order("second") == [later.encode()]
        assert (await world.row())["s"] == result.stage
        assert await order("third") == [told.encode()]
        assert ((await world.row())["s"], (await world.row())["lf"]) == ("queued", "3")
        assert await world.count(told) == 2


async def test_two_orders_of_one_instant_begin_one_life(store: Place) -> None:
    """Two orders with the same expiry are different orders: two operators' clocks may show the
    same.
    """
    async with opened(store) as world, opened(store, worker_id="w2") as other:
        await _settled(world, REFUSED)
        answers = await asyncio.gather(
            *(one.store.records.retry(["m1"], FAR) for one in (world, other))
        )
        assert sorted(answers) == [["not_ended"], ["retried"]]
        assert (await world.row())["lf"] == "2"


async def test_two_persons_at_once_begin_one_life_of_each_message(store: Place) -> None:
    """Two operators at once begin one life of each message, and each learns which ones are
    theirs.
    """
    names = [f"m{number}" for number in range(70)]
    async with opened(store) as world, opened(store, worker_id="w2") as other:
        for name in names:
            await world.settle(await world.post(name), REFUSED)
        one, two = await asyncio.gather(
            world.store.records.retry(names, FAR),
            other.store.records.retry(list(reversed(names)), [FAR + DAY] * len(names)),
        )
        answers = list(zip(one, reversed(two), strict=True))
        assert {frozenset(pair) for pair in answers} == {frozenset({"retried", "not_ended"})}
        assert await world.count("retried") == len(names)
        assert sorted(claimed.message_id for claimed in await world.claim(100)) == sorted(names)


async def test_a_call_is_bounded(store: Place) -> None:
    """A call takes at most 32 messages.

    A longer list takes several calls, and the script refuses more.
    """
    async with opened(store) as world:
        orders = [argument for number in range(33) for argument in (f"m{number}", "1")]
        with pytest.raises(ResponseError, match="at most 32"):
            await world.calls.run(worker_script("dead"), ["a request", "retry", "", *orders])
        assert (
            await world.store.records.may_retry([f"m{number}" for number in range(70)])
            == ["unknown_id"] * 70
        )
        assert await world.store.records.may_retry([]) == []


async def _failed_with_a_sid(world: World) -> None:
    """Let the first attempt be reported as failed, and let Twilio refuse the second in its
    reply.
    """
    await world.accept()
    await world.callback("failed", reopen_after_ms=0)
    claimed = await world.claim_one()
    await world.admit(claimed)
    await world.settle(claimed, FAILED)
    assert (await world.row())["s"] == "failed"


async def test_what_arrived_late_is_not_retried(store: Place) -> None:
    """A message whose old SID was `delivered` before the order is not retried."""
    async with opened(store) as world:
        await _failed_with_a_sid(world)
        await world.callback("delivered")
        assert await world.store.records.retry(["m1"], FAR, even_if_sent=True) == ["sent"]
        assert await world.claim() == ()


@given(
    before=st.lists(st.sampled_from(["queued", "sent", "failed"]), max_size=3),
    after=st.lists(
        st.sampled_from(["queued", "sent", "failed", "delivered", "read"]), min_size=1, max_size=4
    ),
    stage=st.sampled_from(["queued", "claimed", "posting", "unknown", "accepted"]),
)
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_the_old_sid_is_reported_while_the_retry_is_under_way(
    store: Place, before: list[str], after: list[str], stage: str
) -> None:
    """Once the old SID arrived, no POST of the retry begins, and there is one end in every order.

    A message in a lane is taken off it, and a claimed one gets no permit. Only a POST that had
    begun before may be a copy, and then it is counted.
    """
    async with opened(store) as world:
        for key in [name async for name in world.redis.scan_iter(match=f"*{world.keys.tag}*")]:
            await world.redis.delete(key)
        await world.store.register_senders({"shop": "main"})
        await _failed_with_a_sid(world)
        for status in before:
            await world.callback(status, reopen_after_ms=0)
        assert await world.store.records.retry(["m1"], FAR) == ["retried"]
        claimed = None if stage == "queued" else await world.claim_one()
        if claimed is not None and stage != "claimed":
            await world.admit(claimed)
        if claimed is not None and stage in {"unknown", "accepted"}:
            await world.settle(claimed, UNKNOWN if stage == "unknown" else accepted("SM3"))
        for status in after:
            await world.callback(status, reopen_after_ms=0)
        arrived = bool({"delivered", "read"} & set(after))
        if stage == "claimed" and arrived:
            assert claimed is not None
            assert isinstance(await world.admit(claimed), Lost)
        if stage == "posting":
            assert claimed is not None
            await world.settle(claimed, accepted("SM3"))
        row = await world.row()
        is_out = stage in {"posting", "accepted"}
        assert row["s"] == ("accepted" if arrived or is_out else stage)
        assert row.get("sid") == ("SM3" if is_out else "SM1" if arrived else None)
        assert await world.count("duplicates") == (arrived and is_out)
        assert await _ends(world) == (row["s"] == "accepted")
        if arrived:
            assert await world.claim() == ()
            assert await world.store.records.retry(["m1"], FAR + DAY, even_if_sent=True) == [
                "not_ended"
            ]
