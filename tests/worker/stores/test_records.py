"""Records, dead letters and totals that an operator reads. Which stores are refused at start."""

import json
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from sendwindow.errors import BadStoreUrl, NotDurable
from sendwindow.keys import SCHEMA, Keys
from sendwindow.vocabulary import Reason, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import DEAD, FAR, LATER, PERSON_KEY, Place, World, accepted, opened
from worker.ports.admissions import Permit
from worker.ports.settlements import SettleEnd
from worker.ports.unknowns import Resolution
from worker.stores.store import Store, StoreRefused

pytestmark = pytest.mark.asyncio


async def _open(place: Place, **changes: object) -> Store:
    options: dict[str, object] = {
        "partition": place.partition,
        "person_key": PERSON_KEY,
        "worker_id": "w9",
        "profile": "sandbox",
    }
    return await Store.connect(place.url, **{**options, **changes})  # type: ignore[arg-type]  # a table of options


async def _dead(world: World, message_id: str = "m1") -> None:
    await world.settle(await world.post(message_id), DEAD)


async def test_a_record_is_the_whole_message(store: Place) -> None:
    """A record holds row, timeline and job; an unknown id has none."""
    async with opened(store) as world:
        await world.enqueue()
        record = await world.store.records.record("m1")
        assert record is not None
        assert record.payload is not None
        assert json.loads(record.payload)["f"] == "send_message"
        assert [line["e"] for line in record.timeline] == ["enqueued"]
        assert await world.store.records.record("m2") is None


async def test_lists_are_read_whole(store: Place) -> None:
    """Lists longer than a page are read whole, oldest first, and an unknown list is refused."""
    async with opened(store) as world:
        for number in range(105):
            await world.enqueue(f"m{number}")
        end = SettleEnd(Stage.DEAD, Reason.RETRIES_EXHAUSTED)
        for claimed in await world.claim(200):
            await world.settle(claimed, end, attempt=0, posted=False)
        ids = [record.message_id async for record in world.store.records.listed("dead")]
        assert ids[0] == "m0"
        assert len(ids) == 105
        with pytest.raises(ValueError, match="dead, unknown and unresolved"):
            _ = [record async for record in world.store.records.listed("everything")]


async def test_an_expired_row_is_left_out_of_a_list(store: Place) -> None:
    """A row that expired is left out of a list that still names it."""
    async with opened(store) as world:
        await _dead(world)
        await world.redis.delete(world.keys.row("m1"))
        assert [record async for record in world.store.records.listed("dead")] == []


