"""A worker says which jobs of plain arq producers it could not read: their producers hear nothing of it."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sendwindow.keys import ARQ_JOB
from sendwindow.vocabulary import Stage
from tests.worker.dispatch_world import World, dispatching
from tests.worker.stores_world import Place
from worker.dispatch import service
from worker.verify.case import Options
from worker.verify.verify import verify

pytestmark = pytest.mark.asyncio

JOB = b"\x80\x04 pickled for +14155550123"


async def _queue(world: World, *message_ids: str) -> None:
    keys = world.store.keys
    for message_id in message_ids:
        whole = keys.job_id(message_id)
        await world.redis.set(ARQ_JOB + whole, JOB)
        await world.redis.zadd(keys.ingress, {whole: 1})


async def test_an_unreadable_job_leaves_a_warning_and_an_end_in_the_journal(store: Place, tmp_path: Path) -> None:
    """One line each in log and journal, with id and cause and nothing of the job; `verify` knows how it ended."""
    async with dispatching(store, tmp_path / "j") as world:
        await _queue(world, "m1")
        with capture_logs() as logs:
            await world.run_until(Stage.DEAD)
        told = {"event": "unreadable", "log_level": "warning", "message_id": "m1", "cause": "pickled"}
        assert [entry for entry in logs if entry["event"] == "unreadable"] == [told]
        (line,) = world.journaled()
        end = {"e": "ended", "id": "m1", "stage": "dead", "reason": "unreadable", "code": None}
        assert {name: value for name, value in line.items() if name not in {"t", "who"}} == end
    report = verify([tmp_path / "j"], Options(final=True))
    assert report.ok
    assert report.counts.ends == {"dead": 1}


async def test_a_backlog_longer_than_one_call_is_told_whole(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adoption goes on in the same turn while there is more than it asks for at a time."""
    monkeypatch.setattr(service, "_ADOPT_LIMIT", 2)
    async with dispatching(store, tmp_path / "j") as world:
        await _queue(world, *(f"m{number}" for number in range(5)))
        await world.run_until(Stage.DEAD, 5)
        assert sorted(line["id"] for line in world.journaled()) == [f"m{number}" for number in range(5)]
