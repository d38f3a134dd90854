"""Every call may be repeated after a lost reply.

Each script runs twice, and a proxy cuts each reply.
"""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sendwindow.keys import ARQ_JOB
from sendwindow.scripts import Argument, Script
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    DEAD,
    LATER,
    PAST,
    REFUSED,
    SENDER,
    UNKNOWN,
    WAITS,
    Place,
    World,
    accepted,
    opened,
)
from worker.ports.claims import CRASHES_IN_COMPANY, Suspects
from worker.ports.effects import CloseWindow, OptOut, PauseSender, SetTag, SuppressAddress
from worker.ports.people import ConsentEntry
from worker.ports.settlements import SettleAccepted, SettleAgain
from worker.ports.unknowns import Resolution, SettleUnresolved
from worker.stores import script_runner
from worker.stores.script_runner import ScriptRunner

pytestmark = pytest.mark.asyncio

RENEWING = {"renew"}
"""Scripts that move a lease on when they are repeated, as is their purpose."""

PLAIN_JOB = (
    b'{"t":null,"f":"send_message","a":[{"to":"+14155550125","sender":"shop","purpose":"utility",'
    b'"freeform":{"body":"hello"}}],"k":{},"et":1}'
)

TAKING = {"unknowns", "missing", "breakers"}
"""Scripts that return each item once in a while: a repetition returns fewer and loses nothing."""


def _timeless(answer: Any) -> Any:
    """Return a reply without its instants: two calls differ in thirteen digits."""
    if isinstance(answer, list):
        return [_timeless(one) for one in answer]
    digits = answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
    return "instant" if digits.isdecimal() and len(digits) == 13 else answer


@dataclass
class Twice:
    """Makes every script call twice and compares the replies."""

    names: set[str]
    place: World | None = None

    def around(self, run: Callable[..., Any]) -> Callable[..., Any]:
        async def twice(calls: ScriptRunner, script: Script, args: Sequence[Argument]) -> Any:
            first = await run(calls, script, args)
            if self.place is None or script.name in TAKING:
                return first
            before = await self.place.contents()
            again = await run(calls, script, args)
            after = await self.place.contents()
            if script.name not in RENEWING:
                changed = [
                    name
                    for name in before.keys() | after.keys()
                    if before.get(name) != after.get(name)
                ]
                assert changed == [] or changed == [calls.keys.wake.encode()], (
                    script.name,
                    changed,
                )
            if script.name not in {"enqueue", "adopt", "release", "switches", "senders", "sweep"}:
                assert _timeless(again) == _timeless(first), script.name
            self.names.add(script.name)
            return first

        return twice


async def _adopted(world: World) -> None:
    """Adopt a plain arq job that is due tomorrow, and one that is unreadable."""
    for job_id, job in (("arq-1", PLAIN_JOB), ("arq-2", b"no json")):
        whole = world.keys.job_id(job_id)
        await world.calls.ask("SET", f"{ARQ_JOB}{whole}", job)
        await world.calls.ask("ZADD", world.keys.ingress, 86_400_000, whole)
    assert (await world.store.ledger.adopt(10)).taken == 2
    assert (await world.row("arq-1"))["s"] == "queued"
    assert (await world.row("arq-2"))["s"] == "dead"
    assert await world.cancel("arq-1") == "cancelled"


async def _suspected(world: World, message_id: str) -> None:
    """Let the first message of a lane crash two workers, set it apart, claim it, and release it."""
    for _ in range(CRASHES_IN_COMPANY):
        held = await world.claim(10)
        await world.store.ledger.release(
            [(one.message_id, one.fence) for one in held if one.message_id != message_id]
        )
        await world.later(seconds=20)
        await world.store.ledger.reap(10)
    others = await world.claim(10, Suspects.NEVER)
    (suspect,) = await world.claim(10)
    assert (suspect.message_id, suspect.crashes) == (message_id, CRASHES_IN_COMPANY)
    await world.store.ledger.release([(one.message_id, one.fence) for one in (*others, suspect)])


async def _is_asked_about(world: World, digest: str) -> None:
    """Let Anna write what may mean stop.

    An operator dismisses it and allows what errors held back.
    """
    await world.writes("SM92", keyword="suspected")
    stops = [stop async for stop in world.store.people.suspected()]
    await world.store.people.decide_suspected(stops, "dismiss", ["shop"])
    await world.store.people.record_consent(
        ANNA, ConsentEntry(True, ACCOUNT, "utility", None, "form")
    )
    await world.store.people.facts(ANNA, "shop", ACCOUNT, None)
    await world.store.people.consents(ANNA)
    await world.store.people.permits_left_ms(digest)
    await world.store.people.allow(ANNA)
    await world.store.held.decide("discard", "shop", 1)


