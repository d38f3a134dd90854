"""The whole service for a test: store, sandbox, gateway and workers as real processes in their
own folder.
"""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sendwindow.results import MessageStatus
from sendwindow.sync import Producer
from tests.chaos.processes import ROOT, Process
from tests.support.cast import EMMA, SHOP
from tests.support.free_ports import free_port
from tests.support.waiting import HANG_SECONDS, until_now
from worker.runtime import embedded_store


class House:
    """Settings, processes and a producer. `url` is the store's, which runs unless the test starts
    it.

    `example`: which of the settings in examples/.
    """

    def __init__(
        self, folder: Path, url: str | None = None, example: str = "sendwindow.toml"
    ) -> None:
        self.folder = folder
        self.journals = folder / "journals"
        self.gateway_port, self.sandbox_port = free_port(), free_port()
        self.config = folder / "sendwindow.toml"
        text = (ROOT / "examples" / example).read_text()
        text = text.replace("http://127.0.0.1:9810", f"http://127.0.0.1:{self.sandbox_port}")
        self.config.write_text(
            text.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{self.gateway_port}")
        )
        self.environ = {
            "PATH": os.environ.get("PATH", ""),
            "SENDWINDOW_CONFIG": str(self.config),
            "SENDWINDOW_DATA": str(folder / "data"),
            "SENDWINDOW_GATEWAY_PORT": str(self.gateway_port),
            "TWILIO_AUTH_TOKEN": "token-of-the-tests",
            "TWILIO_AUTH_TOKEN_SECOND": "second-token-of-the-tests",
        }
        if url is not None:
            self.environ |= {
                "SENDWINDOW_STORE_URL": url,
                "SENDWINDOW_STORE_PERSON_KEY": "env:KEY",
                "KEY": "k" * 32,
            }
        self.url = url or ""
        self.processes: list[Process] = []

    def start(self, name: str, *command: str, journal: bool = True) -> Process:
        """Start `python -m worker COMMAND` with a journal of its own."""
        more = ["--journal", str(self.journals / f"{name}.jsonl")] if journal else []
        process = Process(name, [*command, *more], self.folder, self.environ)
        process.start()
        self.processes.append(process)
        return process

    def start_all(self) -> Process:
        """Start sandbox, gateway and a worker, and return the worker."""
        self.start("sandbox", "sandbox", "--port", str(self.sandbox_port))
        self.start("gateway", "serve")
        worker = self.start("worker", "run")
        self.up("sandbox", self.sandbox_port, "/sandbox/health")
        self.up("gateway", self.gateway_port, "/health/ready")
        return worker

    def up(self, name: str, port: int, path: str) -> None:
        until_now(lambda: fetch(port, path) is not None, f"{name} to come up", seen=self.logs)

    def control(self, path: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send the sandbox an order, or read its state."""
        answer = fetch(self.sandbox_port, f"/sandbox/{path}", fields)
        assert answer is not None, f"the sandbox does not answer {path}\n{self.logs()}"
        return answer

    def say(self, body: str, person: str = EMMA, to: str = SHOP) -> None:
        """Write as a person. The gateway must accept it."""
        answer = self.control("say", {"from": person, "to": to, "body": body})
        assert answer["http"] in (200, 204), answer

    def ends(self, message_id: str, status: str | None = None) -> MessageStatus:
        """Wait until a message has ended, and until the provider reports `status` for it."""
        with Producer(self.url) as producer:
            found = until_now(
                lambda: producer.status(message_id),
                f"{message_id} to end as {status}",
                holds=lambda seen: seen and seen.is_end and status in (None, seen.status),
            )
        assert found is not None
        return found

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the journal of a process so far."""
        path = self.journals / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """Stop what still runs. A forced end fails here; the tests check exit codes themselves."""
        for process in self.processes:
            if process.is_alive:
                process.send(signal.SIGTERM)
        for process in self.processes:
            if process.is_alive:
                process.stop()


@contextmanager
def house(folder: Path, *, with_store: bool = True) -> Iterator[House]:
    """Run a house with its store, and leave no process behind."""
    # Without a store of its own the processes share one by SENDWINDOW_DATA, as on a laptop.
    store = (
        embedded_store.start(folder / "store", environ={"PATH": os.environ.get("PATH", "")})
        if with_store
        else None
    )
    made = House(folder, store.url if store else None)
    try:
        yield made
    finally:
        made.stop()
        if store is not None:
            store.stop()


def fetch(port: int, path: str, fields: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Send a GET, or a POST with fields. Returns None when there is no 2xx answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if fields is not None:
        request.data = json.dumps(fields).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:  # noqa: S310 -- always http, above
            body: dict[str, Any] = json.loads(answer.read())
            return body
    except (urllib.error.URLError, OSError):
        return None
