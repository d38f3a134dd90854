"""Upgrades a loaded service from an old release to this checkout, and judges what became of it.

An old revision runs in a worktree of its own with its own installation: workers, a gateway, and a
producer that never stops. This checkout's workers and gateway start next to them. They wait if the
old release knows no common store layout, and otherwise work at once. The old workers and the old
gateway are killed under load, the new ones take over, and `verify` judges the journals of both.

Run it by hand, since it needs the history and a minute a round:

    .venv/bin/python -m tests.chaos.upgrade --rounds 5
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
from redis.asyncio import Redis
from rich.console import Console

from sendwindow.contract import SendMessage
from sendwindow.keys import Keys
from sendwindow.producer import Producer
from sendwindow.results import Receipt
from tests.chaos.balancer import Balancer
from tests.chaos.nemesis import Nemesis
from tests.chaos.old_release import OldProcess, OldRelease, old_release
from tests.chaos.plan import Doses
from tests.chaos.processes import ROOT, Process
from tests.chaos.stop_at import POINTS
from tests.chaos.upgrade_producer import fields, recipient
from tests.support.cast import SHOP, phone, whatsapp
from tests.support.free_ports import free_port
from tests.support.waiting import until
from verify.journal_reader import read
from verify.judge import verify
from verify.judge_context import Options
from verify.report import Report, render
from worker.cli.journal_option import write_accepted
from worker.ports.processes import LAYOUTS

OLD: Final = "fe44630"
"""The last revision before the layout of 0.1.0: its processes report no layouts."""

PEOPLE: Final = 300
WORKERS: Final = 2
BATCH: Final = 15
BURST: Final = 150
"""How many messages come at once while the old release ends: more than it can send."""

PACE_SECONDS: Final = 0.25
MIN_ACCEPTED: Final = 300
"""How many messages the queue takes before anything is harmed, and again after the new release
works.
"""

_MAX_HANDOVER_SECONDS: Final = 45.0
"""A killed process counts as alive for 30 s."""

_FAULTS: Final[tuple[dict[str, object], ...]] = (
    {"action": "latency", "delay_ms": 150},
    {"action": "accept_reset", "match": {"probability": 0.004}},
    {"action": "accept_unavailable", "match": {"probability": 0.004}},
    {"action": "unavailable", "match": {"probability": 0.002}},
    {"action": "rate_limited", "match": {"probability": 0.005}, "retry_after": 1},
    {"action": "callback_lost", "match": {"probability": 0.01}},
    {"action": "callback_first", "match": {"probability": 0.02}},
)

ENDINGS: Final = (
    "kill",
    "after_intent",
    "after_post",
    "after_claim",
    "before_settle",
    "callback_before_write",
    "stop",
    "before_intent",
    "after_settle",
    "callback_after_write",
)
"""How the old processes end in each round: SIGKILL at any instant or when one of them has reached a
named point, or SIGTERM.
"""


@dataclass(slots=True)
class Outcome:
    """One round: what the old release left behind, and what became of all messages."""

    seed: int
    ending: str
    report: Report
    left: dict[str, int]
    handover_seconds: float
    turned_away: int
    statuses_checked: int
    seconds: float
    folder: Path
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        counts = self.report.counts
        return self.report.ok and not (self.faults or counts.lost or counts.duplicates)


class UpgradeRound(Nemesis):
    """One upgrade under load. It takes people, clock and judgement from the nemesis."""

    def __init__(self, folder: Path, seed: int, ending: str, old: OldRelease) -> None:
        doses = Doses(0, PEOPLE, WORKERS, 0, 0, 0, 0, 0, 0, 0, 0)
        super().__init__(folder, seed, doses)
        assert all(recipient(number) == phone(number) for number in range(PEOPLE))
        self._old, self._ending = old, ending
        self._old_port, self._new_port = free_port(), free_port()
        self._faults: list[str] = []
        self._is_feeding, self._is_ending = True, False
        self._library: subprocess.Popen[str] | None = None
        self._balancer: Balancer

    async def upgrade(self) -> Outcome:
        """Load the old release, end it, let the new one take over, and judge."""
        began = time.monotonic()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http,
                self._open_store() as store,
                Producer(self._url) as producer,
                Balancer(self._gateway_port) as balancer,
            ):
                self._http, self._store, self._producer = http, store, producer
                self._balancer = balancer
                balancer.lead_to(self._old_port)
                self._start_old()
                self._library = self._start_library()
                await self._until_healthy()
                await self._meet_people()
                await self._post("faults", {"rules": list(_FAULTS)})
                feeding = asyncio.create_task(self._feed())
                await self._until_accepted(MIN_ACCEPTED)
                balancer.lead_to(self._old_port, self._new_port)
                await self._start_new_next_to_old()
                left = await self._end_old()
                balancer.lead_to(self._new_port)
                handover = await self._until_new_works()
                await self._until_accepted(self.accepted + MIN_ACCEPTED)
                self._is_feeding = False
                await feeding
                await asyncio.gather(*self._tasks)
                await self._come_to_rest()
                await self._write_down_what_is_found()
                checked = await self._ask_the_old_library()
                self._stop_all()
        finally:
            if self._library is not None:
                self._library.kill()
            for process in self._processes.values():
                process.kill()
            self._server.stop()
            self._journal.close()
        options = Options(open_allowed=frozenset({"unresolved"}), suspended=True)
        report = verify(sorted(self._journals.glob("*.jsonl")), options)
        return Outcome(
            self.seed,
            self._ending,
            report,
            left,
            handover,
            self._turned_away(),
            checked,
            time.monotonic() - began,
            self.folder,
            self._faults,
        )

    # -- processes -----------------------------------------------------------------------------

    @property
    def _old_processes(self) -> list[Process]:
        return [one for name, one in self._processes.items() if name.startswith("old-")]

    @property
    def _new_workers(self) -> list[str]:
        return [f"new-worker-{number}" for number in range(WORKERS)]

    def _add(self, name: str, command: str, old: OldRelease | None, port: int) -> Process:
        process = self._process(name, command)
        environ = {**self._environ, "SENDWINDOW_GATEWAY_PORT": str(port)}
        if old is None:
            made = Process(name, process.command, self.folder, environ)
        else:
            made = OldProcess(name, process.command, self.folder, environ)
            made.release = old
        self._processes[name] = made
        return made

    def _start_old(self) -> None:
        self._process(
            "sandbox", "sandbox", "--port", str(self._sandbox_port), "--seed", str(self.seed)
        ).start()
        gateway = self._add("old-gateway", "serve", self._old, self._old_port)
        workers = [
            self._add(f"old-worker-{number}", "run", self._old, self._old_port)
            for number in range(WORKERS)
        ]
        for process in (gateway, *workers):
            process.start()

    def _start_library(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                self._old.python,
                str(ROOT / "tests/chaos/upgrade_producer.py"),
                self._url,
                str(self.seed),
                str(PEOPLE),
            ],
            cwd=self._old.root,
            env=self._environ | {"PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def _start_new_next_to_old(self) -> None:
        """Start the new release while the old one works.

        It must say that it waits, and wait, or else work at once.
        """
        self._must_wait = any(
            one.layouts != LAYOUTS for one in await self._store.processes.living()
        )
        self._add("new-gateway", "serve", None, self._new_port).start()
        for name in self._new_workers:
            self._add(name, "run", None, self._new_port).start()
        if self._must_wait:
            await self._until_new_waits()
        else:
            await self._until_new_is_ready()
            for name in self._new_workers:
                await until(partial(self._claims, name), f"{name} to claim")
        await self._until_accepted(self.accepted + 4 * BATCH)

    async def _until_new_waits(self) -> None:
        for name in (*self._new_workers, "new-gateway"):
            await until(partial(self._says_that_it_waits, name), f"{name} to wait")
        async with self._http.get(f"http://127.0.0.1:{self._new_port}/health/ready") as answer:
            said = await answer.text()
            if answer.status != 503 or "release before 0.1.0" not in said:
                self._faults.append(f"the new gateway said {answer.status}: {said}")

    async def _end_old(self) -> dict[str, int]:
        """End the old processes, and return what they left open in the store."""
        self._is_ending = True
        if self._ending in POINTS:
            await self._until_at_point()
        else:
            await self._until_under_way()
        if self._must_wait:
            self._must_have_waited()
        self._claimed_before = sum(map(self._claims, self._new_workers))
        self._journal.write("killed", point=self._ending, process="old release")
        if self._ending == "stop":
            for process in self._old_processes:
                process.send(signal.SIGTERM)
            await asyncio.gather(
                *(asyncio.to_thread(process.stop) for process in self._old_processes)
            )
        else:
            for process in self._old_processes:
                process.send(signal.SIGKILL)
        self._ended_at, self._is_ending = time.monotonic(), False
        for process in self._old_processes:
            process.kill()
        stages = Counter(await self._stages())
        left = {name: stages[name] for name in ("queued", "claimed", "posting", "unknown")}
        if self._ending != "stop" and not (left["queued"] and left["claimed"] + left["posting"]):
            self._faults.append(f"nothing was under way when the old release was killed: {left}")
        return left

    async def _until_at_point(self) -> None:
        """Kill an old process and start it again, so that it stops itself at the point."""
        is_gateway = self._ending.startswith("callback")
        process = self._processes["old-gateway" if is_gateway else "old-worker-0"]
        self._killed(process, "to_arm")
        # A claim is one line for many messages.
        most = 3 if self._ending == "after_claim" else 40
        process.stopping_at = (self._ending, self._chance.randint(1, most))
        process.start()
        if is_gateway:
            # Connections that stay open would never come back to a gateway that started again.
            self._balancer.lead_to(self._old_port)
        await until(lambda: process.is_frozen, f"{process.name} to reach its point")

    async def _until_under_way(self) -> None:
        """Wait until attempts are open and lanes half taken, so that both are left behind."""

        def is_under_way(stages: list[str]) -> bool:
            return stages.count("posting") >= 5 and "queued" in stages

        await until(self._stages, "open attempts and half-taken lanes", holds=is_under_way)

    async def _until_new_works(self) -> float:
        """Return how many seconds after the end of the old release a new worker claimed."""
        await until(
            lambda: sum(map(self._claims, self._new_workers)) > self._claimed_before,
            "a new worker to claim",
        )
        seconds = time.monotonic() - self._ended_at
        if seconds > _MAX_HANDOVER_SECONDS:
            self._faults.append(f"the new release began {seconds:.0f} s after the old one ended")
        await self._until_new_is_ready()
        return seconds

    async def _until_new_is_ready(self) -> None:
        url = f"http://127.0.0.1:{self._new_port}/health/ready"
        await until(
            partial(self._answer_of, url), "the new gateway", holds=lambda code: code == 200
        )

    def _says_that_it_waits(self, name: str) -> bool:
        return "waits_for_other_release" in self._log(name)

    def _must_have_waited(self) -> None:
        """Record a fault unless each new process only started, and said once that it waits."""
        for name in (*self._new_workers, "new-gateway"):
            if (events := self._journaled(name)) != Counter(started=1):
                self._faults.append(f"{name} worked next to the old release: {dict(events)}")
            if (many := self._log(name).count("waits_for_other_release")) != 1:
                self._faults.append(f"{name} said {many} times that it waits")

    # -- the old library -----------------------------------------------------------------------

    async def _ask(self, *words: object) -> Any:
        """Give the old library a command, and return its answer."""
        library = self._library
        assert library is not None
        assert library.stdin is not None
        assert library.stdout is not None
        library.stdin.write(" ".join(map(str, words)) + "\n")
        library.stdin.flush()
        line = await asyncio.to_thread(library.stdout.readline)
        if not line:
            raise RuntimeError(f"the old library ended with {library.wait()}")
        return json.loads(line)

    async def _feed(self) -> None:
        """Enqueue, cancel and stop at a steady pace, whatever happens to the service."""
        while self._is_feeding:
            first = self.accepted
            count = BURST if self._is_ending else BATCH
            for message_id, at in await self._ask("enqueue", first, count):
                made = SendMessage(**fields(self.seed, int(message_id[1:]), PEOPLE))
                receipt = Receipt(message_id, False, datetime.fromisoformat(at))
                person = self._store.people.digest(made.to)
                write_accepted(self._journal, made, self._settings, person, receipt)
            self.accepted += count
            if self._chance.random() < 0.3:
                await self._ask("cancel", f"m{first + self._chance.randrange(count)}")
            if self._chance.random() < 0.1:
                self._in_background(self._person_stops())
            await asyncio.sleep(PACE_SECONDS)

    async def _person_stops(self) -> None:
        """Write STOP, also while no gateway listens: the next one finds it in Twilio's list."""
        person = whatsapp(self._chance.randrange(PEOPLE))
        await self._post("say", {"from": person, "to": SHOP, "body": "STOP"})

    async def _ask_the_old_library(self) -> int:
        """Compare what the old library says of messages with their rows. Returns how many."""
        stages = await self._stages()
        numbers = range(0, self.accepted, 29)
        for number in numbers:
            said = await self._ask("status", f"m{number}")
            if said != stages[number]:
                self._faults.append(f"the old library calls m{number} {said}, not {stages[number]}")
        return len(numbers)

    # -- watching ------------------------------------------------------------------------------

    async def _until_accepted(self, many: int) -> None:
        await until(lambda: self.accepted >= many, f"{many} messages to be accepted")

    async def _stages(self) -> list[str]:
        """Return the stage of each message in the store, by number."""
        keys = Keys("p0")
        async with Redis.from_url(self._url, decode_responses=True) as redis:
            pipeline = redis.pipeline(transaction=False)
            for number in range(self.accepted):
                pipeline.hget(keys.row(f"m{number}"), "s")
            return [stage or "none" for stage in await pipeline.execute()]

    def _log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def _journaled(self, name: str) -> Counter[str]:
        """Return how often each event is in the journal of a process."""
        return Counter(line["e"] for line in read([self._journals / f"{name}.jsonl"]).lines)

    def _claims(self, name: str) -> int:
        return self._journaled(name)["claimed"]

    def _turned_away(self) -> int:
        """Return how many requests the new gateway answered with 503 while it waited."""
        return self._log("new-gateway").count("request_failed")