async def _restored(world: World) -> None:
    """Retry a message as an operator, then search and release after a restore.

    The store turns out to be a copy, so every open message is searched for and one goes back.
    """
    restored, records = world.store.restored, world.store.records
    assert await records.may_retry(["refused"]) == ["may_go"]
    assert await records.retry(["refused"], await world.store.now()) == ["retried"]
    await restored.begin(PAST)
    # The number that moved is not compared: a step repeated after a lost reply moves none.
    async for _ in restored.sweep({"shop": "list"}):
        pass
    await restored.end()
    n = int((await world.row("m1"))["n"])
    [stage] = await world.store.unknowns.resolve(
        [Resolution("m1", n, SettleAgain(Stage.QUEUED, Reason.NOT_SENT))]
    )
    assert stage is Stage.QUEUED


async def _rare_work(world: World) -> None:
    names = world.store.names
    assert await names.remember({ACCOUNT: "AC1"}, {"third": (ACCOUNT, ANNA)}) == []
    await world.calls.ask("HINCRBY", world.keys.queued, SENDER, 5)
    assert await world.store.recount_queued({SENDER: 1}) == 1
    await world.calls.ask("ZADD", world.keys.campaign_sweeps, 1, f"{SENDER}|spring")
    assert not await world.store.ledger.end_campaigns(10)


async def _life(world: World) -> dict[str, str]:
    """Run a history that uses every script, and return the stage in which each message ends."""
    store = world.store
    await world.settle(await world.post("refused"), REFUSED)
    for number in range(8):
        await world.enqueue(f"m{number}", template="order_update")
    await store.register_senders({"third": ACCOUNT})
    await _rare_work(world)
    await _adopted(world)
    held = {claimed.message_id: claimed for claimed in await world.claim(8)}
    await store.ledger.renew([("m0", held["m0"].fence)])
    await store.ledger.release([("m7", held["m7"].fence)])
    for number in range(6):
        await world.admit(held[f"m{number}"])
    await world.cancel("m6")
    await world.admit(held["m6"])
    await world.settle(held["m0"], accepted("SM0"), effects=(PauseSender(1, "x"),))
    await world.settle(held["m1"], AT_ONCE)
    await world.settle(held["m2"], UNKNOWN)
    await world.settle(held["m3"], DEAD)
    await world.settle(held["m4"], WAITS)
    await world.settle(held["m6"], LATER, attempt=0, posted=False)
    await world.callback("sent", "SM0", message_id="m0")
    await world.callback("failed", "SM0", message_id="m0", reopen_after_ms=3_600_000)
    await world.callback("sent", "SM-lost", message_id=None, attempt=None)
    await world.callback("sent", "SM5", message_id="m5")
    await world.later(seconds=20)
    await store.ledger.reap(10)
    await _suspected(world, "m7")
    await world.writes("SM90", keyword="stop")
    await world.writes("SM91", keyword="start")
    await _is_asked_about(world, held["m0"].facts.person_digest)
    await store.unknowns.give_back([one.message_id for one in await store.unknowns.due(10, 1000)])
    await store.unknowns.rivals(held["m0"].facts.person_digest, "m0", PAST)
    await store.unknowns.resolve(
        [Resolution("m2", 1, SettleUnresolved(Reason.HELD_BY_RULE, "held"))]
    )
    await store.unknowns.resolve(
        [Resolution("m2", 1, SettleAgain(Stage.QUEUED, Reason.EVIDENCE_PERSON))]
    )
    await store.unknowns.missing(10, 0, 1000)
    await store.unknowns.still_missing(["m1", "m5"])
    await store.records.replay(["m3"], await store.now())
    await store.switches.reset("tag_state", "shop")
    await store.switches.states([("tag_state", "shop")])
    ends = {f"m{number}": (await world.row(f"m{number}"))["s"] for number in range(8)}
    await _restored(world)
    return ends


EXPECTED = {
    "m0": "retrying",
    "m1": "queued",
    "m2": "queued",
    "m3": "queued",
    "m4": "waiting",
    "m5": "accepted",
    "m6": "cancelled",
    "m7": "queued",
}


