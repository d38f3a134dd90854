"""What share of the claims each member of a ring gets, whatever arrives next to it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import StoreUnderTest
from tests.depth import examples
from tests.support.ring_model import QUANTUM
from tests.support.ring_steps import claimed_by, queue
from tests.support.ring_tree import LaneName
from tests.support.stores_world import REFUSED, Place, World, opened, settlement
from worker.ports.claims import Suspects

ACCOUNTS: Final = {"shop": "main", "other": "main", "third": "second"}
WEIGHTS: Final = {"urgent": 16, "normal": 4, "bulk": 1}
KEPT: Final = 2 * QUANTUM
"""How many messages a lane that always has work is filled up to. No claim of a test takes more."""

_PARTITIONS = count(1)


def lane(sender: str = "shop", priority: str = "normal", campaign: str = "") -> LaneName:
    return LaneName(ACCOUNTS[sender], sender, priority, campaign)


def partition_of(place: Place) -> StoreUnderTest:
    """Return a partition that nothing uses yet."""
    return StoreUnderTest(place.url, f"fair-{next(_PARTITIONS)}")


class Loads:
    """Fills lanes of a store, and counts for each lane what claims take from it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.served: Counter[LaneName] = Counter()
        self.queued: Counter[LaneName] = Counter()
        self._lanes: dict[str, LaneName] = {}
        self._numbers = count(1)

    async def add(self, one: LaneName, size: int) -> None:
        ids = [f"m{next(self._numbers)}" for _ in range(size)]
        self._lanes |= dict.fromkeys(ids, one)
        await queue(self.world, one, ids)
        self.queued[one] += size

    async def fill(self, lanes: Iterable[LaneName], up_to: int = KEPT) -> None:
        for one in lanes:
            missing = up_to - self.queued[one]
            if missing > 0:
                await self.add(one, missing)

    async def claim(self, limit: int) -> list[LaneName]:
        """Claim, end what was claimed, and return the lanes that it was in."""
        claimed = (await self.world.store.ledger.claim(limit, Suspects.NEVER)).claimed
        await self.world.store.ledger.settle([settlement(one, REFUSED) for one in claimed])
        lanes = [self._lanes.pop(one.message_id) for one in claimed]
        self.served.update(lanes)
        self.queued.subtract(lanes)
        return lanes

    def served_of(self, is_counted: Callable[[LaneName], bool]) -> int:
        return sum(number for one, number in self.served.items() if is_counted(one))


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", [8, 16])
@pytest.mark.parametrize("campaigns", [("a", "z"), ("z", "a")])
async def test_bulk_that_is_refilled_at_each_claim_gets_a_seventeenth(
    store: Place, campaigns: tuple[str, str], limit: int
) -> None:
    """Urgent messages get 16 of 17 claims within two quanta, whatever the lanes are called."""
    bulk, urgent = (
        lane(priority="bulk", campaign=campaigns[0]),
        lane("shop", "urgent", campaigns[1]),
    )
    async with opened(store) as world:
        loads = Loads(world)
        for taken in range(limit, 50 * limit, limit):
            await loads.fill([bulk, urgent])
            await loads.claim(limit)
            assert loads.served[urgent] >= taken * 16 / 17 - 2 * QUANTUM
            assert loads.served.total() == taken


@pytest.mark.asyncio
async def test_two_hundred_bulk_lanes_get_the_share_of_one(store: Place) -> None:
    """200 bulk lanes that are refilled leave an urgent lane 16 of 17 claims."""
    bulk = [lane(priority="bulk", campaign=f"c{number}") for number in range(200)]
    urgent = lane(priority="urgent", campaign="zz")
    async with opened(store) as world:
        loads = Loads(world)
        for taken in range(16, 60 * 16, 16):
            await loads.fill(bulk, up_to=1)
            await loads.fill([urgent])
            await loads.claim(16)
            assert loads.served[urgent] >= taken * 16 / 17 - 2 * QUANTUM


