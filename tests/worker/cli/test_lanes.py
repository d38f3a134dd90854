"""`lanes` shows what waits in each lane, and what blocks it since when."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from policies.rate_limits import Pace
from sendwindow.vocabulary import Priority
from tests.conftest import StoreUnderTest
from tests.support.cli_world import CommandLine
from tests.support.limited_claims import MINUTE, limit
from tests.support.stores_world import ACCOUNT, FAR, UNKNOWN, World, opened
from worker.ports.admissions import Charge, PostLimit
from worker.ports.effects import PauseAccount

Line = dict[str, object]


def play(store: StoreUnderTest, steps: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(store) as world:
            await steps(world)

    asyncio.run(run())


def lanes(command: CommandLine) -> dict[tuple[object, ...], Line]:
    """Return the lines of `lanes --json` by kind, sender, priority and campaign."""
    found = command("lanes", "--json").objects
    keys = ("kind", "sender", "priority", "campaign")
    return {tuple(line[key] for key in keys): line for line in found}


def blocks(line: Line) -> tuple[object, object]:
    return line["blocked_by"], line["detail"]


async def fill(world: World) -> None:
    await world.enqueue("m1")
    await world.enqueue("m2", campaign="spring")
    await world.enqueue("m3", priority=Priority.BULK, not_before=FAR)
    await world.enqueue("o1", sender="other")


def test_what_waits_is_counted_by_account_sender_and_lane(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A lane without a due message says why its first one waits, and until when."""
    play(store, fill)
    found = lanes(command)
    counts = {name: (line["queued"], line["due"]) for name, line in found.items()}
    assert counts == {
        ("account", None, None, None): (4, 3),
        ("sender", "other", None, None): (1, 1),
        ("lane", "other", "normal", None): (1, 1),
        ("sender", "shop", None, None): (3, 2),
        ("lane", "shop", "bulk", None): (1, 0),
        ("lane", "shop", "normal", None): (1, 1),
        ("lane", "shop", "normal", "spring"): (1, 1),
        ("sender", "text", None, None): (0, 0),
    }
    later = found["lane", "shop", "bulk", None]
    assert blocks(later) == ("not_before", None)
    assert datetime.fromisoformat(str(later["until"])) == FAR
    blocked = [name for name, line in found.items() if line["blocked_by"]]
    assert blocked == [("lane", "shop", "bulk", None)]


def test_a_pause_of_a_sender_blocks_its_lanes(command: CommandLine, store: StoreUnderTest) -> None:
    """Its lanes say what the sender says, and the lanes of others say nothing."""

    async def steps(world: World) -> None:
        await fill(world)
        await world.store.switches.pause("sender", "shop", timedelta(hours=1), "code 63007")

    play(store, steps)
    found = lanes(command)
    shop = [line for (_, sender, *_), line in found.items() if sender == "shop"]
    assert {blocks(line) for line in shop} == {("paused", "code 63007")}
    for line in shop:
        since, until = (datetime.fromisoformat(str(line[name])) for name in ("since", "until"))
        assert until - since == timedelta(hours=1)
    assert blocks(found["account", None, None, None]) == (None, None)
    assert blocks(found["lane", "other", "normal", None]) == (None, None)
    assert command("resume", "shop").code == 0
    assert blocks(lanes(command)["sender", "shop", None, None]) == (None, None)


def test_a_pause_without_an_end_shows_none(command: CommandLine, store: StoreUnderTest) -> None:
    """Neither `lanes` nor `doctor` names the far instant that stands for it in the store."""
    play(store, fill)
    assert command("pause", "shop").code == 0
    line = lanes(command)["sender", "shop", None, None]
    assert (blocks(line), line["until"]) == (("paused", "an operator"), None)
    told = {line["what"]: line["finding"] for line in command("doctor", "--json").objects}
    assert told["sender shop"].startswith("paused (an operator): ")


def test_a_paused_campaign_blocks_its_own_lane(command: CommandLine, store: StoreUnderTest) -> None:
    """The other lanes of its sender say nothing. A pause without an end has no `until`."""
    play(store, fill)
    for hours in ([], ["--hours", "2"]):
        assert command("campaign", "pause", "shop", "spring", *hours).code == 0
        found = lanes(command)
        spring = found["lane", "shop", "normal", "spring"]
        assert blocks(spring) == ("campaign_paused", None)
        assert bool(spring["until"]) is bool(hours)
        assert blocks(found["lane", "shop", "normal", None]) == (None, None)
        assert blocks(found["sender", "shop", None, None]) == (None, None)
    assert command("campaign", "resume", "shop", "spring").code == 0
    assert blocks(lanes(command)["lane", "shop", "normal", "spring"]) == (None, None)


