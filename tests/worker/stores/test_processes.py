"""The registry of living processes: which of them may work at the same time, and what it shows."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.processes_world import OLD, report_of, write_entry
from tests.support.stores_world import Place, World, opened
from worker.ports.processes import (
    LAYOUTS,
    Holdings,
    LayoutRange,
    LivingProcess,
    RegistryAnswer,
)
from worker.stores.processes import ALIVE_FOR, ProcessStore

pytestmark = pytest.mark.asyncio

OURS = "worker-1"
GOLDEN = Path(__file__).parents[2] / "golden" / "processes"


def process(
    world: World, name: str, first: int = LAYOUTS.first, last: int = LAYOUTS.last
) -> ProcessStore:
    """Return the registry as a process of a release with these layouts sees it."""
    return ProcessStore(world.calls, name, LayoutRange(first, last))


def blockers(answer: RegistryAnswer) -> list[str]:
    return [one.process_id for one in answer.in_the_way]


async def test_a_process_is_alone_and_may_work(store: Place) -> None:
    """A process that finds no other one may work, and its own entry is never in its way."""
    async with opened(store) as world:
        ours = process(world, OURS)
        assert blockers(await ours.report(report_of())) == []
        assert blockers(await ours.report(report_of(is_working=True))) == []
        assert blockers(await process(world, OURS, 9, 9).report(report_of())) == []


@pytest.mark.parametrize("role", ["worker", "gateway"])
async def test_a_release_without_layouts_is_in_the_way(store: Place, role: str) -> None:
    """A release that does not report its layouts is older than the rule, so a new process waits
    for it, whatever its role.
    """
    async with opened(store) as world:
        await write_entry(world, "old-1", OLD | {"role": role})
        answer = await process(world, OURS).report(report_of())
        assert blockers(answer) == ["old-1"]
        [old] = answer.in_the_way
        assert (old.role, old.release, old.layouts) == (role, None, None)


@pytest.mark.parametrize("how", ["stopped", "expired"])
async def test_a_process_may_work_once_the_old_one_is_gone(store: Place, how: str) -> None:
    """An old process that stopped removed its entry. The entry of a killed one expires, and its id
    stays until the next report.
    """
    async with opened(store) as world:
        ours = process(world, OURS)
        await write_entry(world, "old-1", OLD)
        assert blockers(await ours.report(report_of())) == ["old-1"]
        assert 0 < await world.redis.pttl(world.keys.process("old-1")) <= 30_000
        await world.redis.delete(world.keys.process("old-1"))
        if how == "stopped":
            await world.redis.zrem(world.keys.processes, "old-1")
        assert blockers(await ours.report(report_of())) == []
        assert await world.redis.zrange(world.keys.processes, 0, -1) == [OURS.encode()]


async def was_away(world: World, *names: str) -> None:
    """Make the store look as if it had been away for so long that these entries expired."""
    seconds, _ = await world.redis.time()
    await world.redis.hset(world.keys.meta, "alive_at", (seconds - 31) * 1000)  # type: ignore[misc]  # redis-py types both flavours
    await world.redis.delete(*map(world.keys.process, names))


async def end_grace(world: World) -> None:
    """Make the time that absent processes get look over."""
    seconds, _ = await world.redis.time()
    await world.redis.hset(world.keys.meta, "absent_until", (seconds - 1) * 1000)  # type: ignore[misc]  # as above


async def test_after_an_outage_a_process_waits_for_those_whose_entry_expired(store: Place) -> None:
    """Entries expire while the store is away, although their processes live. A new process that
    reports first does not begin before the old one had the time to report again.
    """
    async with opened(store) as world:
        ours = process(world, OURS)
        await write_entry(world, "old-1", OLD)
        assert blockers(await ours.report(report_of())) == ["old-1"]
        await was_away(world, "old-1")
        assert blockers(await ours.report(report_of())) == ["old-1"]
        assert blockers(await ours.report(report_of())) == ["old-1"]
        await write_entry(world, "old-1", OLD)
        await end_grace(world)
        assert blockers(await ours.report(report_of())) == ["old-1"]
        await was_away(world, "old-1")
        assert blockers(await ours.report(report_of())) == ["old-1"]
        await end_grace(world)
        assert blockers(await ours.report(report_of())) == []
        assert await world.redis.zrange(world.keys.processes, 0, -1) == [OURS.encode()]


async def test_an_entry_that_expires_soon_after_an_outage_still_counts(store: Place) -> None:
    """The store came back just before the entry expired, and its process has not reported yet."""
    async with opened(store) as world:
        ours = process(world, OURS)
        await write_entry(world, "old-1", OLD)
        await was_away(world, "none")
        assert blockers(await ours.report(report_of())) == ["old-1"]
        await world.redis.delete(world.keys.process("old-1"))
        assert blockers(await ours.report(report_of())) == ["old-1"]


async def test_after_an_outage_a_process_with_a_common_layout_begins_at_once(store: Place) -> None:
    """A deployment of one release is never held up: what a process reported last outlives its
    entry. Nor is a process waited for that stopped in order, or that itself waited.
    """
    async with opened(store) as world:
        ours, same = process(world, OURS), process(world, "same")
        other, gone = process(world, "other", 2, 2), process(world, "gone", 2, 2)
        await gone.report(report_of())
        await gone.forget()
        await same.report(report_of())
        assert blockers(await other.report(report_of())) == ["same"]
        await was_away(world, "same", "other")
        assert blockers(await ours.report(report_of())) == []
        assert blockers(await other.report(report_of())) == ["same", OURS]


async def test_after_an_outage_a_process_waits_for_a_known_release_too(store: Place) -> None:
    """The last report of the absent process names its release. A process that works goes on."""
    async with opened(store) as world:
        ours, other = process(world, OURS), process(world, "other", 2, 2)
        await other.report(report_of(release="0.2.0"))
        await was_away(world, "other")
        [absent] = (await ours.report(report_of())).in_the_way
        assert (absent.process_id, absent.release) == ("other", "0.2.0")
        assert blockers(await ours.report(report_of(is_working=True))) == []


async def test_a_grace_recorded_before_the_clock_was_set_back_is_over(store: Place) -> None:
    """Otherwise no process could begin until the clock has caught up."""
    async with opened(store) as world:
        ours = process(world, OURS)
        await ours.report(report_of())
        await world.redis.zadd(world.keys.processes, {"old-1": 1})
        seconds, _ = await world.redis.time()
        await world.redis.hset(world.keys.meta, "absent_until", (seconds + 3600) * 1000)  # type: ignore[misc]  # as above
        assert blockers(await ours.report(report_of())) == []


async def test_nothing_is_left_of_a_process_that_is_gone(store: Place) -> None:
    """Neither an orderly stop nor the removal after a kill -9 leaves a last report behind."""
    async with opened(store) as world:
        ours, killed, stopped = (process(world, name) for name in (OURS, "killed", "stopped"))
        for one in (killed, stopped):
            await one.report(report_of())
        await stopped.forget()
        await world.redis.delete(world.keys.process("killed"))
        await ours.report(report_of())
        fields = await world.redis.hkeys(world.keys.meta)  # type: ignore[misc]  # as above
        assert [name for name in fields if name.startswith(b"last:")] == [b"last:worker-1"]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 2), (0, 1), (0, 9)])
async def test_releases_with_a_common_layout_work_at_the_same_time(
    store: Place, first: int, last: int
) -> None:
    """Two releases that know a common layout run at the same time, whichever starts first."""
    async with opened(store) as world:
        ours, other = process(world, OURS), process(world, "other", first, last)
        for one in (ours, other):
            assert blockers(await one.report(report_of())) == []
        for one in (ours, other):
            assert blockers(await one.report(report_of(is_working=True))) == []


@pytest.mark.parametrize(("first", "last"), [(2, 2), (2, 3), (0, 0)])
async def test_of_two_releases_without_a_common_layout_one_works(
    store: Place, first: int, last: int
) -> None:
    """The process that comes second waits, be it older or newer, and stands in no process's way."""
    async with opened(store) as world:
        ours, other = process(world, OURS), process(world, "other", first, last)
        assert blockers(await ours.report(report_of())) == []
        assert blockers(await other.report(report_of())) == [OURS]
        assert blockers(await ours.report(report_of(is_working=True))) == []
        await ours.forget()
        assert blockers(await other.report(report_of())) == []
        assert blockers(await ours.report(report_of())) == ["other"]


