"""The processes of the service, end to end over real sockets."""

import asyncio
import http.client
import json
import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from arq import create_pool
from arq.connections import RedisSettings

from sendwindow.codec import arq_serializer
from sendwindow.contract import Freeform, SendMessage
from sendwindow.sync import Producer
from sendwindow.vocabulary import Purpose, Stage
from tests.chaos.processes import Process
from tests.chaos.sentinel import one_server
from tests.support.cast import EMMA, SHOP
from tests.support.free_ports import free_port
from tests.support.house import House, house
from tests.support.waiting import HANG_SECONDS, until_now
from verify.judge import verify
from worker.cli.exit_codes import Exit
from worker.runtime import embedded_store
from worker.twilio.signature import sign


def reply(message_id: str) -> SendMessage:
    freeform = Freeform(body=f"An answer: {message_id}")
    return SendMessage(
        to=EMMA,
        sender="shop",
        purpose=Purpose.REPLY,
        freeform=freeform,
        message_id=message_id,
    )


def queue(made: House, *message_ids: str) -> None:
    with Producer(made.url) as producer:
        for message_id in message_ids:
            producer.send(reply(message_id))


def queue_with_plain_arq(url: str, message_id: str) -> None:
    async def enqueue() -> None:
        pool = await create_pool(
            RedisSettings.from_dsn(url),
            job_serializer=arq_serializer,
            default_queue_name="arq:{p0}:queue",
        )
        fields = {
            "to": EMMA,
            "sender": "shop",
            "purpose": "reply",
            "freeform": {"body": "From plain arq."},
        }
        await pool.enqueue_job("send_message", fields, _job_id="{p0}" + message_id)
        await pool.aclose()

    asyncio.run(enqueue())


def test_messages_of_all_producers_are_delivered_and_everything_stops_in_order(
    tmp_path: Path,
) -> None:
    """Messages of our producer and of a plain arq one are answered, SIGTERM ends all with 0,
    verify is green.
    """
    with house(tmp_path) as made:
        made.start_all()
        made.say("Do you open on Sundays?")
        queue(made, "ours")
        queue_with_plain_arq(made.url, "arqs")
        for message_id in ("ours", "arqs"):
            ended = made.ends(message_id, status="read")
            assert (ended.stage, ended.reason, ended.attempts) == (
                Stage.ACCEPTED,
                "reply_implied",
                1,
            )
        until_now(lambda: made.control("stats")["callbacks_pending"] == 0, "callbacks")
        assert made.control("stats")["posts"] == 2
        assert [process.stop() for process in made.processes] == [Exit.DONE] * 3
        report = verify(sorted(made.journals.glob("*.jsonl")))
        assert report.ok, report


def test_a_stop_sent_while_every_gateway_was_down_holds(tmp_path: Path) -> None:
    """A STOP during a deploy is in Twilio's list: the next gateway finds it, and no message goes
    out after it.
    """
    with house(tmp_path) as made:
        made.start_all()
        made.say("Do you open on Sundays?")
        queue(made, "before")
        made.ends("before", status="read")
        [gateway] = [process for process in made.processes if process.name == "gateway"]
        assert gateway.stop() == Exit.DONE
        assert made.control("say", {"from": EMMA, "to": SHOP, "body": "STOP"})["http"] is None
        made.start("gateway-2", "serve")
        made.up("gateway", made.gateway_port, "/health/ready")
        queue(made, "after")
        ended = made.ends("after")
        assert (ended.stage, ended.reason) == (Stage.REFUSED, "opted_out")
        assert made.control("stats")["posts"] == 1
        assert [line["keyword"] for line in made.lines("gateway-2") if line["e"] == "inbound"][
            -1
        ] == "stop"
        made.stop()
        report = verify(sorted(made.journals.glob("*.jsonl")))
        assert report.ok, report


