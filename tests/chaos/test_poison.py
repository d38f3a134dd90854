"""A message that kills every worker that takes it, among harmless ones."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.processes import Process
from tests.chaos.scene import Scene, measured
from tests.chaos.sentinel import StoreServer, one_server
from tests.chaos.staging import staged
from tests.support.waiting import HANG_SECONDS

pytestmark = [pytest.mark.asyncio, pytest.mark.long]

POISON = "m40"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """Yield a store server of this test's own."""
    with one_server(tmp_path / "server") as running:
        yield running


def _revive(scene: Scene, process: Process) -> bool:
    """Start a process again if it died, and return whether it had."""
    if process.is_alive:
        return False
    scene.journal.write("killed", point="decided", process=process.name)
    process.start()
    return True


@pytest.mark.parametrize("workers", [1, 2])
async def test_poison_takes_no_innocent_message_with_it(
    server: StoreServer, tmp_path: Path, workers: int
) -> None:
    """Under load poison crashes two workers among others and three alone.

    Then it is the only dead letter.
    """
    async with staged(tmp_path, server.url) as scene:
        processes = [scene.process(f"worker-{number}") for number in range(workers)]
        for process in processes:
            process.poison = POISON
        scene.sandbox.settings.latency_ms = 50
        deaths = 0
        try:
            for process in processes:
                process.start()
            async with asyncio.timeout(2 * HANG_SECONDS):
                await scene.send(200)
                while (await scene.stages([POISON]))[POISON] != "dead":
                    if len(scene.posts()) > len(scene.sent) - 100:
                        await scene.send(50)
                    deaths += sum([_revive(scene, process) for process in processes])
                    await asyncio.sleep(0.05)
            deaths += sum([_revive(scene, process) for process in processes])
            await scene.come_to_rest()
        finally:
            for process in processes:
                process.kill()
        record = await scene.store.records.record(POISON)
        stages = await scene.stages()
        report = await scene.judge()
    measured(
        f"poison with {workers} workers: {len(scene.sent)} messages, {deaths} deaths; "
        f"{report.counts}"
    )
    assert record is not None
    assert (record.row["s"], record.row["r"], record.row["n"]) == ("dead", "poison", "0")
    assert [name for name, stage in stages.items() if stage == "dead"] == [POISON]
    assert set(stages.values()) <= {"accepted", "dead", "unresolved"}
    assert deaths == 5
