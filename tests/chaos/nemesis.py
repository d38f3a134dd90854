"""Runs the whole service under faults drawn from a seed, until it rests; `verify` judges the
journals.

Everything is real: store with AOF, sandbox, gateway and workers as processes over sockets. Run one
by hand with `python -m tests.chaos.nemesis`.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from sendwindow.errors import StoreUnavailable
from sendwindow.keys import Keys
from sendwindow.producer import Producer
from tests.chaos.plan import LONG, SHORT, Doses, Fault, Step, message, plan
from tests.chaos.processes import Process
from tests.chaos.settings import PERSON_KEY, environ, write_settings
from tests.support.cast import SHOP, phone, whatsapp
from tests.support.free_ports import free_port
from tests.support.waiting import is_written, until
from verify.judge import verify
from verify.judge_context import Options
from verify.report import Report, render
from worker.cli.journal_option import write_accepted, write_consent
from worker.ports.people import ConsentEntry
from worker.runtime import embedded_store
from worker.settings.settings import load_settings
from worker.stores.store import Store
from worker.telemetry.journal import Journal

BATCH = 25
BACKLOG = 600
FAULT_RULES: tuple[dict[str, object], ...] = (
    {"action": "accept_reset", "match": {"probability": 0.004}},
    {"action": "accept_hang", "match": {"probability": 0.001}},
    {"action": "accept_unavailable", "match": {"probability": 0.004}},
    {"action": "accept_garbage", "match": {"probability": 0.002}},
    {"action": "unavailable", "match": {"probability": 0.002}},
    {"action": "reset", "match": {"probability": 0.002}},
    {"action": "rate_limited", "match": {"probability": 0.01}, "retry_after": 1},
    {"action": "fail", "match": {"probability": 0.004}, "code": 63012},
    {"action": "fail", "match": {"probability": 0.004}, "code": 63012, "then": "delivered"},
    {
        "action": "fail",
        "match": {"probability": 0.002},
        "code": 30500,
        "then": "read",
        "delay_ms": 20_000,
    },
    {"action": "callback_lost", "match": {"probability": 0.01}},
    {"action": "callback_doubled", "match": {"probability": 0.02}},
    {"action": "callback_reordered", "match": {"probability": 0.02}},
    {"action": "callback_first", "match": {"probability": 0.02}},
)
BURST = 50
"""How many POSTs in a row get a 429 while Twilio slows an account down."""


@dataclass(slots=True)
class Result:
    """The faults of a run and its results."""

    seed: int
    report: Report
    done: Counter[str]
    listed: dict[str, int]
    exit_codes: Counter[int]
    seconds: float
    folder: Path


@dataclass
class Nemesis:
    """One run. `folder` keeps journals, logs and the store's data."""

    folder: Path
    seed: int
    doses: Doses
    done: Counter[str] = field(default_factory=Counter)
    exit_codes: Counter[int] = field(default_factory=Counter)
    accepted: int = 0
    offset_ms: int = 0
    _processes: dict[str, Process] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _http: aiohttp.ClientSession = field(init=False)
    _store: Store = field(init=False)
    _producer: Producer = field(init=False)

    def __post_init__(self) -> None:
        self._gateway_port, self._sandbox_port = free_port(), free_port()
        self._environ = environ(os.environ)
        self._server = embedded_store.start(self.folder / "store", environ=self._environ)
        self._url = self._server.url
        self._config = write_settings(
            self.folder, self._url, self._gateway_port, self._sandbox_port
        )
        self._settings = load_settings(str(self._config), self._environ)
        self._journals = self.folder / "journals"
        self._journal = Journal(self._journals / "nemesis.jsonl", "nemesis")
        self._chance = random.Random(self.seed)
        self._sandbox = f"http://127.0.0.1:{self._sandbox_port}/sandbox"

    # -- the run -------------------------------------------------------------------------------

    async def run(self) -> Result:
        """Feed, harm, wait for rest, and judge."""
        started = time.monotonic()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http,
                self._open_store() as store,
                Producer(self._url) as producer,
            ):
                self._http, self._store, self._producer = http, store, producer
                self._start_all()
                await self._until_healthy()
                await self._meet_people()
                await self._post("faults", {"rules": list(FAULT_RULES)})
                await self._feed_and_harm()
                await asyncio.gather(*self._tasks)
                await self._come_to_rest()
                await self._write_down_what_is_found()
                listed = await self._listed()
                self._stop_all()
        finally:
            for process in self._processes.values():
                process.kill()
            self._server.stop()
            self._journal.close()
        options = Options(open_allowed=frozenset({"unresolved"}), suspended=True)
        report = verify(sorted(self._journals.glob("*.jsonl")), options)
        return Result(
            self.seed,
            report,
            self.done,
            listed,
            self.exit_codes,
            time.monotonic() - started,
            self.folder,
        )

    # -- processes -----------------------------------------------------------------------------

    def _worker(self, number: int) -> Process:
        return self._process(f"worker-{number}", "run")

    @property
    def _gateway(self) -> Process:
        return self._process("gateway", "serve")

    def _process(self, name: str, command: str, *more: str) -> Process:
        if name not in self._processes:
            journal = str(self._journals / f"{name}.jsonl")
            arguments = [command, "--config", str(self._config), "--journal", journal, *more]
            self._processes[name] = Process(name, arguments, self.folder, self._environ)
        return self._processes[name]

    def _start_all(self) -> None:
        self._process(
            "sandbox", "sandbox", "--port", str(self._sandbox_port), "--seed", str(self.seed)
        ).start()
        self._gateway.start()
        for number in range(self.doses.workers):
            self._worker(number).start()

    def _stop_all(self) -> None:
        for name, process in self._processes.items():
            if name != "sandbox":
                self.exit_codes[process.stop()] += 1

    async def _until_healthy(self) -> None:
        for url in (
            f"{self._sandbox}/health",
            f"http://127.0.0.1:{self._gateway_port}/health/ready",
        ):
            await until(
                partial(self._answer_of, url), f"{url} to answer", holds=lambda code: code == 200
            )

    async def _answer_of(self, url: str) -> int | str:
        try:
            async with self._http.get(url) as response:
                return response.status
        except aiohttp.ClientError as error:
            return type(error).__name__

    # -- people and messages -------------------------------------------------------------------

    async def _meet_people(self) -> None:
        """Record consent of all people, and let half of them write, so that their windows are
        open.
        """
        entry = ConsentEntry(
            granted=True, account="main", purpose=None, sender=None, source="chaos"
        )
        for number in range(self.doses.people):
            for address in (whatsapp(number), phone(number)):
                asked_at = self._journal.now()
                await self._store.people.record_consent(address, entry)
                write_consent(self._journal, entry, self._store.people.digest(address), asked_at)
        for number in range(0, self.doses.people, 2):
            await self._post(
                "say",
                {
                    "from": whatsapp(number),
                    "to": "whatsapp:+14155550100",
                    "body": "Hello",
                },
            )

    @asynccontextmanager
    async def _open_store(self) -> AsyncIterator[Store]:
        store = await Store.connect(
            self._url,
            partition="p0",
            person_key=PERSON_KEY.encode(),
            durability="none",
            worker_id="nemesis",
            lease=timedelta(seconds=2),
            profile="sandbox",
        )
        try:
            yield store
        finally:
            await store.close()

    async def _feed_and_harm(self) -> None:
        steps = list(plan(self.seed, self.doses))
        while self.accepted < self.doses.messages:
            await self._enqueue_some(min(BATCH, self.doses.messages - self.accepted))
            while steps and steps[0].after <= self.accepted:
                await self._harm(steps.pop(0))
            await self._until_backlog_below(BACKLOG)
        for step in steps:
            await self._harm(step)

    async def _enqueue_some(self, count: int) -> None:
        """Enqueue some messages.

        A call that failed is repeated with the same ids, and what enqueue returned counts as
        accepted.
        """
        messages = [
            message(self.seed, self.accepted + index, self.doses.people) for index in range(count)
        ]
        while True:
            try:
                receipts = (await self._producer.send_many(messages)).receipts
            except StoreUnavailable:
                continue
            break
        for each, receipt in zip(messages, receipts, strict=True):
            first = replace(receipt, duplicate=False)
            write_accepted(
                self._journal, each, self._settings, self._store.people.digest(each.to), first
            )
        self.accepted += len(messages)
        # With every batch, because a slow machine feeds most messages while it waits for a fault.
        if self._chance.random() < 0.02:
            self._in_background(self._someone_stops())
        if self._chance.random() < 0.2:
            self._in_background(
                self._backend_cancels(self.accepted - 1 - self._chance.randrange(BATCH))
            )

    async def _someone_stops(self) -> None:
        person = self._chance.randrange(self.doses.people)
        await self._post("say", {"from": whatsapp(person), "to": SHOP, "body": "STOP"})

    async def _backend_cancels(self, number: int) -> None:
        """Cancel a message in any stage. A call that failed is not repeated."""
        with suppress(StoreUnavailable):
            await self._producer.cancel(f"m{max(0, number)}")

    async def _until_backlog_below(self, limit: int) -> None:
        """Wait until the service has caught up.

        Gives up when nothing moves.
        """
        await until(
            self._under_way,
            f"at most {limit} messages under way; look at the logs in {self.folder}",
            holds=lambda found: found <= limit,
            while_it_moves=True,
            poll=0.1,
        )

    @property
    def _server_pid(self) -> int:
        return int((self.folder / "store" / "server.pid").read_text())

    # -- faults --------------------------------------------------------------------------------

    async def _harm(self, step: Step) -> None:
        """Do one fault.

        A fault that takes a while runs next to the feeding, one at a time for each process.
        """
        process = self._gateway if step.hits_gateway else self._worker(step.target)
        match step.fault:
            case Fault.KILL_AT_POINT:
                await self._kill_at_point(process, step)
            case Fault.KILL:
                self._killed(process, "random")
                process.start()
            case Fault.FREEZE:
                process.send(signal.SIGSTOP)
                await asyncio.sleep(3.0)
                process.send(signal.SIGCONT)
            case Fault.RESTART:
                self.exit_codes[await asyncio.to_thread(process.stop)] += 1
                process.start()
            case Fault.STORE_KILL:
                async with Redis.from_url(self._url) as redis:
                    await until(
                        lambda: redis.info("persistence"),
                        "the file to be written",
                        holds=is_written,
                    )
                os.kill(self._server_pid, signal.SIGKILL)
                before = self._server
                self._server = await asyncio.to_thread(
                    embedded_store.start, self.folder / "store", environ=self._environ
                )
                # Its share of the server counts as long as this process lives. No other process
                # could stop it.
                before.stop()
            case Fault.STORE_PAUSE:
                os.kill(self._server_pid, signal.SIGSTOP)
                await asyncio.sleep(1.5)
                os.kill(self._server_pid, signal.SIGCONT)
            case Fault.SCRIPT_FLUSH:
                async with Redis.from_url(self._url) as redis:
                    await redis.script_flush()
            case Fault.RATE_LIMIT:
                await self._rate_limit()
        self.done[step.point or step.fault] += 1

    async def _kill_at_point(self, process: Process, step: Step) -> None:
        """Restart the process so that it stops itself at the point, wait for that, and kill it."""
        self._killed(process, "to_arm")
        process.stopping_at = (step.point, step.nth)
        process.start()

        async def came_to_the_point() -> bool:
            if not process.is_alive:
                raise RuntimeError(
                    f"{process.name} ended with {process.exit_code} before it came to {step.point}"
                )
            if not process.is_frozen:
                await self._keep_busy()
            return process.is_frozen

        what = f"{process.name} to come to {step.point}; look at {self.folder}"
        await until(came_to_the_point, what)
        self._killed(process, step.point)
        process.stopping_at = None
        process.start()

    async def _rate_limit(self) -> None:
        """Turn away every POST until the whole burst has hit."""
        rule = {"action": "rate_limited", "times": BURST, "retry_after": 1}
        [number] = (await self._post("faults", {"rules": [rule]}))["ids"]

        async def hits() -> int:
            await self._keep_busy()
            return await self._hits(number)

        what = f"the burst to hit {BURST} POSTs; look at {self.folder}"
        await until(hits, what, holds=lambda found: found >= BURST)

    async def _hits(self, number: int) -> int:
        async with self._http.get(f"{self._sandbox}/faults") as response:
            rules = (await response.json())["rules"]
        return next(int(rule["hits"]) for rule in rules if rule["id"] == number)

    async def _keep_busy(self) -> None:
        """Enqueue further messages if needed, because a point is reached only while there is
        work.
        """
        if (await self._open_messages()).get("lane", 0) < BATCH:
            await self._enqueue_some(BATCH)

    def _killed(self, process: Process, point: str) -> None:
        process.kill()
        self._journal.write("killed", point=point, process=process.name)

    def _in_background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)

    # -- coming to rest ------------------------------------------------------------------------

    async def _come_to_rest(self) -> None:
        """Remove the faults and let time pass until only `unresolved` is left.

        The clock moves only while no message is under a lease: a jump would end all leases at once.
        """
        async with self._http.delete(f"{self._sandbox}/faults") as response:
            response.raise_for_status()

        async def left_open() -> Mapping[str, int]:
            still = await self._open_messages()
            if still and not still.get("leases"):
                await self._pass_time(timedelta(seconds=20))
            return still

        await until(
            left_open,
            f"every message to end; look at the logs in {self.folder}",
            holds=lambda still: not still,
            while_it_moves=True,
            poll=0.2,
        )

    async def _pass_time(self, period: timedelta) -> None:
        self.offset_ms += int(period / timedelta(milliseconds=1))
        await self._store.set_offset(timedelta(milliseconds=self.offset_ms))
        await self._post("clock", {"offset_ms": self.offset_ms})

    async def _under_way(self) -> int:
        """Return how many messages wait for a worker or have one.

        Unknown messages are left out: they only wait for time to pass.
        """
        still = await self._open_messages()
        return sum(count for name, count in still.items() if name != "unknown")

    async def _open_messages(self) -> dict[str, int]:
        """Return how many messages have not ended: in lanes, suspects, leased, unknown.

        The result is empty when there are none.
        """
        try:
            depths = await self._store.records.depths()
        except (RedisError, OSError):
            return {"store away": self.accepted}
        found: Counter[str] = Counter()
        for name, count in depths.items():
            kind = "lane" if "|" in name else name
            if kind in ("lane", "leases", "suspects", "unknown") and count:
                found[kind] += count
        return dict(found)

    async def _write_down_what_is_found(self) -> None:
        """Journal every message's stage in the store, since a killed process may not have
        written its line.
        """
        keys = Keys("p0")
        async with Redis.from_url(self._url, decode_responses=True) as redis:
            for start in range(0, self.accepted, 1000):
                names = [f"m{number}" for number in range(start, min(start + 1000, self.accepted))]
                pipeline = redis.pipeline(transaction=False)
                for name in names:
                    pipeline.hmget(keys.row(name), "s", "n")
                for name, (stage, attempt) in zip(names, await pipeline.execute(), strict=True):
                    self._journal.write("found", id=name, stage=stage, attempt=int(attempt or 0))

    async def _listed(self) -> dict[str, int]:
        counts = await self._store.records.counts()
        return dict(await self._store.records.depths()) | {
            f"count:{name}": count for name, count in counts.items()
        }

    async def _post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        async with self._http.post(f"{self._sandbox}/{path}", json=body) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer


def _main() -> None:
    """Run once from the command line and print the result."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.nemesis", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--long",
        action="store_true",
        help=f"{LONG.messages:,} messages instead of {SHORT.messages}",
    )
    parser.add_argument("--folder", type=Path, help="keep journals and logs there")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="nemesis-"))
    result = asyncio.run(Nemesis(folder, options.seed, LONG if options.long else SHORT).run())
    console = Console()
    console.print(
        f"seed {result.seed}, {result.seconds:.0f} s, folder {result.folder}", highlight=False
    )
    for name in ("done", "exit_codes", "listed"):
        console.print(f"{name}: {dict(getattr(result, name))}", highlight=False)
    render(result.report, console)
    sys.exit(0 if result.report.ok else 1)


if __name__ == "__main__":
    _main()