def test_a_worker_started_without_its_store_becomes_ready_later(tmp_path: Path) -> None:
    """A worker without its store at start waits, and sends once the store is there."""
    folder = tmp_path / "late"
    with house(tmp_path, with_store=False) as made:
        made.url = f"unix://{folder}/s.sock?db=0"
        made.environ |= {
            "SENDWINDOW_STORE_URL": made.url,
            "SENDWINDOW_STORE_PERSON_KEY": "env:KEY",
            "KEY": "k" * 32,
        }
        worker = made.start("worker", "run")
        until_now(lambda: "store_unreachable" in made.logs(), "the worker to say that it waits")
        assert worker.is_alive
        store = embedded_store.start(folder, environ={"PATH": os.environ.get("PATH", "")})
        try:
            made.start("sandbox", "sandbox", "--port", str(made.sandbox_port))
            made.start("gateway", "serve")
            made.up("gateway", made.gateway_port, "/health/ready")
            made.up("sandbox", made.sandbox_port, "/sandbox/health")
            made.say("Hello")
            queue(made, "late")
            assert made.ends("late").stage is Stage.ACCEPTED
            assert worker.stop() == Exit.DONE
        finally:
            made.stop()
            store.stop()


def test_a_worker_that_never_found_its_store_stops_with_0(tmp_path: Path) -> None:
    """SIGTERM while the worker waits for its store is an ordinary stop with exit code 0."""
    with house(tmp_path, with_store=False) as made:
        url = f"unix://{tmp_path}/none.sock"
        made.environ |= {
            "SENDWINDOW_STORE_URL": url,
            "SENDWINDOW_STORE_PERSON_KEY": "env:KEY",
            "KEY": "k" * 32,
        }
        worker = made.start("worker", "run")
        until_now(lambda: "store_unreachable" in made.logs(), "the worker to say that it waits")
        assert worker.stop() == Exit.DONE


