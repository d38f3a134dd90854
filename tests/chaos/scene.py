"""A sandbox, a gateway and workers around a store that a test harms; `verify` judges their
journals.

Sandbox and gateway serve real sockets in the test's loop. Workers run there too, where their
readiness can be seen, or as processes that can be killed and frozen.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog
from redis.exceptions import RedisError
from rich.console import Console

from policies.ruleset import Ruleset
from sandbox.app import say
from sandbox.faults import Action, FaultRule
from sandbox.state import Sandbox
from sendwindow.contract import SendMessage, Template
from sendwindow.keys import Keys
from sendwindow.producer import Producer
from sendwindow.results import Receipt
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import OnUnknown, Purpose
from tests.chaos.processes import Process
from tests.chaos.settings import PERSON_KEY
from tests.support.cast import SHOP, whatsapp
from tests.support.no_metrics import NoMetrics
from tests.support.waiting import no_hang, until
from verify.judge import verify
from verify.judge_context import Options
from verify.report import Report, render
from worker.cli.journal_option import write_accepted, write_consent
from worker.pipeline.dispatcher import Dispatcher
from worker.pipeline.recorder import Observers
from worker.ports.people import ConsentEntry
from worker.settings.settings import Settings
from worker.stores.ledger import WORKER_TUNING, Tuning
from worker.stores.store import Store
from worker.telemetry.journal import Journal
from worker.twilio.client import TwilioClient

IMPATIENT: Final = Tuning(budget=timedelta(milliseconds=200))
"""A call gives up soon, so that a short outage shows. The store retry still goes on forever."""

_OPEN: Final = frozenset({"queued", "claimed", "posting", "waiting", "retrying", "unknown"})


def measured(text: str) -> None:
    """Report a number without an assertion; `pytest -rP` or `-s` shows it."""
    Console(soft_wrap=True).print(text, highlight=False, markup=False)


async def seconds_until(
    holds: Callable[[], object], what: str, seen: Callable[[], object] | None = None
) -> float:
    """Wait until a condition holds, and return the seconds it took."""
    began = time.monotonic()
    await until(holds, what, seen=seen)
    return time.monotonic() - began


class Watch(NoMetrics):
    """Records which parts failed, and how often."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def failing(self, part: str) -> None:
        self.parts.append(part)


