"""A restored copy of the append-only file, by the commands of docs/restore.md, with real
processes.
"""

import os
import shutil
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis import Redis

from sendwindow.contract import Freeform, SendMessage
from sendwindow.sync import Producer
from sendwindow.vocabulary import Purpose, Stage
from tests.integration.test_documented_commands import commands_of
from tests.support import warm_start
from tests.support.cast import EMMA, SHOP
from tests.support.house import House
from tests.support.waiting import until_now
from worker.cli.exit_codes import Exit
from worker.runtime import embedded_store

BERT = "whatsapp:+447700900102"
MANY = 20


def typed(made: House, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command of the page."""
    return warm_start.run("worker", words, cwd=made.folder, environ=made.environ)


def queue(made: House, name: str, to: str, later: timedelta | None = None) -> None:
    message = SendMessage(
        to=to,
        sender="shop",
        purpose=Purpose.REPLY,
        freeform=Freeform(body=f"The answer {name}."),
        message_id=name,
        not_before=datetime.now(UTC) + later if later else None,
        expires_at=datetime.now(UTC) + timedelta(hours=20),
    )
    with Producer(made.url) as producer:
        producer.send(message)


def move_clock(made: House, by: timedelta) -> None:
    with Redis.from_url(made.url) as redis:
        redis.hset("sw:{p0}:meta", "offset_ms", int(by / timedelta(milliseconds=1)))


def bodies(made: House) -> Counter[str]:
    """Return what the sandbox accepted, by text."""
    listed = made.control("messages?limit=500")["messages"]
    return Counter(one["id"] for one in listed if one["direction"] != "inbound")


def start_some(made: House) -> None:
    """Start sandbox and gateway, and queue messages that no worker takes yet."""
    made.start("sandbox", "sandbox", "--port", str(made.sandbox_port))
    made.up("sandbox", made.sandbox_port, "/sandbox/health")
    made.start("gateway", "serve")
    made.up("gateway", made.gateway_port, "/health/ready")
    made.say("hello")
    made.say("hello", BERT)
    for number in range(MANY):
        queue(made, f"now-{number}", EMMA)
    queue(made, "later-anna", EMMA, timedelta(minutes=30))
    queue(made, "later-bert", BERT, timedelta(minutes=30))


def go_on_after_the_copy(made: House) -> None:
    """Send the due messages, let Bert write STOP to no gateway, and stop all but the sandbox."""
    made.start("worker", "run")
    for number in range(MANY):
        made.ends(f"now-{number}")
    assert len(bodies(made)) == MANY
    made.control("say", {"from": BERT, "to": SHOP, "body": "STOP", "lost": True})
    for process in made.processes[1:]:
        assert process.stop() == Exit.DONE


def type_the_page(made: House) -> None:
    """Type the commands of the page in order.

    Before that, the copy still shows a living process.
    """
    assert typed(made, "store", "restored", "--yes").returncode == Exit.FAILED
    with Redis.from_url(made.url) as redis:
        # As 30 s later, when no process of the copy is alive any more.
        for key in redis.scan_iter("sw:{p0}:process:*"):
            redis.delete(key)
    printed = commands_of("docs/restore.md")
    assert printed[:2] == ["./run store restored", "./run store restored --yes"]
    answers = [typed(made, *command.split()[1:]) for command in printed]
    assert [answer.returncode for answer in answers] == [Exit.DONE] * len(printed), answers
    assert f"{MANY + 2} messages of the copy" in answers[1].stdout


def test_a_restored_copy_of_the_file_sends_nothing_twice(tmp_path: Path) -> None:
    """Of 20 messages that went out after the copy none is sent twice, and the rest goes out once.

    A STOP of the gap holds.
    """
    environ = {"PATH": os.environ.get("PATH", "")}
    store = embedded_store.start(tmp_path / "store", environ=environ)
    made = House(tmp_path, store.url)
    try:
        start_some(made)
        shutil.copytree(tmp_path / "store" / "appendonlydir", tmp_path / "copy")
        go_on_after_the_copy(made)
        store.stop()
        shutil.rmtree(tmp_path / "store" / "appendonlydir")
        shutil.copytree(tmp_path / "copy", tmp_path / "store" / "appendonlydir")
        store = embedded_store.start(tmp_path / "store", environ=environ)
        type_the_page(made)
        move_clock(made, timedelta(minutes=20))
        made.start("gateway-2", "serve")
        made.up("gateway", made.gateway_port, "/health/ready")
        made.start("worker-2", "run")
        for number in range(MANY):
            assert made.ends(f"now-{number}").stage is Stage.ACCEPTED
        until_now(lambda: stage(made, "later-anna") is Stage.QUEUED, f"its way back\n{made.logs()}")
        move_clock(made, timedelta(minutes=40))
        assert made.ends("later-anna").stage is Stage.ACCEPTED
        assert (made.ends("later-bert").stage, made.ends("later-bert").reason) == (
            Stage.REFUSED,
            "opted_out",
        )
        assert bodies(made) == Counter([*(f"now-{number}" for number in range(MANY)), "later-anna"])
        assert made.control("stats")["posts"] == MANY + 1
    finally:
        made.stop()
        store.stop()


def stage(made: House, message_id: str) -> Stage | None:
    with Producer(made.url) as producer:
        seen = producer.status(message_id)
        return seen.stage if seen else None
