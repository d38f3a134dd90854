"""Unreadable jobs are reported by name, once, also when the store's reply was lost."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Lost

from sendwindow.errors import NotDurable
from sendwindow.keys import ARQ_JOB
from sendwindow.scripts import Argument, Script
from tests.support.cast import ANNA
from tests.support.stores_world import SENDER, Place, World, opened
from worker.ports.arq_ingress import Adopted, Unreadable
from worker.stores.script_runner import ScriptRunner

pytestmark = pytest.mark.asyncio

BROKEN = b"not json"


async def _queue(world: World, *message_ids: str, job: bytes = BROKEN) -> None:
    for score, message_id in enumerate(message_ids):
        whole = world.keys.job_id(message_id)
        await world.redis.set(ARQ_JOB + whole, job)
        await world.redis.zadd(world.keys.ingress, {whole: score + 1})


async def test_the_cause_is_a_word_and_nothing_of_the_job(store: Place) -> None:
    """The reported cause is a fixed word, so that no name or value of a job reaches a log line."""
    async with opened(store) as world:
        message: dict[str, Any] = {
            "to": ANNA,
            "sender": SENDER,
            "purpose": "utility",
            "Anna Smith": "hello",
        }
        job: dict[str, Any] = {"t": None, "f": "send_message", "a": [message], "k": {}, "et": 1}
        await _queue(world, "m1", job=json.dumps(job).encode())
        assert await world.store.ledger.adopt(10) == Adopted(1, (Unreadable("m1", "invalid"),))


async def test_what_was_kept_is_told_when_the_replica_is_back(store: Place) -> None:
    """A dead letter of a call that raised is reported by the next call, and only by that one."""
    async with opened(store) as world:
        await _queue(world, "m1", "m2")
        world.calls._replicas = 1
        with pytest.raises(NotDurable):
            await world.store.ledger.adopt(10)
        world.calls._replicas = 0
        assert (await world.row("m1"))["s"] == "dead"
        told = (await world.store.ledger.adopt(10)).unreadable
        assert told == (Unreadable("m1", "not_json"), Unreadable("m2", "not_json"))
        assert await world.store.ledger.adopt(10) == Adopted(0)


async def test_what_was_kept_is_told_when_a_later_step_failed(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead letter is reported even when the connection breaks at the step after it was made."""
    run, broken = ScriptRunner.run_durably, ["adopted"]

    async def breaking(calls: ScriptRunner, script: Script, args: Sequence[Argument]) -> Any:
        answer = await run(calls, script, args)
        if script.name in broken:
            broken.remove(script.name)
            raise Lost
        return answer

    monkeypatch.setattr(ScriptRunner, "run_durably", breaking)
    async with opened(store) as world:
        await _queue(world, "m1")
        with pytest.raises(Lost):
            await world.store.ledger.adopt(10)
        assert await world.redis.zcard(world.keys.ingress) == 0
        assert await world.store.ledger.adopt(10) == Adopted(0, (Unreadable("m1", "not_json"),))
        assert await world.store.ledger.adopt(10) == Adopted(0)


async def test_of_several_workers_one_tells(store: Place) -> None:
    """Of several workers that read the queue only one reports a dead letter.

    The others remove arq's entry.
    """
    async with opened(store) as world, opened(store, worker_id="w2") as other:
        await _queue(world, "m1")
        assert len((await world.store.ledger.adopt(10)).unreadable) == 1
        await _queue(world, "m1")
        assert await other.store.ledger.adopt(10) == Adopted(1)
        assert await world.redis.zcard(world.keys.ingress) == 0
        assert await world.count("end:dead:unreadable") == 1
