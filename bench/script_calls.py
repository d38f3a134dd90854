"""The calls that `bench.script_times` measures: each script as a worker or a gateway calls it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from policies.decision import SeenRevisions, Trace, Verdict
from policies.status import describe
from sendwindow.codec import encode_job
from sendwindow.connect import connect, disconnect
from sendwindow.contract import Freeform, SendMessage, Template
from sendwindow.keys import ARQ_JOB
from sendwindow.protocol import CANCEL, ENQUEUE, row_arguments
from sendwindow.scripts import Argument
from sendwindow.vocabulary import Purpose, Reason, Stage
from worker.ports.admissions import AdmitRequest
from worker.ports.claims import ClaimedMessage, Suspects
from worker.ports.people import ConsentEntry, Inbound
from worker.ports.processes import ProcessReport
from worker.ports.settlements import (
    Result,
    SettleAccepted,
    SettleAgain,
    SettleEnd,
    Settlement,
    SettleUnknown,
)
from worker.ports.statuses import StatusUpdate
from worker.ports.unknowns import Resolution, SettleUnresolved
from worker.stores.script_runner import ScriptRunner
from worker.stores.store import Store

KEY: Final = b"a person key of the bench"
SENDER: Final = "shop"
ACCOUNT: Final = "main"
CONTENT: Final = "HX" + "5" * 32
FAR: Final = datetime(2099, 1, 1, tzinfo=UTC)
PAST: Final = datetime(2001, 1, 1, tzinfo=UTC)
LOOK_AT_ONCE: Final = SettleUnknown(Reason.OUTCOME_TIMEOUT, "read timeout", look_after_ms=0)
TRACE: Final = Trace(
    "2026-11",
    PAST,
    tuple(
        Verdict(rule, "pass", detail)
        for rule, detail in (
            ("expiry", ""),
            ("allow_list", ""),
            ("sender", "shop on whatsapp"),
            ("address", ""),
            ("suppression", ""),
            ("blocks", ""),
            ("consent", "utility granted 2026-11-02"),
            ("suspected_stop", ""),
            ("pauses", ""),
            ("cap", "1 of 5"),
            ("window", "open until 2026-12-02 09:00"),
            ("content", "freeform"),
        )
    ),
)


class Calls:
    """Runs every call once for `size` messages."""

    def __init__(
        self, url: str, store: Store, runner: ScriptRunner, size: int, number: int
    ) -> None:
        self._url = url
        self._store = store
        self._runner = runner
        self._size = size
        self._name = f"{size}-{number}"
        area, first = 212 + number, 99 if size == 1 else 0
        self._people = [f"whatsapp:+1{area}55501{first + at:02}" for at in range(size)]

    async def run(self) -> None:
        """Run all calls, in the order of a message's life."""
        await self._know_people()
        await self._accept()
        await self._try_again()
        await self._look_for_unknown()
        await self._refuse()
        await self._cancel()
        await self._adopt()
        await self._administrate()

    async def _enqueue(self, word: str) -> list[str]:
        ids = [f"{self._name}-{word}-{at}" for at in range(self._size)]
        arguments: list[Argument] = [0]
        for message_id, to in zip(ids, self._people, strict=True):
            message = SendMessage(
                to=to,
                sender=SENDER,
                purpose=Purpose.UTILITY,
                freeform=Freeform(body="Your order 4711 has left."),
                template=Template(name="order_update", variables={"1": "4711"}),
                message_id=message_id,
            )
            arguments += row_arguments(message, encode_job(message, 0))
        await self._runner.run(ENQUEUE, arguments)
        return ids

    async def _claim(self) -> tuple[ClaimedMessage, ...]:
        return (await self._store.ledger.claim(self._size, Suspects.LAST)).claimed

    async def _admit(self, claimed: Sequence[ClaimedMessage]) -> None:
        await self._store.ledger.admit(
            [
                AdmitRequest(
                    message_id=one.message_id,
                    fence=one.fence,
                    attempt=one.attempts + 1,
                    person_digest=one.facts.person_digest,
                    sender=SENDER,
                    account=ACCOUNT,
                    template=None,
                    seen=SeenRevisions(
                        one.facts.person.revision,
                        one.facts.sender.revision,
                        one.facts.account.revision,
                    ),
                    valid_until=FAR,
                    reason=Reason.WINDOW_OPEN,
                    trace=TRACE,
                    other_digests=one.facts.other_digests,
                    person_cap=5,
                    listing="a digest of the list",
                )
                for one in claimed
            ]
        )

    async def _settle(
        self, claimed: Sequence[ClaimedMessage], results: Sequence[Result], attempts: int = 1
    ) -> None:
        await self._store.ledger.settle(
            [
                Settlement(
                    message_id=one.message_id,
                    fence=one.fence,
                    attempt=one.attempts + attempts,
                    result=result,
                    person_digest=one.facts.person_digest,
                    sender=SENDER,
                    account=ACCOUNT,
                    posted=bool(attempts),
                    trace=None if attempts else TRACE,
                )
                for one, result in zip(claimed, results, strict=True)
            ]
        )

    async def _know_people(self) -> None:
        people = self._store.people
        for address in self._people:
            await people.record_consent(
                address, ConsentEntry(True, ACCOUNT, "utility", None, "form", "Send me news.")
            )
        now = await self._store.now()
        await people.apply_inbound(
            [
                Inbound(f"SMin-{self._name}-{at}", SENDER, ACCOUNT, address, None, received_at=now)
                for at, address in enumerate(self._people)
            ]
        )
        await people.facts(self._people[0], SENDER, ACCOUNT, CONTENT)
        await people.consents(self._people[0])
        await people.permits_left_ms(people.digest(self._people[0]))

    async def _accept(self) -> None:
        ids = await self._enqueue("accept")
        claimed = await self._claim()
        await self._store.ledger.renew([(one.message_id, one.fence) for one in claimed])
        await self._admit(claimed)
        await self._settle(
            claimed, [SettleAccepted(f"SM-{message_id}", "queued") for message_id in ids]
        )
        for status in ("sent", "delivered"):
            described = describe(status)
            await self._store.statuses.apply(
                [
                    StatusUpdate(
                        message_sid=f"SM-{message_id}",
                        status=status,
                        rank=described.rank,
                        is_final=status == "delivered",
                        is_failure=False,
                        code=None,
                        message_id=message_id,
                        attempt=1,
                    )
                    for message_id in ids
                ]
            )

    async def _try_again(self) -> None:
        await self._enqueue("again")
        claimed = await self._claim()
        await self._store.ledger.release([(one.message_id, one.fence) for one in claimed])
        claimed = await self._claim()
        await self._admit(claimed)
        await self._settle(claimed, [SettleAgain(Stage.RETRYING, Reason.THROTTLED)] * self._size)
        claimed = await self._claim()
        await self._settle(
            claimed, [SettleEnd(Stage.REFUSED, Reason.NO_CONSENT)] * self._size, attempts=0
        )

    async def _look_for_unknown(self) -> None:
        ids = await self._enqueue("unknown")
        claimed = await self._claim()
        await self._admit(claimed)
        await self._settle(claimed, [LOOK_AT_ONCE] * self._size)
        unknowns = self._store.unknowns
        await unknowns.due(self._size, 60_000)
        await unknowns.give_back(ids)
        await unknowns.due(self._size, 60_000)
        await unknowns.rivals(claimed[0].facts.person_digest, ids[0], PAST)
        await unknowns.resolve(
            [Resolution(each, 1, SettleUnresolved(Reason.HELD_BY_RULE, "held")) for each in ids]
        )
        await unknowns.resolve(
            [Resolution(each, 1, SettleEnd(Stage.FAILED, Reason.EVIDENCE_PERSON)) for each in ids]
        )
        await unknowns.missing(self._size, 0, 60_000)

    async def _refuse(self) -> None:
        ids = await self._enqueue("dead")
        claimed = await self._claim()
        dead = SettleEnd(Stage.DEAD, Reason.RETRIES_EXHAUSTED, code=30500)
        await self._settle(claimed, [dead] * self._size, attempts=0)
        await self._store.records.replay(ids, await self._store.now() + timedelta(hours=1))
        claimed = await self._claim()
        await self._settle(claimed, [dead] * self._size, attempts=0)
        await self._store.records.drop(ids)

    async def _cancel(self) -> None:
        ids = await self._enqueue("cancel")
        await self._runner.run(CANCEL, ids)
        if hasattr(self._store.ledger, "end_cancelled"):
            # An older checkout has no such script: there the cancel itself ends the messages.
            await self._store.ledger.end_cancelled(self._size)

    async def _adopt(self) -> None:
        keys, redis = self._runner.keys, self._runner.redis
        for at, to in enumerate(self._people):
            whole = keys.job_id(f"{self._name}-arq-{at}")
            job = (
                f'{{"t":null,"f":"send_message","a":[{{"to":"{to}","sender":"shop",'
                f'"purpose":"utility","freeform":{{"body":"hello"}}}}],"k":{{}},"et":1}}'
            )
            await redis.set(f"{ARQ_JOB}{whole}", job if at or self._size == 1 else "no job")
            await redis.zadd(keys.ingress, {whole: 1})
        await self._store.ledger.adopt(self._size)
        await self._runner.run(CANCEL, [f"{self._name}-arq-{at}" for at in range(self._size)])

    async def _administrate(self) -> None:
        store = self._store
        await store.ledger.reap(10)
        await store.processes.report(
            ProcessReport("worker", {"dispatch": "a digest"}, release="0.1.0", is_working=True)
        )
        await store.listening.hear(ACCOUNT)
        await store.records.probe()
        await store.publish_pressure()
        await store.register_senders({SENDER: ACCOUNT}, {("order_update", ""): CONTENT})
        await store.switches.pause("sender", "other", timedelta(minutes=1), "a test")
        await store.switches.resume("sender", "other")
        await store.switches.states([("sender", SENDER), ("account", ACCOUNT)])
        await store.people.apply_inbound(
            [Inbound(f"SMsus-{self._name}", SENDER, ACCOUNT, self._people[0], "suspected")]
        )
        stops = [stop async for stop in store.people.suspected()]
        await store.people.decide_suspected(stops, "dismiss", [SENDER])
        await store.people.allow(self._people[0])
        await store.names.remember({ACCOUNT: "AC1"}, {SENDER: (ACCOUNT, "whatsapp:+14155550100")})
        await (await _open(self._url)).close()
        await store.held.decide("discard", SENDER, 1)


async def _open(url: str) -> Store:
    return await Store.connect(
        url, person_key=KEY, worker_id="bench", profile="sandbox", lease=timedelta(seconds=15)
    )


async def run_calls(
    url: str, set_size: Callable[[int], None], batch: int, turns: Iterable[int]
) -> None:
    """Run all calls with one message a call and with `batch`, once for each number in `turns`."""
    store = await _open(url)
    runner = ScriptRunner(connect(url), store.keys)
    try:
        await store.register_senders({SENDER: ACCOUNT}, {("order_update", ""): CONTENT})
        for number in turns:
            for size in (1, batch):
                set_size(size)
                # Redis collects Lua's garbage after every fiftieth call. These calls shift which
                # one that is.
                for _ in range(number * 17 % 50):
                    await store.now()
                await Calls(url, store, runner, size, number).run()
    finally:
        await store.close()
        await disconnect(runner.redis)