@pytest.mark.asyncio
@pytest.mark.parametrize("campaigns", [1, 300])
async def test_a_sender_gets_the_same_share_however_many_campaigns_it_has(
    store: Place, campaigns: int
) -> None:
    """A sender's campaigns leave another sender of its account, and another account, half."""
    many = [lane(campaign=f"c{number}") for number in range(campaigns)]
    other, third = lane("other"), lane("third")
    async with opened(store) as world:
        await world.store.register_senders(ACCOUNTS, {})
        loads = Loads(world)
        for taken in range(16, 40 * 16, 16):
            await loads.fill(many, up_to=1 if campaigns > 1 else KEPT)
            await loads.fill([other, third])
            await loads.claim(16)
            assert abs(loads.served[third] - taken / 2) <= 2 * QUANTUM
            assert abs(loads.served[other] - taken / 4) <= 2 * QUANTUM


@pytest.mark.asyncio
async def test_urgent_messages_of_another_account_overtake_a_thousand_campaigns(
    store: Place,
) -> None:
    """300 urgent messages take 16 of 17 claims behind 1,000 bulk campaigns, as behind one."""
    urgent = lane("third", "urgent")
    for campaigns in (1, 1000):
        async with opened(partition_of(store)) as world:
            await world.store.register_senders(ACCOUNTS, {})
            loads = Loads(world)
            for number in range(campaigns):
                size = 2000 // campaigns
                await loads.add(lane(priority="bulk", campaign=f"c{number}"), size)
            await loads.claim(10)
            await loads.add(urgent, 300)
            before = loads.served.total()
            while loads.served[urgent] < 300:
                await loads.claim(10)
            assert loads.served.total() - before <= 300 * 17 / 16 + 2 * QUANTUM


@pytest.mark.asyncio
@pytest.mark.parametrize("names", ["abcd", "dcba", "bdac"])
@pytest.mark.parametrize("level", ["account", "sender", "campaign"])
async def test_members_that_have_had_as_much_go_by_arrival(
    store: Place, level: str, names: str
) -> None:
    """First turns, and all that follow, are in the order of arrival, never in that of names."""
    async with opened(store) as world:
        accounts = {f"s{name}": f"a{name}" if level == "account" else "main" for name in names}
        await world.store.register_senders(accounts, {})
        lanes = [
            LaneName("main", "shop", "normal", name)
            if level == "campaign"
            else LaneName(accounts[f"s{name}"], f"s{name}", "normal", "")
            for name in names
        ]
        loads = Loads(world)
        await loads.fill(lanes, up_to=4 * QUANTUM)
        for _ in range(4):
            assert (await loads.claim(4 * QUANTUM))[::QUANTUM] == lanes


@pytest.mark.asyncio
@pytest.mark.parametrize("is_alone_first", [False, True])
async def test_a_lane_that_was_idle_has_saved_up_nothing(
    store: Place, *, is_alone_first: bool
) -> None:
    """A lane that comes back after another had 20 turns gets every second turn, not 20 in a row."""
    idle, busy = lane(campaign="i"), lane(campaign="b")
    async with opened(store) as world:
        loads = Loads(world)
        if is_alone_first:
            await loads.fill([idle, busy], up_to=QUANTUM)
            await loads.claim(2 * QUANTUM)
        for _ in range(20):
            await loads.fill([busy])
            await loads.claim(QUANTUM)
        before = loads.served.copy()
        for _ in range(10):
            await loads.fill([idle, busy])
            await loads.claim(QUANTUM)
            got = loads.served - before
            assert abs(got[idle] - got[busy]) <= 2 * QUANTUM


@pytest.mark.asyncio
async def test_a_lane_that_comes_back_has_forgotten_nothing(store: Place) -> None:
    """A lane that empties at each of its turns gets no more than one that never does."""
    trickles, steady = lane(campaign="t"), lane(campaign="s")
    async with opened(store) as world:
        loads = Loads(world)
        for _ in range(60):
            await loads.fill([steady])
            await loads.fill([trickles], up_to=QUANTUM)
            await loads.claim(QUANTUM)
            assert abs(loads.served[trickles] - loads.served[steady]) <= 2 * QUANTUM


