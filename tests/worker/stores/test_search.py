"""Which evidence is searched for next: by urgency, accounts in turn, nothing forgotten."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sendwindow.vocabulary import Purpose, Reason, Stage
from tests.depth import examples
from tests.support.stores_world import ACCOUNT, SENDER, UNKNOWN, Place, World, accepted, opened
from worker.ports.settlements import SettleEnd
from worker.ports.unknowns import Resolution, UnknownAttempt

pytestmark = pytest.mark.asyncio

AGAIN_MS = 30_000
BRANCH = "branch"
"""A sender of another account, `second`."""

MARKETING, UTILITY, CODE = Purpose.MARKETING, Purpose.UTILITY, Purpose.AUTHENTICATION


async def park(
    world: World,
    message_id: str,
    purpose: Purpose,
    sender: str = SENDER,
    lives: timedelta = timedelta(hours=1),
) -> None:
    """Park a message as unknown that expires after that time."""
    expires_at = await world.store.now() + lives
    await world.enqueue(message_id, purpose=purpose, sender=sender, expires_at=expires_at)
    claimed, account = await world.claim_one(), "second" if sender == BRANCH else ACCOUNT
    await world.admit(claimed, sender=sender, account=account)
    await world.settle(claimed, UNKNOWN, sender=sender, account=account)


async def branched(world: World) -> None:
    await world.store.register_senders({BRANCH: "second"}, {})


async def due(
    world: World, limit: int = 32, passing_over: tuple[str, ...] = ()
) -> list[UnknownAttempt]:
    return await world.store.unknowns.due(limit, AGAIN_MS, passing_over)


async def order(world: World, limit: int = 32) -> list[list[str]]:
    """Take everything that is due, and return the ids of each batch."""
    batches = []
    while batch := await due(world, limit):
        batches.append([one.message_id for one in batch])
    return batches


async def test_the_most_urgent_is_looked_for_first(store: Place) -> None:
    """The most urgent purpose is searched for first, and of one purpose the earliest expiry."""
    async with opened(store) as world:
        await park(world, "offer", MARKETING)
        await park(world, "order", UTILITY)
        await park(world, "change", Purpose.ACCOUNT_UPDATE)
        await park(world, "answer", Purpose.REPLY)
        await park(world, "code-late", CODE, lives=timedelta(minutes=9))
        await park(world, "code-soon", CODE, lives=timedelta(minutes=2))
        await world.later(seconds=6)
        batches = await order(world)
        assert batches == [["code-soon", "code-late"], ["answer"], ["change"], ["order"], ["offer"]]


async def test_what_becomes_due_later_and_is_more_urgent_goes_next(store: Place) -> None:
    """A code that is due later is searched for before the rest of a campaign."""
    async with opened(store) as world:
        for number in range(6):
            await park(world, f"offer-{number}", MARKETING)
        await world.later(seconds=3)
        await park(world, "code", CODE)
        await world.later(seconds=3)
        assert [one.message_id for one in await due(world, 2)] == ["offer-0", "offer-1"]
        await world.later(seconds=3)
        assert [one.message_id for one in await due(world, 2)] == ["code"]
        assert len(await due(world, 2)) == 2


async def test_a_code_overtakes_more_than_one_call_looks_at(store: Place) -> None:
    """All due attempts are sorted in small steps before one is taken, so a code overtakes them."""
    async with opened(store) as world:
        for number in range(9):
            await park(world, f"offer-{number}", MARKETING)
        await park(world, "code", CODE)
        await world.later(seconds=6)
        assert [one.message_id for one in await due(world, 2)] == ["code"]


async def test_accounts_take_turns(store: Place) -> None:
    """Accounts alternate, so one account's flood leaves the other every second search."""
    async with opened(store) as world:
        await branched(world)
        for number in range(6):
            await park(world, f"flood-{number}", UTILITY)
        for number in range(2):
            await park(world, f"drop-{number}", UTILITY, BRANCH)
        await world.later(seconds=6)
        first = [name.partition("-")[0] for batch in await order(world, 1) for name in batch]
        assert sorted(first[:2]) == sorted(first[2:4]) == ["drop", "flood"]
        assert first[4:] == ["flood"] * 4


async def test_codes_do_not_starve_the_rest(store: Place) -> None:
    """Marketing gets one search in seventeen, even while codes keep coming."""
    async with opened(store) as world:
        for number in range(20):
            await park(world, f"code-{number:02}", CODE)
        await park(world, "offer", MARKETING)
        await world.later(seconds=6)
        flat = [name for batch in await order(world, 1) for name in batch]
        assert 15 <= flat.index("offer") <= 17


