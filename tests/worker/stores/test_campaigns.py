"""Pauses and cancels of campaigns: what they cost, and what each reader sees meanwhile."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import pytest

from sendwindow.producer import Producer
from sendwindow.results import CampaignStatus
from sendwindow.script_names import NO_END_MS
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import OnUnknown, Priority, Reason, Stage
from tests.support.claims import suspected
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    DEAD,
    FAR,
    LATER,
    REFUSED,
    SENDER,
    UNKNOWN,
    WAITS,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.admissions import Cancelled, Later
from worker.ports.claims import Suspects
from worker.ports.settlements import SettleAgain, SettleEnd

pytestmark = pytest.mark.asyncio

SPRING: Final = "spring"
HOUR: Final = timedelta(hours=1)
TURNED_BACK: Final = SettleAgain(
    Stage.WAITING, Reason.CAMPAIGN_PAUSED, due_at=from_ms(NO_END_MS), sentence=""
)
CANCELLED: Final = SettleEnd(Stage.CANCELLED, Reason.CANCELLED)


class Campaign:
    """Orders about the campaign `spring`, as a backend gives them."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer

    async def pause(self, lasting: timedelta | None = None) -> CampaignStatus:
        return await self.producer.pause_campaign(SENDER, SPRING, lasting)

    async def resume(self) -> CampaignStatus:
        return await self.producer.resume_campaign(SENDER, SPRING)

    async def cancel(self) -> CampaignStatus:
        return await self.producer.cancel_campaign(SENDER, SPRING)

    async def status(self) -> CampaignStatus:
        return await self.producer.campaign_status(SENDER, SPRING)

    async def stage(self, message_id: str = "m1") -> str:
        """Return where a message is, which each reader sees alike."""
        status = await self.producer.status(message_id)
        assert status is not None
        return status.stage.value


class in_campaign:  # noqa: N801 -- used as a function
    """Open a world and the orders about its campaign."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def __aenter__(self) -> tuple[World, Campaign]:
        self._opening = opened(self._place)
        world = await self._opening.__aenter__()
        self._producer = Producer(self._place.url, self._place.partition)
        return world, Campaign(self._producer)

    async def __aexit__(self, *error: object) -> None:
        await self._producer.close()
        await self._opening.__aexit__(None, None, None)


async def claimed_by(world: World, limit: int = 10) -> list[str]:
    return [claimed.message_id for claimed in await world.claim(limit)]


async def stage_of(world: World, campaign: Campaign, message_id: str = "m1") -> str:
    """Return where a message is, after asking both readers."""
    record = await world.store.records.record(message_id)
    assert record is not None
    assert record.row["s"] == await campaign.stage(message_id)
    return record.row["s"]


async def stored_stage(world: World, message_id: str = "m1") -> str:
    """Return the stage in the row, which says whether the end is recorded."""
    stage: bytes = await world.calls.ask("HGET", world.keys.row(message_id), "s")
    return stage.decode()


async def swept(world: World, limit: int = 64) -> int:
    """Record the ends of cancelled messages. Returns how many calls that took."""
    calls = 1
    while await world.store.ledger.end_campaigns(limit):
        calls += 1
    return calls


async def settle_down(world: World) -> None:
    """Claim nothing until every message is listed by its expiry."""
    for _ in range(10):
        await world.claim(0)


async def commands_of(world: World, act: Callable[[], Awaitable[object]]) -> int:
    """Return how many commands the store ran for `act`."""

    async def total() -> int:
        stats = await world.redis.info("commandstats")
        return sum(each["calls"] for each in stats.values())

    await total()
    before = await total()
    await act()
    own = await total() - before
    before = await total()
    return own - (await total() - before)


# -- pauses ----------------------------------------------------------------------------------------


async def test_a_paused_campaign_has_no_turns_and_others_have(store: Place) -> None:
    """While a campaign is paused, its messages of all priorities stay, and all others go on."""
    async with in_campaign(store) as (world, campaign):
        await world.store.register_senders({SENDER: ACCOUNT})
        for number, priority in enumerate(Priority):
            await world.enqueue(f"s{number}", campaign=SPRING, priority=priority)
        await world.enqueue("other", campaign="summer")
        await world.enqueue("plain")
        assert (await campaign.pause()).changed
        await world.enqueue("late", campaign=SPRING)
        assert sorted(await claimed_by(world)) == ["other", "plain"]
        assert await claimed_by(world) == []
        assert (await campaign.resume()).changed
        assert await claimed_by(world) == ["s0", "s1", "late", "s2"]


async def test_a_campaign_that_is_paused_between_two_turns_leaves_its_rings(store: Place) -> None:
    """A lane with work loses its turns at the next claim, and the sender's others keep theirs."""
    async with in_campaign(store) as (world, campaign):
        for number in range(3):
            await world.enqueue(f"s{number}", campaign=SPRING)
            await world.enqueue(f"o{number}", campaign="summer")
        assert await claimed_by(world, 1) == ["s0"]
        await campaign.pause()
        assert await claimed_by(world) == ["o0", "o1", "o2"]
        assert await claimed_by(world) == []
        await campaign.resume()
        assert await claimed_by(world) == ["s1", "s2"]