@dataclass
class Scene:
    """Everything around one partition. Through `url` the gateway and the tests reach the store."""

    folder: Path
    url: str
    durability: str
    config: Path
    settings: Settings
    rules: Ruleset
    environ: Mapping[str, str]
    tuning: Tuning = IMPATIENT
    watch: Watch = field(default_factory=Watch)
    sent: list[str] = field(default_factory=list)
    store: Store = field(init=False)
    sandbox: Sandbox = field(init=False)
    sandbox_url: str = field(init=False)
    producer: Producer = field(init=False)
    journal: Journal = field(init=False)
    made: dict[str, SendMessage] = field(default_factory=dict)

    @property
    def journals(self) -> Path:
        return self.folder / "journals"

    # -- workers -------------------------------------------------------------------------------

    async def open_store(
        self, url: str | None = None, name: str = "scene", tuning: Tuning | None = None
    ) -> Store:
        """Open the partition; the caller closes it."""
        return await Store.connect(
            url or self.url,
            person_key=PERSON_KEY.encode(),
            durability=self.durability,
            worker_id=name,
            lease=timedelta(seconds=self.settings.dispatch.lease_seconds),
            profile="sandbox",
            tuning=tuning or self.tuning,
        )

    @asynccontextmanager
    async def worker(
        self, url: str | None = None, name: str = "worker"
    ) -> AsyncIterator[Dispatcher]:
        """Run a worker in this loop.

        It has claimed once when the block begins, and must not end inside it.
        """
        journal = Journal(self.journals / f"{name}.jsonl", name)
        store = await self.open_store(url, name, WORKER_TUNING)
        dispatch = self.settings.dispatch
        client = TwilioClient(
            self.settings.accounts,
            slots=dispatch.slots,
            connect_timeout=dispatch.connect_timeout,
            read_timeout=dispatch.read_timeout,
        )
        async with client:
            dispatcher = Dispatcher(
                self.settings,
                self.rules,
                store,
                client,
                store_url=url or self.url,
                observers=Observers(journal, self.watch, structlog.get_logger().bind()),
            )
            running_worker = asyncio.create_task(dispatcher.run())
            try:
                await self.until_ready(dispatcher)
                yield dispatcher
                assert not running_worker.done(), "the worker ended by itself"
            finally:
                async with no_hang("the worker to stop", lambda: dispatcher.failing):
                    await dispatcher.stop(5)
                    await running_worker
                await store.close()
                journal.close()

    def process(self, name: str, url: str | None = None) -> Process:
        """Make a worker as a process of its own, not started. `url` overrides the store's."""
        arguments = [
            "run",
            "--config",
            str(self.config),
            "--journal",
            str(self.journals / f"{name}.jsonl"),
        ]
        return Process(
            name,
            arguments,
            self.folder,
            {**self.environ, **({"SENDWINDOW_STORE_URL": url} if url else {})},
        )

    # -- messages ------------------------------------------------------------------------------

    async def meet(self, people: int) -> None:
        """Record consent of so many persons, none of whom has written."""
        entry = ConsentEntry(
            granted=True, account="main", purpose=None, sender=None, source="chaos"
        )
        for number in range(people):
            asked_at = self.journal.now()
            await self.store.people.record_consent(whatsapp(number), entry)
            write_consent(self.journal, entry, self.store.people.digest(whatsapp(number)), asked_at)

    def message(
        self, number: int, *, people: int = 10, rule: OnUnknown = OnUnknown.HOLD
    ) -> SendMessage:
        """Make the message of a number. It is a template, because no window is open."""
        message = SendMessage(
            to=whatsapp(number % people),
            sender="shop",
            purpose=Purpose.UTILITY,
            message_id=f"m{number}",
            template=Template(name="order_update", language="en", variables={"1": "4711"}),
            on_unknown=rule,
        )
        self.made[message.message_id] = message
        return message

    async def send(
        self,
        count: int,
        *,
        people: int = 10,
        rule: OnUnknown = OnUnknown.HOLD,
        producer: Producer | None = None,
    ) -> list[str]:
        """Queue messages and record that they were accepted. Raises what the producer raises."""
        messages = [
            self.message(len(self.sent) + number, people=people, rule=rule)
            for number in range(count)
        ]
        await (producer or self.producer).send_many(messages)
        return [self.accepted(message.message_id) for message in messages]

    def accepted(self, message_id: str) -> str:
        """Record that an enqueue returned."""
        message, now = self.made[message_id], from_ms(self.sandbox.outbox.now_ms())
        person = self.store.people.digest(message.to)
        write_accepted(
            self.journal, message, self.settings, person, Receipt(message_id, False, now)
        )
        self.sent.append(message_id)
        return message_id

    async def say(self, person: int, body: str) -> int | None:
        """Write as a person, and return the gateway's status code."""
        http = (await say(self.sandbox_url, whatsapp(person), SHOP, body)).get("http")
        return http if isinstance(http, int) else None

    def fault(self, action: str, **rule: Any) -> None:
        """Make the sandbox misbehave from now on."""
        self.sandbox.faults.add(FaultRule(action=Action(action), **rule))

    def claims(self, name: str) -> int:
        """Return how many messages a worker has claimed so far."""
        path = self.journals / f"{name}.jsonl"
        return sum(line["e"] == "claimed" for line in _lines(path)) if path.exists() else 0

    async def pass_time(self, period: timedelta) -> None:
        """Advance the clock of store and sandbox."""
        self.sandbox.outbox.offset_ms += int(period / timedelta(milliseconds=1))
        await self.store.set_offset(timedelta(milliseconds=self.sandbox.outbox.offset_ms))

    def posts(self) -> list[dict[str, Any]]:
        """Return the POSTs that the sandbox got so far."""
        return [line for line in _lines(self.journals / "sandbox.jsonl") if line["e"] == "post"]

    async def stages(self, ids: Sequence[str] | None = None) -> dict[str, str]:
        """Return the stage of each message in the store. Raises redis-py's errors."""
        wanted = self.sent if ids is None else list(ids)
        pipeline = self.store._calls.redis.pipeline(transaction=False)
        for name in wanted:
            pipeline.hget(Keys("p0").row(name), "s")
        found = await pipeline.execute()
        return {
            name: stage.decode() if stage else "none"
            for name, stage in zip(wanted, found, strict=True)
        }

    async def until_posted(self, count: int) -> None:
        """Wait until the sandbox has had so many POSTs."""
        await until(
            lambda: len(self.posts()),
            f"{count} POSTs",
            holds=lambda found: found >= count,
            poll=0.1,
        )

    async def until_ready(self, worker: Dispatcher, *, ready: bool = True) -> float:
        """Wait until a worker is ready, or is not, and return the seconds it took."""
        return await seconds_until(
            lambda: worker.ready is ready,
            f"the worker to be {'ready' if ready else 'not ready'}",
            lambda: worker.failing,
        )

    async def come_to_rest(self) -> None:
        """Wait until every message has an end or waits for an operator, and let time pass for
        unknown ones.
        """

        async def left_open() -> Mapping[str, str]:
            found = _open(await self.stages())
            if set(found.values()) == {"unknown"}:
                await self.pass_time(timedelta(minutes=2))
            return found

        await until(
            left_open,
            "every message to end",
            holds=lambda found: not found,
            while_it_moves=True,
            poll=0.2,
        )

    async def until_stage(self, message_id: str, stage: str) -> None:
        """Wait until a message is in a stage."""
        await until(
            lambda: self.stages([message_id]),
            f"{message_id} to be {stage}",
            holds=lambda found: found[message_id] == stage,
        )

    async def until_ended(self, ids: Sequence[str] | None = None) -> float:
        """Wait until every message has an end or waits for an operator.

        Returns the seconds it took.
        """

        async def left_open() -> Mapping[str, str]:
            try:
                return _open(await self.stages(ids))
            except (RedisError, OSError) as error:
                return {"store": type(error).__name__}

        began = time.monotonic()
        await until(
            left_open, "every message to end", holds=lambda found: not found, while_it_moves=True
        )
        return time.monotonic() - began

    # -- judgement -----------------------------------------------------------------------------

    async def judge(self, *, unposted: bool = False, **options: Any) -> Report:
        """Let callbacks arrive, journal the store's stages, and have `verify` judge.

        Fails when a promise is broken. `unposted`: no POST was made, so nothing proves P1 and P3.
        """
        report = await self.verdict(**options)
        if not report.ok:
            render(report, Console())
        assert report.ok, f"verify found promises broken; journals in {self.journals}"
        assert not report.not_judged
        assert ({"P1", "P3"} if unposted else set()) == {"P1", "P2", "P3"} & set(report.unchecked)
        return report

    async def verdict(self, **options: Any) -> Report:
        """Judge without failing."""
        async with no_hang("every callback to arrive"):
            await self.sandbox.callbacks.drained()
        for name, stage in (await self.stages()).items():
            if stage != "none":
                self.journal.write("found", id=name, stage=stage, attempt=None)
        settled = Options(open_allowed=frozenset({"unresolved"}), **options)
        return verify(sorted(self.journals.glob("*.jsonl")), settled)


def _open(stages: Mapping[str, str]) -> Mapping[str, str]:
    return {name: stage for name, stage in stages.items() if stage in _OPEN}


def _lines(path: Path) -> list[dict[str, Any]]:
    # A line may still be on its way to the file.
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]