async def test_a_process_that_has_to_stop_counts_until_it_has_stopped(store: Place) -> None:
    """A worker that still finishes messages is recorded as working, although it has to stop.

    Its entry was lost, and another release began in the meantime.
    """
    async with opened(store) as world:
        ours, other = process(world, OURS), process(world, "other", 2, 2)
        await ours.report(report_of())
        await ours.forget()
        assert blockers(await other.report(report_of())) == []
        assert blockers(await ours.report(report_of(is_working=True))) == ["other"]
        assert blockers(await process(world, "third", 2, 2).report(report_of())) == [OURS]
        assert blockers(await ours.report(report_of())) == ["other"]
        assert blockers(await process(world, "third", 2, 2).report(report_of())) == []


@pytest.mark.parametrize("entry", ["", "no JSON", "[]", "7", '{"layouts":[1]}', '{"layouts":"1"}'])
async def test_an_entry_that_cannot_be_read_is_in_the_way(store: Place, entry: str) -> None:
    """A release that we do not know wrote it, so nothing shows that both may work."""
    async with opened(store) as world:
        await write_entry(world, "strange", entry)
        assert blockers(await process(world, OURS).report(report_of())) == ["strange"]
        strange = {one.process_id: one for one in await world.store.processes.living()}["strange"]
        assert (strange.release, strange.layouts, strange.holds) == (None, None, None)