async def test_a_timed_pause_ends_by_itself(store: Place) -> None:
    """A pause with a length ends then, and a claim says when that is."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        status = await campaign.pause(HOUR)
        assert status.is_paused
        assert status.paused_until is not None
        batch = await world.store.ledger.claim(10)
        assert batch.claimed == ()
        assert batch.next_due_at is not None
        assert batch.next_due_at <= status.paused_until
        await world.later(hours=1, seconds=1)
        assert not (await campaign.status()).is_paused
        assert await claimed_by(world) == ["m1"]
        assert not (await campaign.resume()).changed
        assert await world.calls.ask("EXISTS", world.keys.campaign(f"{SENDER}|{SPRING}")) == 0


async def test_a_pause_may_be_prolonged_shortened_and_repeated(store: Place) -> None:
    """The last order counts. A repeated pause without an end changes nothing."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        await campaign.pause(HOUR)
        assert (await campaign.pause()).changed
        again = await campaign.pause()
        assert (again.changed, again.is_paused, again.paused_until) == (False, True, None)
        await world.later(hours=2)
        assert await claimed_by(world) == []
        assert (await campaign.pause(HOUR)).changed
        await world.later(hours=1, seconds=1)
        assert await claimed_by(world) == ["m1"]


async def test_a_message_in_hand_is_turned_back_and_keeps_its_place(store: Place) -> None:
    """Admission turns back what was claimed before the pause, and it goes first after it."""
    async with in_campaign(store) as (world, campaign):
        for number in range(3):
            await world.enqueue(f"m{number}", campaign=SPRING)
        claimed = await world.claim_one()
        await campaign.pause()
        answer = await world.admit(claimed)
        assert isinstance(answer, Later)
        assert answer.reason is Reason.CAMPAIGN_PAUSED
        await world.settle(claimed, TURNED_BACK, attempt=0, posted=False)
        assert await claimed_by(world) == []
        status = await campaign.producer.status("m0")
        assert status is not None
        assert (status.stage, status.reason) == (Stage.WAITING, "campaign_paused")
        await campaign.resume()
        assert await claimed_by(world) == ["m0", "m1", "m2"]


async def test_a_message_that_was_turned_back_after_the_resume_goes_at_once(store: Place) -> None:
    """A pause that ended between admission and settlement holds up nothing."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        claimed = await world.claim_one()
        await campaign.pause()
        assert isinstance(await world.admit(claimed), Later)
        await campaign.resume()
        await world.settle(claimed, TURNED_BACK, attempt=0, posted=False)
        assert await claimed_by(world) == ["m1"]


async def test_a_message_expires_while_its_campaign_is_paused(store: Place) -> None:
    """What expires during the pause is handed out for its end, and the rest stays."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue("first", campaign=SPRING)
        soon = (await world.store.now()) + timedelta(minutes=2)
        await world.enqueue("m1", campaign=SPRING, expires_at=soon)
        await campaign.pause()
        await world.enqueue("m2", campaign=SPRING, expires_at=soon)
        assert await claimed_by(world) == []
        await world.later(minutes=4)
        assert sorted(await claimed_by(world)) == ["m1", "m2"]


