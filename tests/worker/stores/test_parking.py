"""Senders and accounts that may not send are parked: what that costs, and what comes of it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from sendwindow.vocabulary import Priority, Reason, Stage
from tests.support.claims import suspected
from tests.support.ring_steps import claimed_by, lane, queue
from tests.support.stores_world import ACCOUNT, FAR, REFUSED, SENDER, Place, World, opened
from worker.ports.claims import Suspects
from worker.ports.settlements import SettleAgain
from worker.stores.store import AccountLimits

pytestmark = pytest.mark.asyncio

YEAR = timedelta(days=365)
PAUSES = [Reason.SENDER_PAUSED, Reason.ACCOUNT_PAUSED]


async def commands_of(world: World, call: Callable[[], Awaitable[object]]) -> int:
    """Return how many commands the server ran for a call, those inside scripts too."""
    await world.redis.config_resetstat()
    await call()
    stats = await world.redis.info("commandstats")
    return int(sum(one["calls"] for name, one in stats.items() if "config" not in name))


async def scripts_of(world: World, call: Callable[[], Awaitable[object]]) -> int:
    """Return how many scripts the server ran for a call."""
    await world.redis.config_resetstat()
    await call()
    stats = await world.redis.info("commandstats")
    return int(sum(one["calls"] for name, one in stats.items() if "eval" in name))


async def settled(world: World) -> None:
    """Claim until there is nothing to do at once."""
    while (batch := await world.store.ledger.claim(10)).next_due_at == batch.now:
        assert batch.claimed == ()


async def costs_with(store: Place, lanes: int, kind: str) -> list[int]:
    """Return what a claim, a queued message and the end of a pause cost next to parked lanes."""
    async with opened(store) as world:
        for number in range(lanes):
            await queue(world, lane(campaign=f"c{number}"), [f"{number}-a", f"{number}-b"])
        await pause(world, kind)
        await settled(world)
        other = lane("other") if kind == "sender" else lane("third")

        async def claim() -> None:
            await world.store.ledger.claim(1, Suspects.NEVER)

        async def resume() -> None:
            assert await end_pause(world, kind)

        async def queue_more() -> None:
            await queue(world, lane(campaign="c0"), ["more"])

        async def pause_again() -> None:
            await pause(world, kind)

        await world.store.register_senders({"third": "second"}, {})
        await queue(world, other, ["x", "y"])
        found = [await commands_of(world, claim) for _ in range(2)]
        found += [await commands_of(world, queue_more)]
        await settled(world)
        found += [await commands_of(world, claim), await commands_of(world, resume)]
        return [*found, await commands_of(world, pause_again), await commands_of(world, claim)]


async def pause(world: World, kind: str, length: timedelta = YEAR) -> None:
    if kind == "sender":
        await world.store.switches.pause("sender", SENDER, length, "63007")
    else:
        await world.store.switches.pause("account", ACCOUNT, length, "20003")


async def end_pause(world: World, kind: str) -> bool:
    if kind == "sender":
        return await world.store.switches.resume("sender", SENDER)
    return await world.store.switches.resume("account", ACCOUNT)


@pytest.mark.parametrize("kind", ["sender", "account"])
async def test_what_is_parked_costs_the_same_however_much_it_is(store: Place, kind: str) -> None:
    """A claim, an enqueue, a pause and a resume cost as many commands with 300 lanes as with 5."""
    few = await costs_with(store, 5, kind)
    await _empty(store)
    assert await costs_with(store, 300, kind) == few


async def _empty(store: Place) -> None:
    async with opened(store) as world:
        await world.redis.flushdb()


@pytest.mark.parametrize("kind", ["sender", "account"])
async def test_a_message_for_what_is_parked_costs_an_enqueue_what_any_costs(
    store: Place, kind: str
) -> None:
    """An enqueue makes as many calls for a parked sender as for one that may send."""
    found = []
    async with opened(store) as world:
        await world.store.register_senders({"third": "second"}, {})
        await queue(world, lane(), ["m1"])
        await queue(world, lane("third"), ["t1"])
        await pause(world, kind)
        assert await claimed_by(world, 10) == ["t1"]
        await settled(world)
        for sender in (SENDER, "third"):

            async def queue_more(sender: str = sender) -> None:
                await queue(world, lane(sender), [f"{sender}-2"])

            found.append(await commands_of(world, queue_more))
    assert found[0] == found[1]


async def test_lanes_that_wait_for_their_time_cost_a_claim_nothing(store: Place) -> None:
    """A claim costs the same next to 10 lanes on timers as next to 1,000."""
    found = []
    for lanes in (10, 1000):
        async with opened(store) as world:
            for number in range(lanes):
                await world.enqueue(f"far-{number}", not_before=FAR, campaign=f"c{number}")
            await settled(world)
            await world.enqueue("now")
            found.append(await commands_of(world, world.claim_one))
        await _empty(store)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["sender", "account"])
async def test_a_resume_gives_everything_back_in_its_order(store: Place, kind: str) -> None:
    """After `resume` the next claim takes what was queued, in the order in which it came."""
    async with opened(store) as world:
        await queue(world, lane(), ["m0", "m1"])
        await pause(world, kind)
        assert await claimed_by(world, 10) == []
        await queue(world, lane(), ["m2"])
        assert await claimed_by(world, 10) == []
        assert await end_pause(world, kind)
        assert await claimed_by(world, 10) == ["m0", "m1", "m2"]


@pytest.mark.parametrize("reason", PAUSES)
async def test_a_message_that_comes_back_because_of_a_pause_keeps_its_place(
    store: Place, reason: Reason
) -> None:
    """What was claimed when the pause began goes first when it ends, and at once."""
    kind = "sender" if reason is Reason.SENDER_PAUSED else "account"
    async with opened(store) as world:
        await queue(world, lane(), ["first", "second"])
        claimed = await world.claim_one()
        await pause(world, kind)
        again = SettleAgain(Stage.WAITING, reason, due_at=await world.store.now() + YEAR)
        assert (await world.settle(claimed, again, attempt=0)).stage is Stage.WAITING
        assert await claimed_by(world, 10) == []
        await queue(world, lane(), ["third"])
        assert await end_pause(world, kind)
        assert await claimed_by(world, 10) == ["first", "second", "third"]


@pytest.mark.parametrize("reason", PAUSES)
async def test_after_the_pause_a_message_waits_as_it_was_told(store: Place, reason: Reason) -> None:
    """When the pause is over by the time a message comes back, it is due when its worker said."""
    async with opened(store) as world:
        await queue(world, lane(), ["m1"])
        claimed = await world.claim_one()
        again = SettleAgain(Stage.WAITING, reason, delay_ms=60_000)
        await world.settle(claimed, again, attempt=0)
        assert await claimed_by(world, 10) == []
        await world.later(seconds=61)
        assert await claimed_by(world, 10) == ["m1"]


@pytest.mark.parametrize("kind", ["sender", "account"])
async def test_a_pause_ends_by_itself_also_when_its_length_changed(store: Place, kind: str) -> None:
    """What is parked returns when the pause ends, and not before: longer, shorter, or as set."""
    async with opened(store) as world:
        for number, (first, second) in enumerate([(5, 5), (5, 9), (9, 5)]):
            await pause(world, kind, timedelta(minutes=first))
            await queue(world, lane(), [f"m{number}"])
            assert await claimed_by(world, 10) == []
            await pause(world, kind, timedelta(minutes=second))
            await world.later(minutes=second, seconds=-2)
            assert await claimed_by(world, 10) == []
            await world.later(seconds=3)
            assert await claimed_by(world, 10) == [f"m{number}"]


async def test_a_call_parks_some_and_the_next_goes_on(store: Place) -> None:
    """However many senders were paused since the last claim, no call costs much, and none waits."""
    async with opened(store) as world:
        senders = [f"s{number}" for number in range(100)]
        await world.store.register_senders(dict.fromkeys(senders, ACCOUNT))
        for sender in senders:
            await queue(world, lane(sender), [sender])
            await world.store.switches.pause("sender", sender, YEAR, "63007")
        await queue(world, lane(), ["m1"])
        first = await world.store.ledger.claim(10, Suspects.NEVER)
        assert first.claimed == ()
        assert first.next_due_at == first.now
        assert await world.redis.zcard(world.keys.parked) == 64
        assert await claimed_by(world, 10) == ["m1"]
        assert await world.redis.zcard(world.keys.parked) == 100


async def test_no_call_registers_or_asks_about_more_than_a_hundred_names(store: Place) -> None:
    """A thousand senders or accounts do not hold everybody else up for tens of milliseconds."""
    async with opened(store) as world:
        accounts = {f"s{number}": f"a{number}" for number in range(250)}
        limits = {account: AccountLimits(None, 3) for account in accounts.values()}

        async def register() -> None:
            await world.store.register_senders(accounts, limits=limits)

        async def ask() -> None:
            assert await world.store.breakers.due(list(accounts.values())) == []

        for call in (register, ask):
            await call()
            assert await scripts_of(world, call) == 3
        for sender, account in accounts.items():
            assert await world.calls.ask("HGET", world.keys.sender(sender), "a") == account.encode()
            assert await world.calls.ask("HGET", world.keys.account(account), "op") == b"3"


async def test_a_sender_and_its_account_are_parked_apart(store: Place) -> None:
    """The end of one pause does not end the other."""
    async with opened(store) as world:
        await queue(world, lane(), ["m1"])
        await pause(world, "sender")
        assert await claimed_by(world, 10) == []
        await pause(world, "account")
        await queue(world, lane("other"), ["o1"])
        assert await claimed_by(world, 10) == []
        assert await end_pause(world, "sender")
        assert await claimed_by(world, 10) == []
        assert await end_pause(world, "account")
        assert sorted(await claimed_by(world, 10)) == ["m1", "o1"]


async def test_a_sender_that_is_registered_later_moves_to_its_account(store: Place) -> None:
    """What was queued before any worker knew its sender goes when the account may send."""
    async with opened(store) as world:
        await world.store.register_senders({"late": "second", "busy": "second"}, {})
        await world.redis.hdel(world.keys.sender("late"), "a")  # type: ignore[misc]  # redis-py types both flavours at once
        await queue(world, lane("late"), [f"l{number}" for number in range(3)])
        assert len(await claimed_by(world, 1)) == 1
        await world.store.register_senders({"late": "second"}, {})
        await world.store.switches.pause("account", "second", YEAR, "20003")
        assert await claimed_by(world, 10) == []
        assert await world.store.switches.resume("account", "second")
        assert await claimed_by(world, 10) == ["l1", "l2"]


@pytest.mark.parametrize("kind", ["sender", "account"])
async def test_what_expires_while_it_is_parked_ends(store: Place, kind: str) -> None:
    """What is parked expires in time, also what falls due at one instant, and what came back."""
    async with opened(store) as world:
        now = await world.store.now()
        start, end = now + timedelta(minutes=1), now + timedelta(minutes=30)
        for number in range(150):
            await world.enqueue(f"same-{number}", not_before=start, expires_at=end)
        await world.enqueue("back", expires_at=end)
        claimed = await world.claim_one()
        await pause(world, kind)
        await world.store.ledger.release([("back", claimed.fence)])
        await world.enqueue("stays")
        await world.later(minutes=2)
        await settled(world)
        await world.later(minutes=30)
        ended: list[str] = []
        while taken := await claimed_by(world, 20):
            ended += taken
        assert sorted(ended) == sorted(["back", *(f"same-{number}" for number in range(150))])


async def ended(world: World) -> list[str]:
    """Return what claims take until there is nothing, in the order of ids."""
    found: list[str] = []
    while taken := await claimed_by(world, 20):
        found += taken
    return sorted(found)


@pytest.mark.parametrize("kind", ["sender", "account"])
async def test_what_falls_due_at_one_instant_expires_also_when_some_of_it_was_sent(
    store: Place, kind: str
) -> None:
    """Claims that take some of the messages in between miss none of the others."""
    async with opened(store) as world:
        now = await world.store.now()
        start, end = now + timedelta(minutes=1), now + timedelta(minutes=30)
        ids = [f"same-{number:03}" for number in range(300)]
        for message_id in ids:
            await world.enqueue(message_id, not_before=start, expires_at=end)
        await world.later(minutes=2)
        sent = [name for _ in range(5) for name in await claimed_by(world, 20)]
        await pause(world, kind)
        await settled(world)
        await world.later(minutes=30)
        assert await ended(world) == sorted({*ids} - {*sent})


async def test_what_comes_back_after_its_minute_ends(store: Place) -> None:
    """A message that was with a worker while its minute ended expires when it comes back, however
    often it came back before.
    """
    async with opened(store) as world:
        end = await world.store.now() + timedelta(minutes=5)
        await world.enqueue("m1", expires_at=end)
        for _ in range(2):
            claimed = await world.claim_one()
            await world.store.ledger.release([("m1", claimed.fence)])
        claimed = await world.claim_one()
        await world.later(minutes=7)
        assert await claimed_by(world, 10) == []
        await pause(world, "sender")
        await world.store.ledger.release([("m1", claimed.fence)])
        assert await claimed_by(world, 10) == ["m1"]


async def test_expired_messages_share_turns_with_others(store: Place) -> None:
    """A thousand messages that expired at once do not hold up what is still to be sent."""
    async with opened(store) as world:
        end = await world.store.now() + timedelta(minutes=5)
        for number in range(100):
            await world.enqueue(f"old-{number}", expires_at=end)
        await pause(world, "sender")
        await settled(world)
        await world.later(minutes=6)
        await queue(world, lane("other"), [f"new-{number}" for number in range(64)])
        taken = [*await claimed_by(world, 32), *await claimed_by(world, 32)]
        assert sum(name.startswith("new") for name in taken) >= 24


@pytest.mark.parametrize("kind", ["sender", "account"])
async def test_a_parked_suspect_expires(store: Place, kind: str) -> None:
    """A message that two workers crashed on expires while it is parked, claimed alone."""
    async with opened(store) as world:
        await suspected(world, "m1", "m2")
        assert await world.claim(10, Suspects.NEVER) == ()
        await pause(world, kind)
        assert await world.claim(10) == ()
        await world.later(hours=25)
        assert sorted([(await world.claim_one()).message_id for _ in range(2)]) == ["m1", "m2"]


async def test_a_sender_that_no_worker_has_registered_is_parked_as_well(store: Place) -> None:
    """A pause holds what is queued for a sender without an account, also once it gets one."""
    async with opened(store) as world:
        await queue(world, lane("late"), ["l1"])
        await world.store.switches.pause("sender", "late", YEAR, "63007")
        assert await claimed_by(world, 10) == []
        await world.store.register_senders({"late": "second"}, {})
        await queue(world, lane("late"), ["l2"])
        assert await claimed_by(world, 10) == []
        assert await world.store.switches.resume("sender", "late")
        assert await claimed_by(world, 10) == ["l1", "l2"]


async def test_marks_of_the_version_before_are_read(store: Place) -> None:
    """Lanes that a store holds from before have turns: in `ready` with a virtual time, or timed."""
    async with opened(store) as world:
        await queue(world, lane(), ["m1"])
        await queue(world, lane("other", "bulk", "c"), ["m2"])
        await world.redis.delete(world.keys.ready, world.keys.marks)
        await world.redis.zadd(world.keys.ready, {"shop|normal|": 412.0625})
        await world.redis.zadd(world.keys.timers, {"other|bulk|c": 1})
        await world.redis.hset(world.keys.meta, mapping={"vtime": "412", "look:shop|normal|": "3"})  # type: ignore[misc]  # redis-py types both flavours at once
        assert sorted(await claimed_by(world, 10)) == ["m1", "m2"]


async def test_a_store_of_the_version_before_loses_nothing(store: Place) -> None:
    """Hundreds of lanes with virtual times, on timers and looked at are claimed, each once."""
    async with opened(store) as world:
        ids = [f"m{number:03}-{index}" for number in range(400) for index in range(2)]
        for number in range(400):
            priority = ("urgent", "normal", "bulk")[number % 3]
            await queue(
                world, lane(priority=priority, campaign=f"c{number}"), ids[2 * number :][:2]
            )
        names = [name.decode() for name in await world.redis.zrange(world.keys.ready, 0, -1)]
        assert len(names) == 400
        now = (await world.store.now()).timestamp() * 1000
        await world.redis.delete(world.keys.ready, world.keys.marks)
        await world.redis.zadd(
            world.keys.ready, {name: 0.0625 * at for at, name in enumerate(names[:250])}
        )
        await world.redis.zadd(
            world.keys.timers, {name: now - at for at, name in enumerate(names[250:])}
        )
        looked_at = {f"look:{name}": "1" for name in names[:50]}
        await world.redis.hset(world.keys.meta, mapping={"vtime": "412.5"} | looked_at)  # type: ignore[misc]  # redis-py types both flavours at once
        await queue(world, lane("other"), ["new"])
        assert await ended(world) == sorted([*ids, "new"])


async def test_nothing_is_left_of_lanes_that_are_through(store: Place) -> None:
    """When all messages have ended, no ring, place or list of them is left."""
    async with opened(store) as world:
        end = await world.store.now() + timedelta(minutes=5)
        for number in range(70):
            priority = list(Priority)[number % 3]
            sender = (SENDER, "other")[number % 2]
            await world.enqueue(
                f"m{number}",
                sender=sender,
                priority=priority,
                campaign=f"c{number}",
                expires_at=end,
            )
        await pause(world, "sender")
        assert len(await claimed_by(world, 20)) == 20
        await pause(world, "account")
        await settled(world)
        await end_pause(world, "sender")
        await end_pause(world, "account")
        for claimed in await world.claim(100):
            await world.settle(claimed, REFUSED)
        await world.later(hours=1)
        await settled(world)
        left = [key.decode() async for key in world.redis.scan_iter(match="sw:*")]
        kinds = {key.split(":")[2] for key in left}
        gone = {"ring", "rested", "parked", "marks", "ready", "timers", "lane", "listed"}
        assert kinds.isdisjoint(gone | {"unlisted", "expiring", "expiries"})