# Pairs of members of one ring, each with the lanes that keep it loaded.
RINGS: Final = {
    "classes": ([lane(priority="urgent")], [lane("other", "bulk")]),
    "accounts": ([lane(), lane("other")], [lane("third")]),
    "senders": ([lane(), lane(campaign="a")], [lane("other")]),
    "lanes": ([lane(campaign="x")], [lane(campaign="y")]),
}
NEIGHBOURS: Final = [
    lane(sender, priority, campaign)
    for sender in ACCOUNTS
    for priority in WEIGHTS
    for campaign in ("n", "o")
]
REFILLS = st.lists(
    st.lists(st.tuples(st.sampled_from(NEIGHBOURS), st.integers(1, 20)), max_size=5),
    min_size=10,
    max_size=40,
)


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    ring=st.sampled_from(sorted(RINGS)),
    refills=REFILLS,
    limit=st.integers(1, 16),
    burst_at=st.none() | st.integers(0, 9),
)
def test_members_that_always_have_work_are_never_two_quanta_apart(
    store: StoreUnderTest,
    ring: str,
    refills: list[list[tuple[LaneName, int]]],
    limit: int,
    burst_at: int | None,
) -> None:
    """At every claim, what two members of one ring have had, each by its weight, differs by at most
    a quantum of each by its weight. Neighbours come and go, and 500 lanes may arrive at once.
    """
    place = partition_of(store)
    asyncio.run(_watch(place, RINGS[ring], refills, limit, burst_at))


async def _watch(
    place: StoreUnderTest,
    pair: tuple[list[LaneName], list[LaneName]],
    refills: list[list[tuple[LaneName, int]]],
    limit: int,
    burst_at: int | None,
) -> None:
    async with opened(place) as world:
        await world.store.register_senders(ACCOUNTS, {})
        loads = Loads(world)
        await loads.fill([*pair[0], *pair[1]])
        await loads.claim(0)
        for number, refill in enumerate(refills):
            await loads.fill([*pair[0], *pair[1]])
            for one, size in refill:
                await loads.add(one, size)
            if number == burst_at:
                for campaign in range(500):
                    await loads.add(lane("third", "normal", f"burst-{campaign}"), 1)
            await loads.claim(limit)
            first, second = (_member_of(pair, one) for one in (0, 1))
            lag = abs(_had(loads, first) - _had(loads, second))
            assert lag <= QUANTUM / _weight(pair[0][0], pair) + QUANTUM / _weight(pair[1][0], pair)
        await world.redis.flushall()


def _member_of(
    pair: tuple[list[LaneName], list[LaneName]], at: int
) -> tuple[Callable[[LaneName], bool], float]:
    """Return which lanes count for a member of a ring, and its weight."""
    one, other = pair[at][0], pair[1 - at][0]
    weight = _weight(one, pair)
    if one.priority != other.priority:
        return (lambda each: each.priority == one.priority), weight
    if one.account != other.account:
        return (lambda each: (each.priority, each.account) == (one.priority, one.account)), weight
    if one.sender != other.sender:
        return (lambda each: (each.priority, each.sender) == (one.priority, one.sender)), weight
    return (lambda each: each == one), weight


def _weight(one: LaneName, pair: tuple[list[LaneName], list[LaneName]]) -> float:
    is_between_classes = pair[0][0].priority != pair[1][0].priority
    return WEIGHTS[one.priority] if is_between_classes else 1


def _had(loads: Loads, member: tuple[Callable[[LaneName], bool], float]) -> float:
    is_counted, weight = member
    return loads.served_of(is_counted) / weight


@pytest.mark.asyncio
async def test_a_lane_of_another_sender_does_not_wait_for_a_thousand_new_lanes(
    store: Place,
) -> None:
    """A claim moves marked lanes in steps, and begins with the first lane of each sender."""
    async with opened(store) as world:
        for number in range(400):
            await queue(world, lane(campaign=f"c{number}"), [f"many-{number}"])
        await queue(world, lane("other"), ["late"])
        assert "late" in await claimed_by(world, 16)


@pytest.mark.asyncio
async def test_an_urgent_lane_is_marked_before_others(store: Place) -> None:
    """An urgent message overtakes lanes that were marked before it and are in no ring yet."""
    async with opened(store) as world:
        for number in range(300):
            await queue(world, lane(campaign=f"c{number}"), [f"normal-{number}"])
        await queue(world, lane("other", "urgent"), ["urgent"])
        assert (await claimed_by(world, 8))[0] == "urgent"