def twilio_says(made: House, path: str, **fields: str) -> int:
    """Send the gateway a request that Twilio signed, and return the status code."""
    form = {
        "AccountSid": "AC00000000000000000000000000000001",
        "MessageSid": "SM" + "a" * 32,
    } | fields
    url = f"http://127.0.0.1:{made.gateway_port}{path}"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": sign(made.environ["TWILIO_AUTH_TOKEN"], url, tuple(form.items())),
    }
    connection = http.client.HTTPConnection("127.0.0.1", made.gateway_port, timeout=HANG_SECONDS)
    try:
        connection.request("POST", path, urlencode(form), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_gateway_started_without_its_store_is_alive_and_becomes_ready_later(
    tmp_path: Path,
) -> None:
    """A gateway started without its store is alive and becomes ready by itself when the store is
    there. Requests of Twilio meanwhile get no 2xx, so Twilio repeats them.
    """
    stop = {"From": EMMA, "To": SHOP, "Body": "STOP"}
    with one_server(tmp_path / "server") as server:
        server.kill()
        made = House(tmp_path, server.url)
        gateway = made.start("gateway", "serve")
        port = made.gateway_port
        until_now(
            lambda: probe(port, "/health/live") == (200, {"live": True}),
            f"the gateway to listen\n{made.logs()}",
        )
        assert probe(port) == (503, {"ready": False, "problem": "the store has not answered yet"})
        assert twilio_says(made, "/twilio/inbound", **stop) == 503
        assert twilio_says(made, "/twilio/status?m=m1&a=1", MessageStatus="sent") == 503
        assert "sendwindow_store_up 0.0" in metrics(port)
        assert [line["e"] for line in made.lines("gateway")] == ["started"]
        server.start()
        until_now(
            lambda: probe(port) == (200, {"ready": True}), f"the gateway to be ready\n{made.logs()}"
        )
        assert twilio_says(made, "/twilio/inbound", **stop) == 200
        assert "sendwindow_store_up 1.0" in metrics(port)
        assert [line["e"] for line in made.lines("gateway")] == ["started", "inbound"]
        assert gateway.stop() == Exit.DONE
        assert not accepts(port)


def test_a_gateway_that_never_found_its_store_stops_with_0(tmp_path: Path) -> None:
    """SIGTERM while the gateway waits for its store is an ordinary stop, which it logs."""
    with house(tmp_path, with_store=False) as made:
        url = f"unix://{tmp_path}/none.sock"
        made.environ |= {
            "SENDWINDOW_STORE_URL": url,
            "SENDWINDOW_STORE_PERSON_KEY": "env:KEY",
            "KEY": "k" * 32,
        }
        gateway = made.start("gateway", "serve")
        made.up("gateway", made.gateway_port, "/health/live")
        assert gateway.stop() == Exit.DONE
        assert '"event": "stopped"' in made.logs()
        assert "Traceback" not in made.logs()


def test_a_gateway_whose_store_refuses_it_does_not_stay(tmp_path: Path) -> None:
    """A store with another person's key is not waited for: the gateway ends with a sentence."""
    with house(tmp_path) as made:
        worker = made.start("worker", "run")
        until_now(lambda: '"event": "started"' in made.logs(), "the worker to open the store")
        made.environ["KEY"] = "another-key-" * 3
        gateway = made.start("gateway", "serve")
        until_now(lambda: not gateway.is_alive, "the gateway to end")
        assert gateway.exit_code == Exit.USAGE
        assert "keyed with another person key" in made.logs()
        assert "Traceback" not in made.logs()
        assert worker.stop() == Exit.DONE


@pytest.mark.parametrize(
    "command, journal, why",
    [
        ("up", "file", "Not a directory"),
        ("run", "file/worker.jsonl", "Not a directory"),
        ("serve", "file/deep/gateway.jsonl", "Not a directory"),
        ("serve", "folder", "Is a directory"),
    ],
)
def test_a_journal_that_can_never_be_written_is_a_usage_error(
    tmp_path: Path, command: str, journal: str, why: str
) -> None:
    """A journal that can never be written ends the command before it touches anything.

    Waiting for it would never end, with messages queued.
    """
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with house(tmp_path, with_store=False) as made:
        process = made.start("starts", command, "--journal", str(tmp_path / journal), journal=False)
        until_now(lambda: not process.is_alive, f"{command} to end\n{made.logs()}")
        assert process.exit_code == Exit.USAGE
        assert made.logs().startswith("error: The journal ")
        assert f"cannot be written ({why})" in made.logs()
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_is_a_file_is_reported_at_start(tmp_path: Path) -> None:
    """A data folder that is a file gives an error that names the variable.

    There is no stack trace, and no advice about Redis, which is not configured.
    """
    (tmp_path / "data").touch()
    with house(tmp_path, with_store=False) as made:
        worker = made.start("worker", "run")
        until_now(lambda: not worker.is_alive, "the worker to end")
        assert worker.exit_code == Exit.USAGE
        assert f"SENDWINDOW_DATA: {tmp_path}/data is a file, not a folder" in made.logs()
        assert "Traceback" not in made.logs()


def health_port(made: House) -> int:
    """Let the worker of a house report its health on a port."""
    port = free_port()
    made.environ["SENDWINDOW_DISPATCH_HEALTH_PORT"] = str(port)
    return port


def probe(port: int, path: str = "/health/ready") -> tuple[int, Any] | None:
    """Return what an orchestrator gets, or None when there is no listener."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        return None
    finally:
        connection.close()


def test_a_worker_tells_an_orchestrator_whether_it_is_ready(tmp_path: Path) -> None:
    """A worker is not ready without its store, ready with it, and alive all along until its end."""
    with one_server(tmp_path / "server") as server:
        server.kill()
        made = House(tmp_path, server.url)
        port = health_port(made)
        worker = made.start("worker", "run")
        waits = {"ready": False, "problem": "the store has not answered yet"}
        until_now(
            lambda: probe(port) == (503, waits), f"the worker to tell that it waits\n{made.logs()}"
        )
        server.start()
        until_now(
            lambda: probe(port) == (200, {"ready": True}), f"the worker to be ready\n{made.logs()}"
        )
        server.kill()
        until_now(
            lambda: (probe(port) or (0,))[0] == 503, "the worker to notice that its store is away"
        )
        assert probe(port, "/health/live") == (200, {"live": True})
        server.start()
        until_now(
            lambda: probe(port) == (200, {"ready": True}),
            f"the worker to be ready again\n{made.logs()}",
        )
        assert worker.stop() == Exit.DONE
        assert probe(port) is None


def test_a_worker_whose_health_port_is_taken_says_so(tmp_path: Path) -> None:
    """A worker whose health port is taken ends and names the setting.

    An orchestrator would otherwise ask another process about it.
    """
    with house(tmp_path) as made, socket.create_server(("127.0.0.1", 0)) as taken:
        made.environ["SENDWINDOW_DISPATCH_HEALTH_PORT"] = str(taken.getsockname()[1])
        worker = made.start("worker", "run")
        until_now(lambda: not worker.is_alive, "the worker to end")
        assert worker.exit_code == Exit.FAILED
        assert "Set dispatch.health_port." in made.logs()
        assert "Traceback" not in made.logs()


def test_a_second_signal_ends_a_worker_whose_post_hangs(tmp_path: Path) -> None:
    """The first signal lets a POST finish; the second ends the worker at once, and the intent
    remains.

    Meanwhile the worker reports that it drains.
    """
    with house(tmp_path) as made:
        port = health_port(made)
        worker = made.start_all()
        made.say("Hello")
        made.control("faults", {"rules": [{"action": "hang", "match": {"id": "hangs"}}]})
        queue(made, "hangs")
        until_now(lambda: made.control("stats")["in_flight"] == 1, "the POST to hang")
        worker.send(signal.SIGTERM)
        until_now(lambda: '"event": "stopping"' in made.logs(), "the worker to stop claiming")
        assert probe(port) == (503, {"ready": False, "problem": "draining"})
        assert worker.is_alive
        worker.send(signal.SIGTERM)
        until_now(lambda: not worker.is_alive, "the worker to end")
        assert worker.exit_code == Exit.STOPPED_EARLY
        with Producer(made.url) as producer:
            seen = producer.status("hangs")
        assert seen is not None
        assert not seen.is_end
        assert seen.attempts == 1


def worker_pids(made: House) -> set[int]:
    """Return the processes that claimed a message, from their journals."""
    lines = [
        line for path in made.journals.glob("worker-*.jsonl") for line in made.lines(path.stem)
    ]
    return {int(line["who"].partition("-")[2]) for line in lines if line["e"] == "claimed"}


@pytest.fixture
def up(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.start("sandbox", "sandbox", "--port", str(made.sandbox_port))
    made.up("sandbox", made.sandbox_port, "/sandbox/health")
    return made


def test_up_starts_again_what_died_and_passes_its_signal_on(up: House) -> None:
    """`up` replaces a killed worker, whose successor sends, and SIGTERM ends all of them with 0.

    This uses the embedded store.
    """
    with supervised(up) as supervisor:
        up.say("Hello")
        queue(up, "first")
        up.ends("first")
        [pid] = worker_pids(up)
        os.kill(pid, signal.SIGKILL)
        queue(up, "second")
        up.ends("second")
        assert worker_pids(up) > {pid}
        assert supervisor.stop() == Exit.DONE
        assert not accepts(up.gateway_port)


def test_up_looks_after_its_workers_itself(up: House) -> None:
    """Workers of `up` listen on no health port, since they would take it from each other."""
    port = health_port(up)
    with supervised(up) as supervisor:
        up.say("Hello")
        queue(up, "first")
        up.ends("first")
        assert probe(port) is None
        assert supervisor.stop() == Exit.DONE


def test_no_process_outlives_the_one_that_started_it(up: House) -> None:
    """If `up` is killed, gateway and workers notice and stop in order."""
    with supervised(up) as supervisor:
        supervisor.kill()
        until_now(lambda: not accepts(up.gateway_port), "the gateway to stop")
        until_now(
            lambda: up.logs().count('"event": "stopped"') == 2,
            "gateway and worker to stop in order",
        )


@contextmanager
def supervised(made: House) -> Iterator[Process]:
    """Run `up --workers 1` with a store that its processes share, and leave nothing behind."""
    process = made.start(
        "up", "up", "--workers", "1", "--journal", str(made.journals), journal=False
    )
    try:
        made.up("gateway", made.gateway_port, "/health/ready")
        store = embedded_store.start(
            made.folder / "data" / "store", environ={"PATH": made.environ["PATH"]}
        )
        made.url = store.url
        try:
            yield process
        finally:
            made.stop()
            store.stop()
    finally:
        made.stop()


def metrics(port: int) -> str:
    """Return what a scrape of the gateway shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_SECONDS) as answer:
        text: str = answer.read().decode()
        return text


def accepts(port: int) -> bool:
    """Return whether a server listens there."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