def test_a_limit_that_holds_a_sender_up_is_shown(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A lane whose first message waits for something else says that."""

    async def steps(world: World) -> None:
        await limit(world, MINUTE)
        await fill(world)
        await world.claim(8)
        await world.claim(8)

    play(store, steps)
    found = lanes(command)
    assert blocks(found["sender", "shop", None, None]) == ("sender_rate", None)
    assert {blocks(line)[0] for (kind, *_), line in found.items() if kind == "lane"} == {
        "sender_rate",
        "not_before",
    }
    assert found["sender", "shop", None, None]["until"]


@pytest.mark.parametrize(("pace", "posts"), [(None, 1), (MINUTE, 0), (MINUTE, 5)])
def test_a_limit_that_holds_an_account_up_is_shown(
    command: CommandLine, store: StoreUnderTest, pace: Pace | None, posts: int
) -> None:
    """All its senders and lanes with due messages say so."""

    async def steps(world: World) -> None:
        await limit(world, account=pace, posts=posts)
        for number in range(3):
            await world.enqueue(f"m{number}")
        for _ in range(3):
            for one in await world.claim(8):
                await world.admit(
                    one,
                    charge=Charge(
                        account=pace,
                        posts=PostLimit(posts, timedelta(minutes=1)) if posts else None,
                    ),
                )

    play(store, steps)
    found = lanes(command)
    reason = "account_rate" if pace else "account_busy"
    for kind in ("account", "sender", "lane"):
        [line] = [line for (of, *_), line in found.items() if of == kind and line["due"]]
        assert blocks(line) == (reason, None)
    assert found["account", None, None, None]["until"]


def test_a_pause_keeps_the_instant_at_which_it_began(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """An error that prolongs a pause does not begin it again."""

    async def steps(world: World) -> None:
        for number in range(2):
            await world.enqueue(f"m{number}", priority=Priority.URGENT)
        first, second = await world.claim(2)
        pause = PauseAccount(3600, "code 20003")
        for one in (first, second):
            await world.admit(one)
        await world.settle(first, UNKNOWN, effects=(pause,))
        await world.later(minutes=10)
        await world.settle(second, UNKNOWN, effects=(pause,))

    play(store, steps)
    line = lanes(command)["account", None, None, None]
    since, until = (datetime.fromisoformat(str(line[name])) for name in ("since", "until"))
    assert until - since >= timedelta(minutes=70)


def test_an_open_breaker_blocks_its_account(command: CommandLine, store: StoreUnderTest) -> None:
    """It names how the last POST ended. The table for people says the same."""

    async def steps(world: World) -> None:
        for number in range(3):
            await world.enqueue(f"down{number}", priority=Priority.URGENT)
        for one in await world.claim(3):
            await world.admit(one)
            await world.settle(one, UNKNOWN, answered=False)
        await fill(world)

    play(store, steps)
    found = lanes(command)
    blocked = {blocks(line) for line in found.values()}
    assert blocked == {("breaker_open", "outcome_timeout")}
    assert all(line["since"] and not line["until"] for line in found.values())
    assert "breaker_open outcome_timeout" in " ".join(command("lanes").out.split())
    told = [line for line in command("doctor", "--json").objects if line["mark"] == "warning"]
    [breaker] = [line for line in told if line["what"] == f"account {ACCOUNT}"]
    assert f"`resume {ACCOUNT}`" in breaker["finding"]
    assert command("resume", ACCOUNT).code == 0
    assert blocks(lanes(command)["account", None, None, None]) == (None, None)


def test_a_sender_without_an_account_is_listed_alone(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """Its messages are not hidden, although neither the store nor the settings know it."""

    async def steps(world: World) -> None:
        await world.enqueue("m1", sender="gone")

    play(store, steps)
    line = lanes(command)["lane", "gone", "normal", None]
    assert (line["account"], line["queued"]) == (None, 1)