async def test_what_falls_due_during_the_pause_waits_for_its_end(store: Place) -> None:
    """A lane that has only later messages keeps its timer, and obeys the pause when it is due."""
    async with in_campaign(store) as (world, campaign):
        start = (await world.store.now()) + HOUR
        await world.enqueue(campaign=SPRING, not_before=start)
        await campaign.pause()
        await world.later(hours=2)
        assert await claimed_by(world) == []
        await world.enqueue("far", campaign=SPRING, not_before=FAR)
        await campaign.resume()
        assert await claimed_by(world) == ["m1"]
        await campaign.pause()
        assert await claimed_by(world) == []
        await campaign.resume()
        assert (await world.store.ledger.claim(1)).next_due_at is not None


async def test_a_suspect_of_a_paused_campaign_goes_back_to_its_lane(store: Place) -> None:
    """A suspect waits in its lane while its campaign is paused, and is a suspect again after it."""
    async with in_campaign(store) as (world, campaign):
        await suspected(world, "m1")
        row = await world.row("m1")
        lane = f"{SENDER}|normal|{SPRING}"
        await world.calls.ask("HSET", world.keys.row("m1"), "l", lane)
        await world.claim(10, Suspects.NEVER)
        await campaign.pause()
        assert await world.claim(1, Suspects.FIRST) == ()
        assert await world.calls.ask("ZCARD", world.keys.lane(lane)) == 1
        await campaign.resume()
        await world.claim(10, Suspects.NEVER)
        assert await claimed_by(world, 1) == ["m1"]
        assert int(row["k"]) == 2


async def test_a_paused_sender_keeps_its_resumed_campaign_back(store: Place) -> None:
    """A campaign that is resumed has no turns before its sender has."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        await world.store.switches.pause("sender", SENDER, HOUR, "63007")
        await campaign.pause()
        assert await claimed_by(world) == []
        await campaign.resume()
        assert await claimed_by(world) == []
        await world.store.switches.resume("sender", SENDER)
        assert await claimed_by(world) == ["m1"]


async def test_depths_name_the_lanes_of_a_paused_campaign(store: Place) -> None:
    """A parked lane is in no ring, and its depth is still reported."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        await campaign.pause()
        assert await claimed_by(world) == []
        assert (await world.store.records.depths())[f"{SENDER}|normal|{SPRING}"] == 1
        assert await world.store.recount_queued({SENDER: 1}) == 0


async def test_orders_cost_the_same_however_many_messages_are_queued(store: Place) -> None:
    """Pause, claim, enqueue, resume and cancel run as many commands for 300 messages as for 5."""
    costs = []
    for number in (5, 300):
        async with in_campaign(store) as (world, campaign):
            await world.redis.flushdb()
            for index in range(number):
                await world.enqueue(f"m{index}", campaign=SPRING)
            await settle_down(world)
            own = [await commands_of(world, campaign.pause)]
            await settle_down(world)
            own.append(await commands_of(world, lambda: world.claim(10)))
            own.append(await commands_of(world, lambda: world.enqueue("new", campaign=SPRING)))
            own.append(await commands_of(world, campaign.resume))
            own.append(await commands_of(world, campaign.cancel))
            costs.append(own)
    assert costs[0] == costs[1]


# -- cancels ---------------------------------------------------------------------------------------


async def test_a_cancelled_campaign_reads_as_cancelled_at_once(store: Place) -> None:
    """Every queued message reads as cancelled from the call on, and each gets its one end."""
    async with in_campaign(store) as (world, campaign):
        for number in range(5):
            await world.enqueue(f"m{number}", campaign=SPRING)
        await world.enqueue("later", campaign=SPRING, not_before=FAR, priority=Priority.BULK)
        await world.enqueue("plain")
        status = await campaign.cancel()
        assert (status.is_ending, status.queued) == (True, None)
        assert await stage_of(world, campaign, "plain") == "queued"
        ids = [*(f"m{number}" for number in range(5)), "later"]
        for message_id in ids:
            assert await stage_of(world, campaign, message_id) == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 0
        assert await swept(world, 2) >= 3
        for message_id in ids:
            assert await stage_of(world, campaign, message_id) == "cancelled"
            assert (await world.events(message_id))[-1] == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 6
        after = await campaign.status()
        assert (after.is_ending, after.cancelled_at) == (False, status.cancelled_at)
        assert after.queued == dict.fromkeys(Priority, 0)
        assert await claimed_by(world) == ["plain"]
        assert await swept(world) == 1