async def test_the_registry_shows_what_each_process_reported(store: Place) -> None:
    """The registry shows release, layouts, settings and what each process holds."""
    async with opened(store) as world:
        settings = {"senders": "8796a5b4c3d2e1f0"}
        ours, other = process(world, OURS), process(world, "gateway-2", 2, 3)
        await ours.report(report_of(settings=settings, holds=Holdings(messages=5, posts=2)))
        await other.report(report_of(role="gateway", release="0.2.0"))
        assert sorted(await ours.living(), key=lambda one: one.role) == [
            LivingProcess(
                "gateway-2", "gateway", {}, "0.2.0", LayoutRange(2, 3), None, is_waiting=True
            ),
            LivingProcess(OURS, "worker", settings, "0.1.0", LAYOUTS, Holdings(5, 2)),
        ]


async def test_an_entry_of_each_release_is_still_read(store: Place) -> None:
    """What a release wrote is read by every later one, and this release writes what it wrote."""
    settings = {"accounts": "0f1e2d3c4b5a6978", "senders": "8796a5b4c3d2e1f0"}
    async with opened(store) as world:
        for path in sorted(GOLDEN.glob("*.json")):
            await write_entry(world, path.stem, path.read_text())
        living = {one.process_id: one for one in await world.store.processes.living()}
        assert living == {
            "0.1.0-waiting": LivingProcess(
                "0.1.0-waiting", "gateway", settings, "0.1.0", LayoutRange(1, 1), is_waiting=True
            ),
            "0.1.0-working": LivingProcess(
                "0.1.0-working", "worker", settings, "0.1.0", LayoutRange(1, 1), Holdings(5, 2)
            ),
            "before-0.1.0": LivingProcess("before-0.1.0", "worker", settings),
        }
        ours = process(world, OURS)
        await ours.report(report_of(settings=settings, holds=Holdings(5, 2), is_working=True))
        assert await entry(world) == (GOLDEN / "0.1.0-working.json").read_text()
        await ours.report(report_of(role="gateway", settings=settings))
        assert await entry(world) == (GOLDEN / "0.1.0-waiting.json").read_text()


async def entry(world: World) -> str:
    value: bytes = await world.redis.get(world.keys.process(OURS))
    return value.decode()


async def test_an_answer_has_the_clock_of_the_store(store: Place) -> None:
    """The answer contains the store's clock, by which a gateway knows since when it waits."""
    async with opened(store) as world:
        await world.later(hours=3)
        before = await world.store.now()
        answer = await process(world, OURS).report(report_of())
        assert before <= answer.at < before + timedelta(hours=1)
        assert await world.redis.pttl(world.keys.process(OURS)) > 0
        assert timedelta(seconds=30) == ALIVE_FOR