async def test_depths_name_lanes_and_lists(store: Place) -> None:
    """Depths name every lane with messages and every list, due or not, empty or not."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await world.enqueue(
            "m2", campaign="spring", not_before=await world.store.now() + timedelta(hours=1)
        )
        await world.enqueue("m3", sender="other")
        depths = await world.store.records.depths()
        assert depths["shop|normal|"] == 1
        assert depths["shop|normal|spring"] == 1
        assert depths["other|normal|"] == 1
        assert depths["dead"] == depths["unknown"] == depths["leases"] == depths["ingress"] == 0
        await world.claim(10)
        depths = await world.store.records.depths()
        assert depths["leases"] == 2
        assert "shop|normal|" not in depths


async def test_a_replayed_dead_letter_keeps_its_id(store: Place) -> None:
    """A replayed dead letter keeps its id and gets a new expiry.

    A second order finds it queued and changes nothing.
    """
    async with opened(store) as world:
        await _dead(world)
        expires_at = await world.store.now() + timedelta(hours=2)
        assert await world.store.records.replay(["m1", "nobody"], expires_at) == [
            "replayed",
            "unknown_id",
        ]
        row = await world.row()
        assert await world.store.records.replay(["m1"], expires_at + timedelta(hours=1)) == [
            "not_dead"
        ]
        assert await world.row() == row
        assert {"z", "c"}.isdisjoint(await world.row())
        again = await world.claim_one()
        # The number of the earlier attempt is kept, and the tries start again from zero.
        assert (again.message_id, again.attempts, again.tries, again.crashes) == ("m1", 1, 0, 0)
        assert abs(again.expires_at - expires_at) < timedelta(milliseconds=2)
        assert await world.count("end:dead:retries_exhausted") == 0
        assert "replayed" in await world.events()


async def test_what_was_sent_is_not_replayed(store: Place) -> None:
    """A dead letter with a SID of its own is not replayed, since it would go out twice."""
    async with opened(store) as world:
        await world.accept()
        await world.callback("failed", reopen_after_ms=0)
        await world.settle(
            await world.claim_one(), SettleEnd(Stage.DEAD, Reason.POISON), attempt=0, posted=False
        )
        await world.redis.hset(world.keys.row("m1"), "sid:7", "SM7")  # type: ignore[misc]  # redis-py types both flavours
        assert await world.store.records.replay(["m1"], await world.store.now()) == ["sent"]


async def test_what_failed_afterwards_may_be_replayed(store: Place) -> None:
    """A message may be replayed when the first attempt failed and the second was refused.

    No person got it.
    """
    async with opened(store) as world:
        await world.accept()
        await world.callback("failed", reopen_after_ms=0)
        claimed = await world.claim_one()
        await world.admit(claimed)
        await world.settle(claimed, DEAD)
        assert await world.store.records.replay(["m1"], FAR) == ["replayed"]


async def test_a_replay_after_a_late_failure_is_no_copy(store: Place) -> None:
    """A replay is no copy if the unproven attempt is known to have failed after the message
    died.
    """
    async with opened(store) as world:
        await _never(world)
        await world.callback("failed", attempt=1)
        assert await world.store.records.replay(["m1"], FAR, even_if_sent=True) == ["replayed"]
        claimed = await world.claim_one()
        await world.admit(claimed)
        assert not (await world.settle(claimed, accepted("SM2"))).has_copy
        assert await world.count("duplicates") == 0


async def _never(world: World, message_id: str = "m1") -> None:
    """End a message as dead by the rule `never`, with an unproven attempt."""
    await world.park(message_id)
    end = SettleEnd(Stage.DEAD, Reason.NEVER_BY_RULE)
    assert await world.store.unknowns.resolve([Resolution(message_id, 1, end)]) == [Stage.DEAD]


async def test_what_may_have_gone_out_is_not_replayed_unless_told_so(store: Place) -> None:
    """A dead letter with an unproven attempt is replayed only when told so, however old it is.

    A replay may be a second copy, so an operator decides.
    """
    async with opened(store) as world:
        await _never(world)
        records, expires_at = world.store.records, await world.store.now() + timedelta(hours=2)
        before = await world.contents()
        assert await records.replay(["m1"], expires_at) == ["perhaps_sent"]
        assert await world.contents() == before
        await world.redis.delete(world.keys.permits(world.store.people.digest(ANNA)))
        assert await records.replay(["m1"], expires_at) == ["perhaps_sent"]
        assert await records.replay(["m1"], expires_at, even_if_sent=True) == ["replayed"]
        assert "ps" not in await world.row()
        assert (await world.claim_one()).message_id == "m1"


async def test_an_earlier_attempt_in_doubt_counts_however_the_letter_died(store: Place) -> None:
    """An earlier unproven attempt counts, even if the message died of something else after a
    resend.
    """
    async with opened(store) as world:
        second = await world.resent()
        await world.settle(second, DEAD)
        replay = world.store.records.replay
        assert await replay(["m1"], await world.store.now()) == ["perhaps_sent"]
        await world.callback("sent", "SM1")
        assert await replay(["m1"], await world.store.now(), even_if_sent=True) == ["sent"]


async def test_only_dead_letters_are_replayed_or_dropped(store: Place) -> None:
    """Only dead letters with a job are replayed or dropped."""
    async with opened(store) as world:
        await world.enqueue("m1")
        now = await world.store.now()
        assert await world.store.records.replay(["m1"], now) == ["not_dead"]
        assert await world.store.records.drop(["m1"]) == ["not_dead"]
        await world.settle(await world.claim_one(), DEAD, attempt=0, posted=False)
        await world.redis.delete(world.keys.job("m1"))
        assert await world.store.records.replay(["m1"], now) == ["no_job"]
        assert await world.store.records.replay([], now) == []


async def test_a_dropped_dead_letter_leaves_a_trace(store: Place) -> None:
    """A dropped dead letter leaves the list and its job, and the row says `dropped` for 72 h."""
    async with opened(store) as world:
        await _dead(world)
        assert await world.store.records.drop(["m1", "nobody"]) == ["dropped", "unknown_id"]
        assert await world.store.records.drop(["m1"]) == ["dropped"]
        row = await world.row()
        assert (row["s"], row["r"]) == ("dead", "dropped")
        assert await world.count("end:dead:dropped") == 1
        assert await world.count("end:dead:retries_exhausted") == 0
        assert not await world.redis.exists(world.keys.job("m1"))
        assert await world.redis.pttl(world.keys.row("m1")) > 0
        assert [record async for record in world.store.records.listed("dead")] == []


async def test_totals_add_up(store: Place) -> None:
    """Every enqueued message and every end is counted once."""
    async with opened(store) as world:
        await world.accept("m1", "SM1")
        await _dead(world, "m2")
        await world.settle(await world.post("m3"), LATER)
        await world.cancel("m3")
        counts = await world.store.records.counts()
        assert counts["enqueued"] == 3
        assert sum(value for name, value in counts.items() if name.startswith("end:")) == 3


@pytest.mark.parametrize("schema", [str(SCHEMA + 1), "0", "", "abc", "nan"])
async def test_another_layout_is_refused(store: Place, redis_client: Redis, schema: str) -> None:
    """A store with another layout is refused, and the error says what to deploy."""
    async with opened(store):
        keys = Keys(store.partition)
        await redis_client.hset(keys.meta, "schema", schema)  # type: ignore[misc]  # redis-py types both flavours
        with pytest.raises(StoreRefused, match="deploy a newer worker"):
            await _open(store)


async def test_another_person_key_is_refused(store: Place) -> None:
    """Another person key is refused because it would find no opt-out.

    The error shows neither key.
    """
    async with opened(store):
        with pytest.raises(StoreRefused, match="person_key") as refusal:
            await _open(store, person_key=b"quite another key")
        assert "quite another key" not in str(refusal.value)


async def test_another_profile_is_refused(store: Place) -> None:
    """A sandbox store and a live store never mix."""
    async with opened(store):
        with pytest.raises(StoreRefused, match="profile"):
            await _open(store, profile="live")


async def test_a_live_clock_does_not_move(store: Place) -> None:
    """Only a sandbox store has a clock offset."""
    live = await _open(store, profile="live")
    try:
        with pytest.raises(StoreRefused, match="only a sandbox store"):
            await live.set_offset(timedelta(hours=1))
    finally:
        await live.close()


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"worker_id": "a b"}, StoreRefused),
        ({"partition": "A"}, BadStoreUrl),
        ({"durability": "sometimes"}, BadStoreUrl),
        ({"person_key": b"short"}, ValueError),
    ],
)
async def test_settings_that_cannot_be_read_are_refused(
    store: Place, changes: dict[str, object], error: type[Exception]
) -> None:
    """Invalid arguments are refused before anything is written."""
    with pytest.raises(error):
        await _open(store, **changes)


async def test_an_evicting_store_is_refused(store: Place, redis_client: Redis) -> None:
    """A store that evicts loses messages when it is full."""
    await redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreRefused, match="noeviction"):
            await _open(store)
    finally:
        await redis_client.config_set("maxmemory-policy", "noeviction")


async def test_a_store_without_append_only_file_is_warned_about(
    store: Place, redis_client: Redis
) -> None:
    """A store without an append-only file gets a warning, since a restart loses messages."""
    before = (await redis_client.config_get("appendonly"))["appendonly"]
    try:
        for setting, warned in (("no", True), ("yes", False)):
            await redis_client.config_set("appendonly", setting)
            opened_store = await _open(store)
            assert bool(opened_store.warnings) is warned
            await opened_store.close()
    finally:
        await redis_client.config_set("appendonly", before)


async def test_a_managed_store_may_keep_its_settings_to_itself(
    store: Place, redis_client: Redis
) -> None:
    """Where CONFIG is denied, the checks that need it are left out."""
    await redis_client.acl_setuser(
        "managed", enabled=True, nopass=True, categories=["+@all"], commands=["-config"], keys=["*"]
    )
    try:
        separator = "&" if "?" in store.url else "?"
        managed = await Store.connect(
            f"{store.url}{separator}username=managed&password=any",
            partition=store.partition,
            person_key=PERSON_KEY,
            worker_id="w9",
            profile="sandbox",
        )
        assert managed.warnings == ()
        await managed.ping()
        await managed.close()
    finally:
        await redis_client.acl_deluser("managed")


async def test_too_few_replicas_are_not_durable(store: Place) -> None:
    """With `wait:1` and too few replicas no intent is admitted and no outcome counts as
    recorded.
    """
    async with opened(store) as world:
        await world.enqueue()
        claimed = await world.claim_one()
        world.calls._replicas = 1
        with pytest.raises(NotDurable):
            await world.admit(claimed)
        world.calls._replicas = 0
        assert isinstance(await world.admit(claimed), Permit)


async def test_memory_pressure_is_published(store: Place, redis_client: Redis) -> None:
    """The store's memory share is published, so that producers stop near 80 %.

    Without a limit it is absent.
    """
    async with opened(store) as world:
        assert await world.store.publish_pressure() == 0
        used = (await redis_client.info("memory"))["used_memory"]
        await redis_client.config_set("maxmemory", used * 2)
        try:
            pressure = await world.store.publish_pressure()
        finally:
            await redis_client.config_set("maxmemory", 0)
        assert pressure is not None
        assert 30 < pressure < 70
        assert int(await redis_client.hget(world.keys.meta, "pressure")) == pressure  # type: ignore[misc]  # as above


async def test_a_full_store_still_drains(store: Place, redis_client: Redis) -> None:
    """A full store refuses new work and still ends everything that is in flight."""
    async with opened(store) as world:
        await world.enqueue("m1")
        await redis_client.config_set("maxmemory", 1)
        try:
            claimed = await world.claim_one()
            await world.admit(claimed)
            await world.settle(claimed, LATER)
            assert await world.cancel() == "cancelled"
            assert (await world.writes()).first
        finally:
            await redis_client.config_set("maxmemory", 0)