async def test_what_is_queued_after_the_cancel_is_sent(store: Place) -> None:
    """A message that is queued after the cancel is new, even in the same millisecond or after the
    clock was set back.
    """
    async with in_campaign(store) as (world, campaign):
        await world.enqueue("old", campaign=SPRING)
        status = await campaign.cancel()
        assert status.cancelled_at is not None
        ahead = int(status.cancelled_at.timestamp() * 1000) + 3_600_000
        name = f"{SENDER}|{SPRING}"
        await world.calls.ask("ZADD", world.keys.cancelled_campaigns, ahead, name)
        await world.enqueue("new", campaign=SPRING)
        assert int((await world.row("new"))["q"]) == ahead + 1
        assert await stage_of(world, campaign, "new") == "queued"
        assert await stage_of(world, campaign, "old") == "cancelled"
        await swept(world)
        assert await claimed_by(world) == ["new"]
        assert await world.count("end:cancelled:cancelled") == 1


async def test_a_second_cancel_takes_in_what_came_since(store: Place) -> None:
    """Each cancel counts from its own instant, also while the sweep of the first still runs."""
    async with in_campaign(store) as (world, campaign):
        for number in range(4):
            await world.enqueue(f"a{number}", campaign=SPRING)
        await campaign.cancel()
        await world.store.ledger.end_campaigns(2)
        for number in range(4):
            await world.enqueue(f"b{number}", campaign=SPRING)
        await world.later(seconds=1)
        await campaign.cancel()
        await swept(world, 2)
        assert await world.count("end:cancelled:cancelled") == 8
        assert await claimed_by(world) == []


async def test_a_claimed_message_of_a_cancelled_campaign_is_not_admitted(store: Place) -> None:
    """No POST begins after the cancel. The worker that holds the message ends it."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        claimed = await world.claim_one()
        await campaign.cancel()
        assert await stage_of(world, campaign) == "cancelled"
        assert isinstance(await world.admit(claimed), Cancelled)
        await swept(world)
        assert await world.count("end:cancelled:cancelled") == 0
        await world.settle(claimed, CANCELLED, attempt=0, posted=False)
        assert await stage_of(world, campaign) == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 1


@pytest.mark.parametrize("act", ["settle", "release", "reap"])
async def test_what_comes_back_of_a_cancelled_campaign_ends(store: Place, act: str) -> None:
    """A claim that is put back, given back or lost ends as cancelled."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        claimed = await world.claim_one()
        await campaign.cancel()
        await swept(world)
        if act == "settle":
            await world.settle(claimed, LATER, attempt=0, posted=False)
        elif act == "release":
            await world.store.ledger.release([("m1", claimed.fence)])
        else:
            await world.reap()
        assert await stored_stage(world) == "cancelled"
        assert await stage_of(world, campaign) == "cancelled"
        assert await world.count("end:cancelled:cancelled") == 1


async def test_a_claim_that_comes_before_the_sweep_hands_out_the_mark(store: Place) -> None:
    """A worker that claims a cancelled message before the sweep does is told so."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        await campaign.cancel()
        assert [claimed.cancel_asked for claimed in await world.claim()] == [True]


async def test_an_attempt_that_may_be_at_twilio_keeps_its_stage(store: Place) -> None:
    """A posted message is accepted if Twilio took it, and is not sent again if it did not."""
    async with in_campaign(store) as (world, campaign):
        for message_id in ("taken", "lost", "failed"):
            await world.enqueue(message_id, campaign=SPRING, on_unknown=OnUnknown.RESEND)
        held = {claimed.message_id: claimed for claimed in await world.claim()}
        for claimed in held.values():
            await world.admit(claimed)
        await campaign.cancel()
        await swept(world)
        for message_id in held:
            assert await stage_of(world, campaign, message_id) == "posting"
        await world.settle(held["taken"], accepted())
        await world.settle(held["lost"], UNKNOWN)
        await world.settle(held["failed"], AT_ONCE)
        assert await stage_of(world, campaign, "taken") == "accepted"
        assert await stage_of(world, campaign, "lost") == "unknown"
        assert await stage_of(world, campaign, "failed") == "cancelled"
        await world.send_again(message_id="lost")
        assert await stage_of(world, campaign, "lost") == "cancelled"


async def test_ended_messages_of_a_cancelled_campaign_are_not_sent_again(store: Place) -> None:
    """After the cancel no retry, no replay and no reported failure begins another life."""
    async with in_campaign(store) as (world, campaign):
        await world.accept("good", campaign=SPRING)
        for message_id, result in (("refused", REFUSED), ("dead", DEAD)):
            await world.enqueue(message_id, campaign=SPRING)
            await world.settle(await world.claim_one(), result, attempt=0, posted=False)
        await campaign.cancel()
        records = world.store.records
        assert await records.retry(["refused"], FAR) == ["cancelled"]
        assert await records.replay(["dead"], FAR) == ["cancelled"]
        await world.callback("failed", "SM1", message_id="good", reopen_after_ms=0)
        assert await stage_of(world, campaign, "good") == "accepted"
        assert await stage_of(world, campaign, "refused") == "refused"


async def test_a_person_who_writes_releases_no_message_of_a_cancelled_campaign(
    store: Place,
) -> None:
    """A message that waits for its person and was cancelled with its campaign stays so."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        await campaign.cancel()
        await world.writes("SM9")
        assert "released" not in await world.events()
        await swept(world)
        assert await stage_of(world, campaign) == "cancelled"