async def _proofs(world: World) -> dict[str, str]:
    """Report two attempts of m1, its copies and too many SIDs, and return what its row says
    then.
    """
    stop = OptOut(sender_only=False, evidence="21610")
    effects = (stop, CloseWindow(), SuppressAddress(60, "x"), SetTag("dead", "x"))
    await world.enqueue(on_unknown=OnUnknown.RESEND)
    first = await world.claim_one()
    await world.admit(first, relies_on_tag=True)
    await world.reap()
    await world.send_again()
    second = await world.claim_one()
    await world.admit(second, relies_on_tag=False)
    await world.callback("failed", "SMlost", message_id=None, attempt=None, effects=effects)
    await world.callback("sent", "SMlost")
    await world.callback("queued", "SMtwo", attempt=2)
    await world.settle(first, SettleAccepted("SMone", "sending"), effects=effects)
    await world.settle(second, SettleAccepted("SMtwo", "sent"))
    for number in range(9):
        await world.callback("sent", f"SMx{number}", effects=(*effects, PauseSender(60, "x")))
    await world.callback("failed", "SMtwo", attempt=2, effects=effects, reopen_after_ms=0)
    await world.callback("delivered", "SMtwo", attempt=2)
    row = await world.row()
    return {name: row[name] for name in ("s", "sid", "st")}


PROVEN = {"s": "accepted", "sid": "SMtwo", "st": "delivered"}


async def test_every_proof_may_come_twice(store: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each proof may be repeated: late replies, copies, SIDs beyond the last kept, stops after
    the end.
    """
    twice = Twice(set())
    for name in ("run", "run_durably"):
        monkeypatch.setattr(ScriptRunner, name, twice.around(getattr(ScriptRunner, name)))
    async with opened(store) as world:
        twice.place = world
        assert await _proofs(world) == PROVEN
        assert await world.count("duplicates") == 11
        assert len(await world.store.people.consents(ANNA)) == 2
        twice.place = None


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat a call at once after its reply was lost, because the store has not gone away."""
    monkeypatch.setattr(script_runner, "_MAX_PAUSE_SECONDS", 0.0)


@pytest.mark.usefixtures("no_pause")
async def test_any_answer_about_a_proof_may_be_lost(store: Place) -> None:
    """If each reply about a proof is lost in turn, each SID and each stop still counts once."""
    async with _proxied(store) as (proxy, place):
        for cut in itertools.count(1, 2):
            partition = _Place(place.url, f"{store.partition}-{cut}")
            proxy.replies, proxy.cut_at = 0, cut
            async with opened(partition) as world:
                assert await _proofs(world) == PROVEN, cut
                assert await world.count("duplicates") == 11
                assert len(await world.store.people.consents(ANNA)) == 2
            if proxy.replies < cut:
                break


async def test_every_script_may_run_twice(store: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that runs twice in a row returns the same and changes nothing the second time."""
    twice = Twice(set())
    for name in ("run", "run_durably"):
        monkeypatch.setattr(ScriptRunner, name, twice.around(getattr(ScriptRunner, name)))
    async with opened(store) as world:
        twice.place = world
        assert await _life(world) == EXPECTED
        twice.place = None
    folder = Path(__file__).parents[3] / "worker" / "stores" / "lua"
    scripts = {path.stem for path in folder.glob("[a-z]*.lua")}
    # All but the first only record when they were called.
    assert scripts - twice.names - TAKING == {
        "listening",
        "opening",
        "pressure",
        "probe",
        "process",
    }


class CuttingProxy:
    """Drops the connection in place of one reply, after the store has done the work."""

    def __init__(self, target: str, path: str) -> None:
        self._target = target
        self.path = path
        self.replies = 0
        self.cut_at: int | None = None
        self.connections: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_unix_connection(self._target)
        there = asyncio.create_task(self._pass_on(reader, store_writer, counted=False))
        back = asyncio.create_task(self._pass_on(store_reader, writer, counted=True))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        for one in (store_writer, writer):
            one.close()
            with contextlib.suppress(OSError):
                await one.wait_closed()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                if counted:
                    self.replies += 1
                    if self.replies == self.cut_at:
                        return
                writer.write(data)
                await writer.drain()


@contextlib.asynccontextmanager
async def _proxied(place: Place) -> AsyncIterator[tuple[CuttingProxy, Place]]:
    with tempfile.TemporaryDirectory() as folder:
        proxy = CuttingProxy(urlsplit(place.url).path, f"{folder}/p.sock")
        server = await asyncio.start_unix_server(proxy.serve, proxy.path)
        try:
            yield proxy, _Place(f"unix://{proxy.path}?db=0", place.partition)
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.gather(*proxy.connections)


@dataclass(frozen=True)
class _Place:
    url: str
    partition: str


@pytest.mark.usefixtures("no_pause")
async def test_any_reply_may_be_lost(store: Place) -> None:
    """If each reply of the history is lost in turn, every message ends in the same stage."""
    async with _proxied(store) as (proxy, place):
        for cut in itertools.count(1, 2):
            partition = _Place(place.url, f"{store.partition}-{cut}")
            proxy.replies, proxy.cut_at = 0, cut
            async with opened(partition) as world:
                assert await _life(world) == EXPECTED, cut
                assert await world.count("enqueued") == 11
                assert await world.count("duplicates") == 0
            if proxy.replies < cut:
                break
