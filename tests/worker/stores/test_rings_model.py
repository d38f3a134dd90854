"""For any history, claims take what a plain model takes, and the rings hold who has work."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sendwindow.vocabulary import Priority, Reason, Stage
from tests.conftest import StoreUnderTest
from tests.depth import examples
from tests.support.ring_model import RingModel
from tests.support.ring_steps import faults, queue, read_rings
from tests.support.ring_tree import LaneName
from tests.support.stores_world import REFUSED, World, opened, settlement
from worker.ports.claims import ClaimedMessage, ClaimRoom, Suspects
from worker.ports.settlements import Result, SettleAgain

ACCOUNTS: Final = {"shop": "main", "other": "main", "third": "second", "fourth": "last"}
LANES: Final = [
    LaneName(account, sender, str(priority), campaign)
    for sender, account in ACCOUNTS.items()
    for priority in Priority
    for campaign in ("", "a", "b", "c")
]
PAUSABLE: Final = [
    *(("sender", sender) for sender in ("shop", "other", "third")),
    *(("account", account) for account in ("main", "second")),
]
DAY: Final = 24 * 60
MAX_DAYS: Final = 5
"""How far the clock is moved. What has no other time expires after that."""

DAYS = st.integers(0, 3)
QUEUE = st.tuples(
    st.just("queue"),
    st.lists(st.sampled_from(LANES), min_size=1, max_size=8, unique=True),
    st.integers(1, 20),
    st.none() | DAYS,
    st.none() | DAYS,
)
ROOM = st.builds(
    ClaimRoom,
    ordinary=st.integers(0, 30),
    account_share=st.integers(1, 12),
    sender_share=st.integers(1, 12),
    accounts=st.dictionaries(st.sampled_from(sorted({*ACCOUNTS.values()})), st.integers(1, 12)),
    senders=st.dictionaries(st.sampled_from(sorted(ACCOUNTS)), st.integers(1, 12)),
)
CLAIM = st.tuples(st.just("claim"), st.integers(1, 40), st.booleans(), st.none() | ROOM)
OTHERS = (
    st.tuples(st.sampled_from(["end", "release", "retry", "park"]), st.integers(1, 8))
    | st.tuples(st.just("pause"), st.sampled_from(PAUSABLE), st.integers(0, 4))
    | st.tuples(st.just("resume"), st.sampled_from(PAUSABLE))
    | st.tuples(st.just("advance"))
)
OPERATIONS = st.lists(QUEUE | CLAIM | OTHERS, min_size=20, max_size=60)

_PARTITIONS = count(1)


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(operations=OPERATIONS)
def test_claims_take_what_the_model_takes_whatever_happened_before(
    store: StoreUnderTest, operations: list[tuple[Any, ...]]
) -> None:
    """Claims take the same messages in the same order as the model, and after each step every lane
    with due messages has its turn in the rings unless it is parked.

    The steps: messages for now or later, some that expire; claims, some of a worker that has little
    room; ends, releases and retries; pauses of senders and accounts that end by time or by hand;
    and days that pass.
    """
    asyncio.run(_play(store, operations))


async def _play(place: StoreUnderTest, operations: list[tuple[Any, ...]]) -> None:
    async with opened(replace(place, partition=f"rings-{next(_PARTITIONS)}")) as world:
        await world.store.register_senders(ACCOUNTS, {})
        history = History(world, await world.store.now())
        for action, *values in operations:
            await getattr(history, action)(*values)
            await history.check()
        await history.finish()
        await world.redis.flushall()


class History:
    """One history, in the store and in the model.

    A time is a whole day, or a minute between 6 and 18 hours later that nothing else has. So
    nothing depends on how long the test takes, and no two times are equal.
    """

    def __init__(self, world: World, begin: datetime) -> None:
        self._world, self._begin = world, begin
        self._model = RingModel()
        self._held: dict[str, ClaimedMessage] = {}
        self._minutes, self._numbers = iter(range(6 * 60, 18 * 60)), count(1)
        self._last = begin

    def _later(self, days: int) -> int:
        return self._model.now + days * DAY + next(self._minutes)

    def _at(self, minute: int | None) -> datetime | None:
        return None if minute is None else self._begin + timedelta(minutes=minute)

    async def queue(
        self, lanes: list[LaneName], size: int, start: int | None, end: int | None
    ) -> None:
        for lane in lanes:
            await self._queue(lane, size, start, end)

    async def _queue(self, lane: LaneName, size: int, start: int | None, end: int | None) -> None:
        """Queue messages in a millisecond of their own."""
        while await self._world.store.now() <= self._last:
            pass
        not_before = None if start is None else self._later(start)
        since = self._model.now if not_before is None else not_before // DAY * DAY
        if end is None:
            expires = (not_before or self._model.now + DAY // 2) + (MAX_DAYS + 1) * DAY
        else:
            expires = since + (end + (not_before is not None)) * DAY + next(self._minutes)
        ids = [f"m{next(self._numbers):05}" for _ in range(size)]
        await queue(
            self._world, lane, ids, not_before=self._at(not_before), expires_at=self._at(expires)
        )
        self._model.queue(lane, ids, not_before, expires)
        self._last = await self._world.store.now()

    async def claim(self, limit: int, is_held: bool, room: ClaimRoom | None = None) -> bool:
        batch = await self._world.store.ledger.claim(limit, Suspects.NEVER, room)
        assert [one.message_id for one in batch.claimed] == self._model.claim(limit, room)
        assert batch.passed_over == self._model.has_passed_over
        for one in batch.claimed:
            self._held[one.message_id] = one
            expires = self._model.messages[one.message_id].expires
            if not is_held or expires <= self._model.now:
                await self._end(one.message_id)
        await self._list_all()
        return batch.claimed != ()

    async def _list_all(self) -> None:
        """Let claims list what is left, so that no history depends on where they stopped."""
        while self._model.has_more_to_list:
            batch = await self._world.store.ledger.claim(0, Suspects.NEVER)
            assert batch.claimed == ()
            assert self._model.claim(0) == []
        assert not await self._world.redis.exists(self._world.keys.unlisted)

    async def _settle(self, message_id: str, result: Result) -> None:
        lane = self._model.messages[message_id].lane
        told = settlement(
            self._held.pop(message_id),
            result,
            attempt=0,
            posted=False,
            sender=lane.sender,
            account=lane.account,
        )
        [settled] = await self._world.store.ledger.settle([told])
        assert settled.applied

    async def _end(self, message_id: str) -> None:
        await self._settle(message_id, REFUSED)
        self._model.end(message_id)

    async def end(self, size: int) -> None:
        for message_id in list(self._held)[:size]:
            await self._end(message_id)

    async def release(self, size: int) -> None:
        held = [self._held.pop(each) for each in list(self._held)[:size]]
        await self._world.store.ledger.release([(one.message_id, one.fence) for one in held])
        for one in held:
            self._model.give_back(one.message_id)

    async def retry(self, size: int) -> None:
        for message_id in list(self._held)[:size]:
            due = self._later(0)
            again = SettleAgain(Stage.RETRYING, Reason.THROTTLED, due_at=self._at(due))
            await self._settle(message_id, again)
            self._model.give_back(message_id, due)

    async def park(self, size: int) -> None:
        """Give back what a worker met a pause for."""
        for message_id in list(self._held)[:size]:
            lane = self._model.messages[message_id].lane
            is_paused = self._model.is_paused("sender", lane.sender)
            due = self._later(0)
            reason = Reason.SENDER_PAUSED if is_paused else Reason.ACCOUNT_PAUSED
            await self._settle(message_id, SettleAgain(Stage.WAITING, reason, due_at=self._at(due)))
            is_paused = is_paused or self._model.is_paused("account", lane.account)
            self._model.give_back(message_id, None if is_paused else due)

    async def pause(self, what: tuple[Any, str], days: int) -> None:
        ends = self._later(days)
        at = self._at(ends)
        assert at is not None
        length = at - await self._world.store.now()
        await self._world.store.switches.pause(*what, length, "a test")
        self._model.pause(*what, ends)

    async def resume(self, what: tuple[Any, str]) -> None:
        await self._world.store.switches.resume(*what)
        self._model.resume(*what)

    async def advance(self) -> None:
        if self._model.now < MAX_DAYS * DAY:
            await self._world.later(days=1)
            self._model.now += DAY

    async def check(self) -> None:
        """Compare the rings with the model's, and with what they must hold."""
        rings = await read_rings(self._world)
        assert faults(rings, ACCOUNTS) == []
        assert rings.members == self._model.rings()
        assert rings.parked == {f"{kind}|{name}" for kind, name in self._model.parked}

    async def finish(self) -> None:
        """Let all pauses end, and claim until nothing is left, no list of expired ones either."""
        for what in PAUSABLE:
            await self.resume(what)
        await self.release(len(self._held))
        for _ in range(3 * MAX_DAYS):
            await self._world.later(days=1)
            self._model.now += DAY
            while await self.claim(40, is_held=False):
                await self.check()
        assert self._model.messages == {}
        kinds = {
            key.decode().split(":")[2]
            async for key in self._world.redis.scan_iter(match="sw:*", count=1000)
        }
        assert kinds.isdisjoint({"ring", "rested", "parked", "marks", "ready", "lane", "listed"})
        assert kinds.isdisjoint({"unlisted", "timers", "expiring", "expiries"})