async def test_a_message_that_cannot_be_ended_holds_up_no_other(store: Place) -> None:
    """The sweep passes over damaged rows and stages that only a newer version knows."""
    async with in_campaign(store) as (world, campaign):
        for number in range(4):
            await world.enqueue(f"m{number}", campaign=SPRING)
        await world.calls.ask("HSET", world.keys.row("m0"), "n", "garbage")
        await world.calls.ask("HSET", world.keys.row("m1"), "s", "of a newer version")
        await world.calls.ask("SET", world.keys.timeline("m2"), "of another kind")
        await campaign.cancel()
        await swept(world, 1)
        assert await stored_stage(world, "m3") == "cancelled"
        assert (await campaign.status()).is_ending is False


async def test_the_sweep_misses_no_message_while_others_leave(store: Place) -> None:
    """The sweep finds every message although a claim takes what it has looked at already."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue("seen", campaign=SPRING)
        await campaign.cancel()
        name = f"{SENDER}|{SPRING}"
        for number in range(6):
            await world.enqueue(f"new{number}", campaign=SPRING)
        lane = world.keys.lane(f"{SENDER}|normal|{SPRING}")
        await world.enqueue("old", campaign=SPRING)
        at = await world.calls.ask("ZSCORE", world.keys.cancelled_campaigns, name)
        await world.calls.ask("HSET", world.keys.row("old"), "q", str(int(at)))
        assert await world.store.ledger.end_campaigns(4)
        await world.calls.ask("ZREM", lane, "new0", "new1", "new2")
        await swept(world, 1)
        assert await stage_of(world, campaign, "old") == "cancelled"
        assert await stored_stage(world, "old") == "cancelled"
        assert (await world.row("new5"))["s"] == "queued"


async def test_campaigns_are_swept_in_the_order_of_their_cancels(store: Place) -> None:
    """One campaign after another is ended, and a cancel is forgotten after 90 days."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue("a", campaign=SPRING)
        await world.enqueue("b", campaign="autumn")
        await campaign.cancel()
        await world.later(seconds=1)
        await campaign.producer.cancel_campaign(SENDER, "autumn")
        assert await world.store.ledger.end_campaigns(64)
        stages = [await stored_stage(world, name) for name in ("a", "b")]
        assert stages == ["cancelled", "queued"]
        assert not await world.store.ledger.end_campaigns(64)
        assert await stored_stage(world, "b") == "cancelled"
        await world.later(days=91)
        assert not await world.store.ledger.end_campaigns(64)
        assert (await campaign.status()).cancelled_at is None


async def test_a_paused_campaign_may_be_cancelled(store: Place) -> None:
    """A cancel ends what is parked, and the pause stays for what comes."""
    async with in_campaign(store) as (world, campaign):
        await world.enqueue(campaign=SPRING)
        await campaign.pause()
        assert await claimed_by(world) == []
        assert (await campaign.cancel()).is_paused
        await swept(world)
        assert await stage_of(world, campaign) == "cancelled"
        await world.enqueue("m2", campaign=SPRING)
        assert await claimed_by(world) == []
        await campaign.resume()
        assert await claimed_by(world) == ["m2"]