async def test_an_account_that_is_passed_over_saves_up_no_turns(store: Place) -> None:
    """An account that was passed over goes behind more urgent work afterwards and saves up
    nothing.
    """
    async with opened(store) as world:
        await branched(world)
        for number in range(4):
            await park(world, f"offer-{number}", MARKETING)
            await park(world, f"theirs-{number}", MARKETING, BRANCH)
        await world.later(seconds=6)
        for _ in range(4):
            (one,) = await due(world, 1, ("second",))
            assert one.account == ACCOUNT
        assert await due(world, 1, ("second",)) == []
        assert await due(world, 1, (ACCOUNT, "second")) == []
        await park(world, "code", CODE)
        await world.later(seconds=6)
        assert [one.message_id for one in await due(world, 1)] == ["code"]
        assert (await due(world, 1))[0].account == "second"


async def test_what_was_not_looked_at_is_given_back(store: Place) -> None:
    """An attempt that was not searched for is given back with its count of searches.

    Repeated, or for a message that went on, that changes nothing.
    """
    async with opened(store) as world:
        await park(world, "m1", UTILITY)
        await park(world, "m2", UTILITY)
        await world.later(seconds=6)
        assert len(await due(world)) == 2
        assert [(await world.row(each))["lo"] for each in ("m1", "m2")] == ["1", "1"]
        assert await due(world) == []
        end = SettleEnd(Stage.FAILED, Reason.NEVER_BY_RULE)
        await world.store.unknowns.resolve([Resolution("m2", 1, end)])
        for _ in range(2):
            await world.store.unknowns.give_back(["m1", "m2", "gone"])
        assert [one.message_id for one in await due(world)] == ["m1"]
        assert (await world.row("m1"))["lo"] == "1"
        assert (await world.row("m2"))["s"] == "failed"


async def test_what_was_proven_while_it_waited_is_not_handed_out(store: Place) -> None:
    """An attempt that a callback proved while it waited is not handed out."""
    async with opened(store) as world:
        await park(world, "m1", UTILITY)
        await park(world, "code", CODE)
        await world.later(seconds=6)
        assert [one.message_id for one in await due(world)] == ["code"]
        await world.callback("delivered", "SM1")
        assert await due(world) == []
        assert await world.redis.zcard(world.keys.search("4", ACCOUNT)) == 0


async def test_what_waits_in_a_queue_that_is_lost_is_queued_again(store: Place) -> None:
    """Unknown messages whose queue was lost are found by their stage and queued again.

    Rows that an older worker parked have no queue either.
    """
    async with opened(store) as world:
        for number in range(3):
            await park(world, f"m{number}", UTILITY)
        await world.later(seconds=6)
        assert len(await due(world, 1)) == 1
        names = (
            world.keys.search("4", ACCOUNT),
            world.keys.searching("4"),
            world.keys.searches,
            world.keys.rings,
        )
        await world.redis.delete(*names)
        assert await due(world) == []
        await world.later(minutes=11)
        assert len(await due(world)) == 3


async def test_an_unreadable_job_is_handed_out(store: Place) -> None:
    """An unknown message with an unreadable job is handed out last, because an operator must
    learn of it.
    """
    async with opened(store) as world:
        await park(world, "m1", CODE)
        await park(world, "m2", MARKETING)
        await world.redis.set(world.keys.job("m1"), b"garbage")
        await world.later(seconds=6)
        assert sorted(name for batch in await order(world) for name in batch) == ["m1", "m2"]


@settings(
    max_examples=examples(10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.sampled_from(Purpose), st.sampled_from([SENDER, BRANCH]), st.integers(1, 600)),
        max_size=12,
    ),
    st.integers(1, 5),
)
async def test_everything_due_is_handed_out_once_and_in_order(
    store: Place, wishes: list[tuple[Purpose, str, int]], limit: int
) -> None:
    """Everything due is handed out once and in order, however little is taken at once."""
    async with opened(store) as world:
        await world.redis.flushdb()
    async with opened(store) as world:
        await branched(world)
        for number, (purpose, sender, minutes) in enumerate(wishes):
            await park(world, f"m{number}", purpose, sender, timedelta(minutes=minutes))
        await world.later(seconds=30)
        taken: list[UnknownAttempt] = []
        while batch := await due(world, limit):
            assert len({(one.account, _purpose(wishes, one)) for one in batch}) == 1
            taken += batch
        assert sorted(one.message_id for one in taken) == sorted(
            f"m{number}" for number in range(len(wishes))
        )
        for key in {(one.account, _purpose(wishes, one)) for one in taken}:
            mine = [one for one in taken if (one.account, _purpose(wishes, one)) == key]
            ends = [int((await world.row(one.message_id))["e"]) for one in mine]
            assert ends == sorted(ends)


