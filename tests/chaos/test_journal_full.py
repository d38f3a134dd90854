"""A worker whose journal's disk is full sends nothing without proof, loses nothing, and
recovers.
"""

import http.client
import json
import operator
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.processes import ROOT
from tests.chaos.scene import Scene
from tests.chaos.sentinel import StoreServer, one_server
from tests.chaos.staging import staged
from tests.support import warm_start
from tests.support.free_ports import free_port
from tests.support.waiting import HANG_SECONDS, until
from verify.journal_reader import read

pytestmark = pytest.mark.asyncio

FULL = "the journal cannot be written (No space left on device)"
CUT = (
    "the journal cannot be written (File too large)",
    "the journal cannot be written (a line was cut short)",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """Yield a store server of this test's own."""
    with one_server(tmp_path / "server") as running:
        yield running


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's process, and the port of its health."""

    process: warm_start.Started
    port: int

    def problem(self) -> str | None:
        """Return why the process is not ready: empty when it is ready, None when it does not
        answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG_SECONDS)
        try:
            connection.request("GET", "/health/ready")
            return str(json.loads(connection.getresponse().read()).get("problem", ""))
        except OSError:
            return None
        finally:
            connection.close()


@contextmanager
def running(scene: Scene, *command: str) -> Iterator[Worker]:
    """Run a Python module as a worker.

    It must end in order when asked, unless the test killed it.
    """
    port = free_port()
    environ = {**scene.environ, "SENDWINDOW_DISPATCH_HEALTH_PORT": str(port)}
    with (scene.folder / "worker.log").open("ab") as log:
        module, *arguments = command
        process = warm_start.start(
            module, arguments, cwd=ROOT, environ=environ, stdout=log, stderr=log
        )
    try:
        yield Worker(process, port)
        process.send(signal.SIGTERM)
        assert process.wait(HANG_SECONDS) in {0, -signal.SIGKILL}
    finally:
        process.send(signal.SIGKILL)
        process.wait()


async def row(scene: Scene, message_id: str) -> dict[str, str]:
    record = await scene.store.records.record(message_id)
    assert record is not None
    return dict(record.row)


@pytest.mark.parametrize(
    "event, stage, posts, attempts",
    [
        ("claimed", "queued", 0, "1"),
        ("decided", "queued", 0, "1"),
        ("intent", "queued", 0, "2"),
        ("replied", "accepted", 1, "1"),
        ("settled", "accepted", 1, "1"),
    ],
)
async def test_a_worker_survives_a_full_disk_at_any_line(
    server: StoreServer, tmp_path: Path, event: str, stage: str, posts: int, attempts: str
) -> None:
    """A worker survives a full disk at any journal line and sends everything once there is room
    again.

    Messages without an intent are released without a crash, the result of a POST is recorded, and
    no new message is claimed. The journal lacks no line in the end.
    """
    async with staged(tmp_path, server.url) as scene:
        command = ("tests.chaos.full_disk", event, *scene.process("worker").command)
        with running(scene, *command) as worker:
            await until(worker.problem, "a worker without a problem", holds=operator.not_)
            await scene.send(1)
            await until(worker.problem, "the problem", holds=lambda told: told in CUT)
            await scene.until_stage("m0", stage)
            await scene.send(3)
            assert len(scene.posts()) == posts
            room_at = scene.journal.now()
            worker.process.send(signal.SIGUSR1)
            await until(worker.problem, "a worker without a problem", holds=operator.not_)
            await scene.until_ended()
            assert (await row(scene, "m0")).get("k") is None
            assert (await row(scene, "m0"))["n"] == attempts
        lines = read([scene.journals / "worker.jsonl"]).lines
        later = [line for line in lines if line.get("id") in {"m1", "m2", "m3"}]
        assert min(line["t"] for line in later) >= room_at
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 4}
    assert (report.counts.posts, report.counts.torn, report.counts.reaped) == (4, 1, 0)


async def test_a_worker_that_never_had_room_touches_nothing(
    server: StoreServer, tmp_path: Path
) -> None:
    """A worker that is started on a full disk and killed, again and again, claims no message.

    So none becomes a dead letter.
    """
    async with staged(tmp_path, server.url) as scene:
        await scene.send(2)
        *command, _ = scene.process("worker").command
        for _ in range(5):
            with running(scene, "worker", *command, "/dev/full") as worker:
                await until(worker.problem, "the problem", holds=lambda told: told == FULL)
                worker.process.send(signal.SIGKILL)
        for message_id in ("m0", "m1"):
            untouched = await row(scene, message_id)
            assert (untouched["s"], untouched["n"], untouched.get("f"), untouched.get("k")) == (
                "queued",
                "0",
                None,
                None,
            )
        async with scene.worker():
            await scene.until_ended()
        report = await scene.judge()
    assert report.counts.ends == {"accepted": 2}