def _main() -> None:
    """Run the rounds and print what became of each. The exit code is 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.upgrade", description=__doc__)
    parser.add_argument("--from", dest="revision", default=OLD, help="the old revision")
    parser.add_argument("--rounds", type=int, default=len(ENDINGS))
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--old", type=Path, help="keep the old checkout there, and use it again")
    parser.add_argument("--folder", type=Path, help="keep journals and logs there")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="upgrade-"))
    outcomes: list[Outcome] = []
    with old_release(options.revision, options.old) as old:
        for number in range(options.first, options.first + options.rounds):
            place = folder / f"round-{number}"
            place.mkdir(parents=True)
            ending = ENDINGS[number % len(ENDINGS)]
            outcomes.append(asyncio.run(UpgradeRound(place, number, ending, old).upgrade()))
            _print(outcomes[-1])
    sys.exit(0 if all(one.ok for one in outcomes) else 1)


def _print(outcome: Outcome) -> None:
    console, counts = Console(width=160), outcome.report.counts
    console.print(
        f"round {outcome.seed} ({outcome.ending}): {counts.messages} messages, "
        f"{counts.posts} POSTs; left behind {outcome.left}; "
        f"new release after {outcome.handover_seconds:.1f} s; "
        f"{outcome.turned_away} requests turned away; "
        f"old library asked about {outcome.statuses_checked} messages; "
        f"ends {dict(counts.ends)}, open {dict(counts.open)}, unknown {counts.unknown}; "
        f"lost {counts.lost}, twice {counts.duplicates}; {outcome.seconds:.0f} s",
        highlight=False,
    )
    for fault in outcome.faults:
        console.print(f"  FAULT {fault}", highlight=False)
    if not outcome.report.ok:
        render(outcome.report, console)


if __name__ == "__main__":
    _main()