def _purpose(wishes: list[tuple[Purpose, str, int]], one: UnknownAttempt) -> Purpose:
    return wishes[int(one.message_id[1:])][0]


# -- statuses that stay away ---------------------------------------------------------------------

QUIET_MS, EVERY_MS = 15 * 60_000, 60 * 60_000


async def missing(world: World, limit: int = 20, passing_over: tuple[str, ...] = ()) -> list[str]:
    found = await world.store.unknowns.missing(limit, QUIET_MS, EVERY_MS, passing_over)
    return [one.message_id for one in found]


async def accept(world: World, name: str, sender: str = SENDER) -> None:
    account = "second" if sender == BRANCH else ACCOUNT
    await world.enqueue(name, sender=sender)
    claimed = await world.claim_one()
    await world.admit(claimed, sender=sender, account=account)
    await world.settle(claimed, accepted(f"SM-{name}"), sender=sender, account=account)


async def test_old_messages_do_not_hold_up_younger_ones(store: Place) -> None:
    """Messages older than 48 hours are dropped from the search in the same call, and counted."""
    async with opened(store) as world:
        for number in range(7):
            await accept(world, f"old-{number}")
        await world.later(hours=49)
        await accept(world, "young")
        await world.later(minutes=16)
        assert await missing(world, 2) == ["young"]
        assert await world.count("status_never_final") == 7
        assert await world.redis.zcard(world.keys.undelivered) == 1


async def test_a_message_whose_row_is_gone_is_counted_too(store: Place) -> None:
    """A message whose row is gone leaves the list and is counted."""
    async with opened(store) as world:
        await accept(world, "m1")
        await world.redis.delete(world.keys.row("m1"))
        await world.later(minutes=16)
        assert await missing(world) == []
        assert await world.count("status_never_final") == 1
        assert await world.redis.zcard(world.keys.undelivered) == 0


async def test_a_message_that_was_never_asked_for_goes_first(store: Place) -> None:
    """A new message is fetched before a backlog of messages that stay at `sent`."""
    async with opened(store) as world:
        for number in range(3):
            await accept(world, f"sent-{number}")
        await world.later(minutes=16)
        assert len(await missing(world)) == 3
        await world.later(hours=2)
        await accept(world, "new")
        await world.later(minutes=16)
        assert await missing(world, 1) == ["new"]
        assert len(await missing(world)) == 3


async def test_each_message_is_asked_for_a_few_times_only(store: Place) -> None:
    """A message is fetched at 15 minutes and then after five times its age, so that a run keeps
    up.
    """
    async with opened(store) as world:
        await accept(world, "m1")
        asked = []
        for hour in range(50 * 4):
            if await missing(world):
                asked.append(hour / 4)
            await world.later(minutes=15)
        assert len(asked) == 3
        assert asked[0] <= 0.25
        assert await world.count("status_never_final") == 1
        assert await world.redis.zcard(world.keys.undelivered) == 0


async def test_accounts_take_turns_with_fetches(store: Place) -> None:
    """Accounts alternate with fetches too, and one can be passed over."""
    async with opened(store) as world:
        await branched(world)
        for number in range(4):
            await accept(world, f"flood-{number}")
        await accept(world, "drop", BRANCH)
        await world.later(minutes=16)
        first = [await missing(world, 1), await missing(world, 1)]
        assert ["drop"] in first
        assert await missing(world, 1, (ACCOUNT,)) == []
        assert await missing(world, 3) == ["flood-1", "flood-2", "flood-3"]


async def test_what_was_not_fetched_is_due_at_once(store: Place) -> None:
    """Messages that an account did not fetch keep their place and are due at once."""
    async with opened(store) as world:
        await accept(world, "m1")
        await accept(world, "m2")
        await world.later(minutes=16)
        assert await missing(world) == ["m1", "m2"]
        await world.store.unknowns.still_missing(["m2", "gone"])
        assert await missing(world) == ["m2"]
