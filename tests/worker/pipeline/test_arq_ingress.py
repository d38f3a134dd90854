"""A worker reports unreadable jobs of plain arq producers, since those producers learn nothing
of it.
"""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sendwindow.keys import ARQ_JOB
from sendwindow.vocabulary import Stage
from tests.support.pipeline_world import World, dispatching
from tests.support.stores_world import Place
from verify.judge import verify
from verify.judge_context import Options
from worker.pipeline import dispatcher

pytestmark = pytest.mark.asyncio

JOB = b"\x80\x04 pickled for +14155550123"


async def _queue(world: World, *message_ids: str) -> None:
    keys = world.store.keys
    for message_id in message_ids:
        whole = keys.job_id(message_id)
        await world.redis.set(ARQ_JOB + whole, JOB)
        await world.redis.zadd(keys.ingress, {whole: 1})


async def test_an_unreadable_job_leaves_a_warning_and_an_end_in_the_journal(
    store: Place, tmp_path: Path
) -> None:
    """An unreadable job gets a line with id and cause in log and journal, without its content.

    `verify` reads its end there.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await _queue(world, "m1")
        with capture_logs() as logs:
            await world.run_until(Stage.DEAD)
        told = {
            "event": "unreadable",
            "log_level": "warning",
            "message_id": "m1",
            "cause": "pickled",
        }
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
    """Adoption of a long backlog goes on in the same run until nothing is left."""
    monkeypatch.setattr(dispatcher, "_MAX_ADOPTED_JOBS", 2)
    async with dispatching(store, tmp_path / "j") as world:
        await _queue(world, *(f"m{number}" for number in range(5)))
        await world.run_until(Stage.DEAD, 5)
        assert sorted(line["id"] for line in world.journaled()) == [
            f"m{number}" for number in range(5)
        ]
