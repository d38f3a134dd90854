"""A plain model beside the real store: in whatever order, a message is where the model says, and only there."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from hypothesis import settings, stateful
from hypothesis import strategies as st

from policies.status import RANKS
from sendwindow.vocabulary import DISPATCH_ENDS, Reason, Stage
from tests.worker.stores_world import (
    ACCOUNT,
    ANNA,
    AT_ONCE,
    DEAD,
    PERSON_KEY,
    REFUSED,
    SENDER,
    UNKNOWN,
    WAITS,
    Place,
    World,
    ask,
    settlement,
)
from worker.stores.store import Store
from worker.values.admissions import Cancelled, Lost, Permit, Stale
from worker.values.claims import CRASHES_IN_COMPANY, Claimed, Suspects
from worker.values.people import Inbound
from worker.values.settlements import Result, SettleAccepted, SettleAgain, SettleEnd
from worker.values.unknowns import Resolution, SettleUnresolved

Answer = TypeVar("Answer")

DUE = {"queued", "retrying", "woken"}
"""`woken`: in stage waiting, but due since the person wrote."""
OPEN_TO_PROOF = DUE | {"waiting", "claimed", "unknown", "unresolved"}
RESULTS: Final[dict[str, Result | None]] = {
    "accepted": None,
    "refused": REFUSED,
    "dead": DEAD,
    "again": AT_ONCE,
    "wait": WAITS,
    "unknown": UNKNOWN,
}
STAGES = {"refused": "refused", "dead": "dead", "again": "retrying", "wait": "waiting", "unknown": "unknown"}
NAMES = st.sampled_from(["a", "b", "c", "d"])
COPIES = st.sampled_from(["", "", "", "-copy"])
"""Now and then the provider names a second SID for one attempt."""
ROUNDS = 40
STEPS = 40


@dataclass
class Message:
    """What the model knows of a message."""

    stage: str = "queued"
    attempt: int = 0
    crashes: int = 0
    is_cancelled: bool = False
    holder: Claimed | None = None
    inbounds: int = 0
    """How often the person had written when it was claimed last."""
    proven: tuple[int, str] | None = None
    """Attempt and SID that were proven while a reply is awaited: those of the attempt in flight if there are any."""
    sid: str | None = None
    """SID that the message was accepted with."""
    told: dict[str, int] = field(default_factory=dict)
    """Every SID that was heard of, and the rank of what got furthest: its callbacks or a reply."""
    copies: int = 0
    """SIDs beyond the first."""
    doubtful: set[int] = field(default_factory=set)
    """Attempts of which nobody knows whether Twilio took them."""
    settled: int | None = None
    """Fence of the last settlement, until the next claim: its repetition is recognised. After a release it is late."""


@dataclass
class Held:
    """A claim as its worker remembers it, long after it may have lost it."""

    name: str
    claimed: Claimed


class StoreMachine(stateful.RuleBasedStateMachine):
    """Two workers, a gateway, a producer and a clock, all making calls in any order."""

    place: Place
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        StoreMachine.runs += 1
        self.runner = asyncio.Runner()
        partition = f"{self.place.partition}-{StoreMachine.runs}"
        self.stores = [self.do(self._open(partition, f"w{number}")) for number in (1, 2)]
        self.world = World(self.stores[0], self.stores[0]._calls)
        self.do(self.stores[0].register_senders({SENDER: ACCOUNT}))
        self.model: dict[str, Message] = {}
        self.held: list[Held] = []
        self.inbounds = 0
        self.lease_over = False

    async def _open(self, partition: str, worker_id: str) -> Store:
        return await Store.connect(
            self.place.url, partition=partition, person_key=PERSON_KEY, worker_id=worker_id, profile="sandbox"
        )

    def do(self, awaitable: Awaitable[Answer]) -> Answer:
        async def wait() -> Answer:
            return await awaitable

        return self.runner.run(wait())

    def teardown(self) -> None:
        for store in self.stores:
            self.do(store.close())
        self.runner.close()

    # -- what may happen ---------------------------------------------------------------------------

    @stateful.rule(name=NAMES)
    def enqueue(self, name: str) -> None:
        word = self.do(self.world.enqueue(name))
        assert word == (b"duplicate" if name in self.model else b"new")
        self.model.setdefault(name, Message())

    @stateful.rule(worker=st.sampled_from([0, 1]), limit=st.integers(1, 3), suspects=st.sampled_from(Suspects))
    def claim(self, worker: int, limit: int, suspects: Suspects) -> None:
        """Suspects go alone, to who asks for them; whatever they do, the others are handed out."""
        due = {name for name, one in self.model.items() if one.stage in DUE}
        suspected = {name for name in due if self.model[name].crashes >= CRASHES_IN_COMPANY}
        batch = self.do(self.stores[worker].ledger.claim(limit, suspects)).claimed
        taken = {one.message_id for one in batch}
        assert taken <= due
        if taken & suspected:
            assert len(batch) == 1
            assert suspects is Suspects.FIRST or (suspects is Suspects.LAST and due == suspected)
        else:
            assert len(batch) == min(limit, len(due - suspected))
            assert batch or suspects is Suspects.NEVER or not due
        for claimed in batch:
            one = self.model[claimed.message_id]
            assert (claimed.attempts, claimed.crashes) == (one.attempt, one.crashes)
            one.stage, one.holder, one.inbounds, one.settled = "claimed", claimed, self.inbounds, None
            self.held.append(Held(claimed.message_id, claimed))

    @stateful.precondition(lambda self: self.held)
    @stateful.rule(data=st.data())
    def admit(self, data: st.DataObject) -> None:
        held = self.held[data.draw(st.integers(0, len(self.held) - 1))]
        one = self.model[held.name]
        answer = self.do(self.stores[0].ledger.admit([ask(held.claimed)]))[0]
        if isinstance(answer, Stale):
            held.claimed = replace(held.claimed, facts=answer.facts)
            answer = self.do(self.stores[0].ledger.admit([ask(held.claimed)]))[0]
        is_holder = one.holder is not None and one.holder.fence == held.claimed.fence
        if not is_holder:
            assert isinstance(answer, Lost)
        elif one.stage == "posting":
            assert isinstance(answer, Permit)
        elif one.is_cancelled:
            assert isinstance(answer, Cancelled)
        else:
            assert isinstance(answer, Permit)
            one.stage, one.attempt = "posting", one.attempt + 1
            one.doubtful.add(one.attempt)

    @stateful.precondition(lambda self: self.held)
    @stateful.rule(
        data=st.data(),
        kind=st.sampled_from(sorted(RESULTS)),
        reply=st.sampled_from(["queued", "sending", "sent"]),
        copy=COPIES,
    )
    def settle(self, data: st.DataObject, kind: str, reply: str, copy: str) -> None:
        held = self.held[data.draw(st.integers(0, len(self.held) - 1))]
        one = self.model[held.name]
        attempt = held.claimed.attempts + 1
        is_holder = one.holder is not None and one.holder.fence == held.claimed.fence
        if is_holder and one.stage == "claimed":
            attempt = 0
            kind = "again" if kind in {"accepted", "unknown"} else kind
        sid = f"SM-{held.name}-{attempt}{copy}"
        result = RESULTS[kind] or SettleAccepted(sid, reply)
        given = settlement(held.claimed, result, attempt=attempt, posted=attempt > 0)
        answer = self.do(self.stores[1].ledger.settle([given]))[0]
        self._expect_settled(one, held.claimed.fence, attempt, kind, (sid, RANKS[reply]))
        assert answer.stage == ("waiting" if one.stage == "woken" else one.stage)
        assert answer.applied == (held.claimed.fence == one.settled)

    def _expect_settled(self, one: Message, fence: int, attempt: int, kind: str, told: tuple[str, int]) -> None:
        if fence == one.settled:
            return
        is_holder = one.holder is not None and one.holder.fence == fence
        is_late_proof = one.stage in {"unknown", "unresolved"} and attempt == one.attempt and kind != "unknown"
        if is_holder or is_late_proof:
            one.settled = fence
            one.holder, one.crashes = None, 0
            if kind != "unknown":
                one.doubtful.discard(attempt)
            self._move(one, kind, told)
        elif kind == "accepted" and attempt:
            self._prove(one, attempt, told)

    def _move(self, one: Message, kind: str, told: tuple[str, int]) -> None:
        was = one.stage
        if kind == "accepted":
            self._hear(one, told)
            one.stage, one.sid, one.proven = "accepted", told[0], None
        elif one.proven:
            one.stage, one.sid, one.proven = "accepted", one.proven[1], None
        elif one.is_cancelled and (was == "claimed" or kind in {"again", "wait"}):
            one.stage = "cancelled"
        else:
            one.stage = STAGES[kind]
            if kind == "wait" and one.inbounds != self.inbounds:
                one.stage = "woken"

    @staticmethod
    def _hear(one: Message, told: tuple[str, int]) -> bool:
        """Take in what is said of a SID; answers whether the SID is new."""
        sid, rank = told
        is_new = sid not in one.told
        one.copies += is_new and bool(one.told)
        one.told[sid] = max(rank, one.told.get(sid, 0))
        return is_new

    def _prove(self, one: Message, attempt: int, told: tuple[str, int]) -> None:
        if not self._hear(one, told):
            return
        one.doubtful.discard(attempt)
        one.attempt = max(one.attempt, attempt)
        if one.stage in OPEN_TO_PROOF:
            one.stage, one.sid, one.holder, one.proven = "accepted", told[0], None, None
        elif one.stage == "posting" and (not one.proven or one.proven[0] != one.attempt == attempt):
            one.proven = (attempt, told[0])

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(data=st.data(), status=st.sampled_from(["sent", "delivered", "queued"]), copy=COPIES)
    def callback(self, data: st.DataObject, status: str, copy: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        one = self.model[name]
        if not one.attempt:
            return
        attempt = data.draw(st.integers(1, one.attempt))
        sid = f"SM-{name}-{attempt}{copy}"
        applied = self.do(self.world.callback(status, sid, message_id=name, attempt=attempt))
        assert applied.known
        was = one.stage
        self._prove(one, attempt, (sid, RANKS[status]))
        assert applied.resolved == (was in {"unknown", "unresolved"} and one.stage == "accepted")

    @stateful.rule(worker=st.sampled_from([0, 1]))
    def renew_and_release(self, worker: int) -> None:
        pairs = [(held.name, held.claimed.fence) for held in self.held]
        lost = self.do(self.stores[worker].ledger.renew(pairs))
        mine = {
            name for name, one in self.model.items() if one.holder is not None and one.stage in {"claimed", "posting"}
        }
        assert mine.isdisjoint(set(lost) - {name for name, _ in pairs if name in mine})
        self.do(self.stores[worker].ledger.release(pairs))
        for one in self.model.values():
            if one.stage == "claimed":
                one.stage = "cancelled" if one.is_cancelled else "queued"
                one.holder = None

    @stateful.rule()
    def crash(self) -> None:
        """Every lease runs out before anybody renews it."""
        self.do(self.world.later(seconds=16))
        reaped = {one.message_id: one.stage for one in self.do(self.stores[0].ledger.reap(100))}
        expected = {}
        for name, one in self.model.items():
            if one.stage not in {"claimed", "posting"}:
                continue
            expected[name] = self._after_crash(one)
            one.sid = one.proven[1] if one.proven else None
            one.stage, one.holder, one.proven = expected[name], None, None
        assert reaped == expected

    @staticmethod
    def _after_crash(one: Message) -> str:
        if one.stage == "posting" and one.proven:
            return "accepted"
        one.crashes += 1
        if one.stage == "posting":
            return "unknown"
        if one.is_cancelled:
            return "cancelled"
        return "dead" if one.crashes >= CRASHES_IN_COMPANY + 3 else "queued"

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        one = self.model[name]
        answer = self.do(self.world.cancel(name))
        if one.stage in DUE | {"waiting", "cancelled", "claimed"}:
            if one.stage != "cancelled":
                assert answer == ("too_late" if one.doubtful else "cancelled")
            one.is_cancelled = True
            one.stage = "claimed" if one.stage == "claimed" else "cancelled"
        elif one.stage in {"posting", "unknown", "unresolved"}:
            assert answer == "too_late"
            one.is_cancelled = True
        else:
            assert answer == "ended"

    @stateful.rule(keyword=st.sampled_from([None, "stop", "start"]))
    def inbound(self, keyword: str | None) -> None:
        self.inbounds += 1
        given = Inbound(f"SMin{self.inbounds}", SENDER, ACCOUNT, ANNA, keyword)
        (applied,) = self.do(self.stores[1].people.apply_inbound([given]))
        waiting = [one for one in self.model.values() if one.stage == "waiting"]
        assert applied.released == len(waiting)
        for one in waiting:
            one.stage = "woken"

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(data=st.data(), rule=st.sampled_from(["again", "end", "hold"]))
    def resolve(self, data: st.DataObject, rule: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        one = self.model[name]
        results: dict[str, SettleAgain | SettleEnd | SettleUnresolved] = {
            "again": SettleAgain(Stage.QUEUED, Reason.RESENT_BY_RULE),
            "end": SettleEnd(Stage.FAILED, Reason.NEVER_BY_RULE),
            "hold": SettleUnresolved(Reason.HELD_BY_RULE, ""),
        }
        (stage,) = self.do(self.stores[0].unknowns.resolve([Resolution(name, one.attempt, results[rule])]))
        if one.stage in {"unknown", "unresolved"}:
            again = "cancelled" if one.is_cancelled else "queued"
            one.stage = {"again": again, "end": "failed", "hold": "unresolved"}[rule]
            assert stage == one.stage
        else:
            assert stage is None

    # -- what must always hold ---------------------------------------------------------------------

    @stateful.invariant()
    def every_message_is_where_the_model_says(self) -> None:
        places = self.do(self._places())
        for name, one in self.model.items():
            row = self.do(self.world.row(name))
            assert row["s"] == ("waiting" if one.stage == "woken" else one.stage), name
            assert int(row["n"]) == one.attempt
            expected = {
                "claimed": {"leases"},
                "posting": {"leases"},
                "unknown": {"unknown"},
                "unresolved": {"unresolved"},
                "dead": {"dead"},
                "accepted": set(),
            }.get(one.stage, set() if one.stage in DISPATCH_ENDS else {"lane"})
            found = places.get(name, set()) - {"undelivered"}
            assert found == expected or (
                one.crashes >= CRASHES_IN_COMPANY and expected == {"lane"} and found == {"suspects"}
            ), (name, one)

    async def _places(self) -> dict[str, set[str]]:
        keys, redis = self.world.keys, self.world.redis
        names = ("leases", "unknown", "unresolved", "dead", "undelivered", "suspects")
        lists = {name: getattr(keys, name) for name in names}
        lists["lane"] = keys.lane(f"{SENDER}|normal|")
        places: dict[str, set[str]] = {}
        for name, key in lists.items():
            for member in await redis.zrange(key, 0, -1):
                places.setdefault(member.decode(), set()).add(name)
        return places

    @stateful.invariant()
    def an_accepted_message_shows_what_got_furthest(self) -> None:
        """Of its own SID, be it the reply's or a callback's; every other SID is a copy, counted once."""
        for name, one in self.model.items():
            if one.stage == "accepted":
                row = self.do(self.world.row(name))
                assert (row["sid"], RANKS[row["st"]]) == (one.sid, one.told[one.sid or ""])
        assert self.do(self.world.count("duplicates")) == sum(one.copies for one in self.model.values())

    @stateful.invariant()
    def no_message_has_two_open_permits(self) -> None:
        keys, redis = self.world.keys, self.world.redis
        now = self.do(self.stores[0].now()).timestamp() * 1000
        digest = self.stores[0].people.digest(ANNA)
        open_ones = self.do(redis.zrangebyscore(keys.permits(digest), now + 1, "+inf"))
        names = [member.decode().partition(":")[2] for member in open_ones]
        assert len(names) == len(set(names))
        assert all(self.model[name].stage == "posting" for name in names)

    @stateful.invariant()
    def a_lane_with_due_work_is_ready(self) -> None:
        apart = {name for name, places in self.do(self._places()).items() if "suspects" in places}
        due = [name for name, one in self.model.items() if one.stage in DUE and name not in apart]
        score = self.do(self.world.redis.zscore(self.world.keys.ready, f"{SENDER}|normal|"))
        assert score is not None or not due


def test_every_history_ends_where_the_model_does(store: Place) -> None:
    """Claims, settlements, callbacks, inbounds, cancels, crashes in any order: nothing lost, ended stays ended."""
    StoreMachine.place = store
    stateful.run_state_machine_as_test(
        StoreMachine, settings=settings(max_examples=ROUNDS, stateful_step_count=STEPS, deadline=None)
    )
