"""Compares a plain model with the real store: in any order of steps, both agree on every message.

A message is in the place that the model says, and in no other.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from hypothesis import settings, stateful
from hypothesis import strategies as st

from policies.status import FAILURES, RANKS
from sendwindow.vocabulary import DISPATCH_ENDS, OnUnknown, Reason, Stage
from tests.depth import examples
from tests.support.cast import ANNA
from tests.support.stores_world import (
    ACCOUNT,
    AT_ONCE,
    DEAD,
    FAR,
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
from worker.ports.admissions import Cancelled, Lost, Permit, Stale
from worker.ports.claims import CRASHES_IN_COMPANY, ClaimedMessage, Suspects
from worker.ports.people import Inbound
from worker.ports.settlements import Result, SettleAccepted, SettleAgain, SettleEnd
from worker.ports.unknowns import Resolution, SettleUnresolved
from worker.stores.store import Store

Answer = TypeVar("Answer")

DUE = {"queued", "retrying", "woken"}
"""Stages in which a message is due. `woken`: waiting, but due since the person wrote."""
OPEN_TO_PROOF = DUE | {"waiting", "claimed", "unknown", "unresolved"}
RESULTS: Final[dict[str, Result | None]] = {
    "accepted": None,
    "refused": REFUSED,
    "dead": DEAD,
    "again": AT_ONCE,
    "wait": WAITS,
    "unknown": UNKNOWN,
}
STAGES = {
    "refused": "refused",
    "dead": "dead",
    "again": "retrying",
    "wait": "waiting",
    "unknown": "unknown",
}
NAMES = st.sampled_from(["a", "b", "c", "d"])
STATUSES = st.sampled_from(
    [
        "queued",
        "sending",
        "sent",
        "failed",
        "failed",
        "undelivered",
        "canceled",
        "delivered",
        "read",
    ]
)
COPIES = st.sampled_from(["", "", "", "-copy"])
"""Sometimes the provider names a second SID for one attempt."""
ROUNDS = 40
STEPS = 40


@dataclass
class Told:
    """What got furthest of a SID: a report or a reply.

    `is_over`: its failure began another life.
    """

    attempt: int
    status: str
    is_over: bool = False

    @property
    def rank(self) -> int:
        return RANKS[self.status]

    @property
    def has_failed(self) -> bool:
        return self.status in FAILURES


@dataclass
class Message:
    """What the model knows of a message."""

    stage: str = "queued"
    attempt: int = 0
    crashes: int = 0
    is_cancelled: bool = False
    holder: ClaimedMessage | None = None
    inbounds: int = 0
    """How often the person had written at the last claim."""
    sid: str | None = None
    """SID that the message was accepted with."""
    told: dict[str, Told] = field(default_factory=dict)
    """Every SID in a report or a reply."""
    copies: int = 0
    """SIDs beyond the first, without those whose failure began another life."""
    is_never: bool = False
    """Whether its rule never allows a second POST."""
    lives: int = 1
    may_be_out: bool = False
    """Whether it ended while it was unproven that Twilio had taken an attempt."""
    asked_in_doubt: bool = False
    """Whether that was unproven when its cancel was asked for."""
    is_off_the_list: bool = False
    """Whether it is dead and no operator has to decide about it, because it was cancelled."""
    doubtful: set[int] = field(default_factory=set)
    """Attempts whose outcome is unproven."""
    settled: int | None = None
    """Fence of the last settlement, until the next claim: its repetition is recognised.

    After a release it is late.
    """

    @property
    def shown(self) -> str:
        """The stage that every reader sees."""
        stage = "waiting" if self.stage == "woken" else self.stage
        is_unposted = stage in {"queued", "waiting", "retrying", "claimed"}
        counts = self.is_cancelled and not self.asked_in_doubt and is_unposted
        return "cancelled" if counts else stage


@dataclass
class Held:
    """A claim as its worker remembers it, perhaps after losing it."""

    name: str
    claimed: ClaimedMessage


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
        self.asked: list[str] = []
        self.inbounds = 0
        self.lease_over = False

    async def _open(self, partition: str, worker_id: str) -> Store:
        return await Store.connect(
            self.place.url,
            partition=partition,
            person_key=PERSON_KEY,
            worker_id=worker_id,
            profile="sandbox",
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
        is_never = name == "d"
        rule = OnUnknown.NEVER if is_never else None
        word = self.do(self.world.enqueue(name, on_unknown=rule))
        assert word == (b"duplicate" if name in self.model else b"new")
        self.model.setdefault(name, Message(is_never=is_never))

    @stateful.rule(
        worker=st.sampled_from([0, 1]), limit=st.integers(1, 3), suspects=st.sampled_from(Suspects)
    )
    def claim(self, worker: int, limit: int, suspects: Suspects) -> None:
        """Claim: suspects go alone to a worker that asks for them, and others are always
        claimable.
        """
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
            one.stage, one.holder, one.inbounds, one.settled = (
                "claimed",
                claimed,
                self.inbounds,
                None,
            )
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
        self._expect_settled(one, held.claimed.fence, attempt, kind, (sid, reply))
        assert answer.stage == ("waiting" if one.stage == "woken" else one.stage)
        assert answer.applied == (held.claimed.fence == one.settled)

    def _expect_settled(
        self, one: Message, fence: int, attempt: int, kind: str, told: tuple[str, str]
    ) -> None:
        if fence == one.settled:
            return
        is_holder = one.holder is not None and one.holder.fence == fence
        is_late_proof = (
            one.stage in {"unknown", "unresolved"} and attempt == one.attempt and kind != "unknown"
        )
        if is_holder or is_late_proof:
            one.settled = fence
            one.holder, one.crashes = None, 0
            if kind != "unknown":
                one.doubtful.discard(attempt)
            self._move(one, attempt, kind, told)
        elif kind == "accepted" and attempt:
            self._report(one, attempt, *told)

    def _move(self, one: Message, attempt: int, kind: str, told: tuple[str, str]) -> None:
        was = one.stage
        proof = self._proof_at_hand(one) if was != "claimed" else None
        if kind == "accepted":
            self._hear(one, attempt, *told)
            self._accept(one, told[0])
        elif proof:
            self._accept(one, proof)
        elif one.is_cancelled and (was == "claimed" or kind in {"again", "wait"}):
            self._end(one, "cancelled")
        elif STAGES[kind] in DISPATCH_ENDS:
            self._end(one, STAGES[kind])
        else:
            one.stage = STAGES[kind]
            if kind == "wait" and one.inbounds != self.inbounds:
                one.stage = "woken"

    @staticmethod
    def _end(one: Message, stage: str) -> None:
        one.stage, one.holder, one.may_be_out = stage, None, bool(one.doubtful)
        one.is_off_the_list = stage == "dead" and one.is_cancelled

    @staticmethod
    def _proof_at_hand(one: Message) -> str | None:
        """Return the SID that ends the message if its reply proves nothing."""
        told = {sid: line for sid, line in one.told.items() if not line.is_over and sid != one.sid}
        order = sorted(
            told,
            key=lambda sid: (
                told[sid].attempt != one.attempt,
                told[sid].has_failed,
                -told[sid].rank,
                sid,
            ),
        )
        return order[0] if order else None

    @staticmethod
    def _hear(one: Message, attempt: int, sid: str, status: str) -> tuple[bool, bool]:
        """Apply a status of a SID to the model.

        Returns whether it is new, and whether an attempt that had failed is now known not to have.
        """
        line = one.told.get(sid)
        others = one.stage == "accepted" or any(
            not each.is_over for name, each in one.told.items() if name != sid
        )
        if line is None:
            one.copies += others
            one.told[sid] = Told(attempt, status)
            return True, False
        if RANKS[status] <= line.rank:
            return False, False
        revives = line.is_over and status not in FAILURES
        line.status = status
        line.is_over = line.is_over and not revives
        return False, revives

    def _accept(self, one: Message, sid: str) -> None:
        one.doubtful.discard(one.told[sid].attempt)
        self._end(one, "accepted")
        one.sid, one.asked_in_doubt = sid, False
        self._fail(one)

    @staticmethod
    def _fail(one: Message) -> None:
        """Begin another life when the accepted SID failed in a way that allows it."""
        own = one.told[one.sid or ""]
        stands = any(not line.has_failed for sid, line in one.told.items() if sid != one.sid)
        if (
            own.status != "failed"
            or one.is_cancelled
            or one.is_never
            or stands
            or one.attempt in one.doubtful
        ):
            return
        own.is_over, one.stage, one.sid, one.lives = True, "retrying", None, one.lives + 1

    def _report(self, one: Message, attempt: int, sid: str, status: str) -> bool:
        """Apply a report, and return whether it ended the message."""
        is_own, before = one.stage == "accepted" and one.sid == sid, one.told.get(sid)
        rank = before.rank if before else -1
        had_other = one.stage == "accepted" or any(
            not line.is_over for name, line in one.told.items() if name != sid
        )
        is_new, revives = self._hear(one, attempt, sid, status)
        if is_own:
            if RANKS[status] > rank:
                self._fail(one)
            return False
        if is_new:
            one.doubtful.discard(attempt)
            one.attempt = max(one.attempt, attempt)
        if (is_new or revives) and one.stage in OPEN_TO_PROOF and one.shown != "cancelled":
            self._accept(one, sid)
            return True
        one.copies += revives and had_other
        return False

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(data=st.data(), status=STATUSES, copy=COPIES)
    def callback(self, data: st.DataObject, status: str, copy: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        one = self.model[name]
        if not one.attempt:
            return
        attempt = data.draw(st.integers(1, one.attempt))
        sid = f"SM-{name}-{attempt}{copy}"
        reopen = 0 if status == "failed" else None
        applied = self.do(
            self.world.callback(
                status, sid, message_id=name, attempt=attempt, reopen_after_ms=reopen
            )
        )
        assert applied.known
        was, lives = one.stage, one.lives
        is_end = self._report(one, attempt, sid, status)
        assert applied.is_end == is_end
        assert applied.resolved == (was in {"unknown", "unresolved"} and is_end)
        assert applied.reopened == (one.lives > lives)

    @stateful.rule(worker=st.sampled_from([0, 1]))
    def renew_and_release(self, worker: int) -> None:
        pairs = [(held.name, held.claimed.fence) for held in self.held]
        lost = self.do(self.stores[worker].ledger.renew(pairs))
        mine = {
            name
            for name, one in self.model.items()
            if one.holder is not None and one.stage in {"claimed", "posting"}
        }
        assert mine.isdisjoint(set(lost) - {name for name, _ in pairs if name in mine})
        self.do(self.stores[worker].ledger.release(pairs))
        for one in self.model.values():
            if one.stage == "claimed":
                one.stage = "cancelled" if one.is_cancelled else "queued"
                one.holder = None

    @stateful.rule()
    def crash(self) -> None:
        """Let every lease run out before a worker renews it."""
        self.do(self.world.later(seconds=16))
        reaped = {one.message_id: one.stage for one in self.do(self.stores[0].ledger.reap(100))}
        expected = {}
        for name, one in self.model.items():
            if one.stage not in {"claimed", "posting"}:
                continue
            self._after_crash(one)
            expected[name] = one.stage
        assert reaped == expected

    def _after_crash(self, one: Message) -> None:
        was, proof = one.stage, self._proof_at_hand(one)
        one.holder = None
        if was == "posting" and proof:
            self._accept(one, proof)
            return
        one.crashes += 1
        if was == "posting":
            one.stage = "unknown"
        elif one.is_cancelled:
            self._end(one, "cancelled")
        elif one.crashes >= CRASHES_IN_COMPANY + 3:
            self._end(one, "dead")
        else:
            one.stage = "queued"

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        one = self.model[name]
        answer = self.do(self.world.ask_to_cancel(name))
        is_held = one.stage in {"claimed", "posting", "unknown", "unresolved"}
        if not one.is_cancelled and not is_held and one.stage != "cancelled":
            self.asked.append(name)
        if one.stage in DUE | {"waiting", "claimed"}:
            one.asked_in_doubt = one.asked_in_doubt or bool(one.doubtful)
            assert answer == ("too_late" if one.asked_in_doubt else "cancelled")
        elif one.stage in {"posting", "unknown", "unresolved"}:
            assert answer == "too_late"
        elif one.stage in {"cancelled", "dead"}:
            assert answer in {"cancelled", "too_late"}
        else:
            assert answer == "ended"
        one.is_cancelled = True

    @stateful.rule(worker=st.sampled_from([0, 1]), limit=st.integers(1, 3))
    def end_cancelled(self, worker: int, limit: int) -> None:
        """Record the ends of messages whose cancel was asked for, in the order of asking."""
        left = self.do(self.stores[worker].ledger.end_cancelled(limit))
        taken, self.asked = self.asked[:limit], self.asked[limit:]
        assert left == len(self.asked)
        for one in map(self.model.__getitem__, taken):
            if one.stage in DUE | {"waiting"}:
                self._end(one, "cancelled")
            one.is_off_the_list = one.stage == "dead"

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Replay a dead letter as an operator.

        A cancelled one is refused, and so is one that went out or may have.
        """
        name = data.draw(st.sampled_from(sorted(self.model)))
        one = self.model[name]
        (answer,) = self.do(self.stores[0].records.replay([name], FAR))
        if one.stage != "dead":
            assert answer == "not_dead"
        elif one.is_cancelled:
            assert answer == "cancelled"
        elif any(not line.has_failed for line in one.told.values()):
            assert answer == "sent"
        elif one.may_be_out:
            assert answer == "perhaps_sent"
        else:
            assert answer == "replayed"
            one.stage, one.lives, one.crashes = "queued", one.lives + 1, 0
            for line in one.told.values():
                line.is_over = True

    @stateful.precondition(lambda self: self.model)
    @stateful.rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """Retry a refused or failed message as an operator, under the conditions of a replay."""
        name = data.draw(st.sampled_from(sorted(self.model)))
        one = self.model[name]
        (answer,) = self.do(self.stores[0].records.retry([name], FAR))
        if one.shown == "cancelled":
            assert answer == "cancelled"
        elif one.stage not in {"refused", "failed"}:
            assert answer == "not_ended"
        elif one.is_cancelled:
            assert answer == "cancelled"
        elif any(not line.has_failed for line in one.told.values()):
            assert answer == "sent"
        elif one.may_be_out:
            assert answer == "perhaps_sent"
        else:
            assert answer == "retried"
            one.stage, one.lives, one.crashes = "queued", one.lives + 1, 0
            for line in one.told.values():
                line.is_over = True

    @stateful.rule(keyword=st.sampled_from([None, "stop", "start"]))
    def inbound(self, keyword: str | None) -> None:
        self.inbounds += 1
        given = Inbound(f"SMin{self.inbounds}", SENDER, ACCOUNT, ANNA, keyword)
        (applied,) = self.do(self.stores[1].people.apply_inbound([given]))
        waiting = [
            one for one in self.model.values() if one.stage == "waiting" and not one.is_cancelled
        ]
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
        (stage,) = self.do(
            self.stores[0].unknowns.resolve([Resolution(name, one.attempt, results[rule])])
        )
        if one.stage in {"unknown", "unresolved"}:
            again = "cancelled" if one.is_cancelled else "queued"
            one.stage = {"again": again, "end": "failed", "hold": "unresolved"}[rule]
            if one.stage in DISPATCH_ENDS:
                self._end(one, one.stage)
            assert stage == one.stage
        else:
            assert stage is None

    # -- what must always hold ---------------------------------------------------------------------

    @stateful.invariant()
    def every_message_is_where_the_model_says(self) -> None:
        places = self.do(self._places())
        for name, one in self.model.items():
            row = self.do(self.world.row(name))
            assert row["s"] == one.shown, name
            assert int(row["n"]) == one.attempt
            expected = {
                "claimed": {"leases"},
                "posting": {"leases"},
                "unknown": {"unknown"},
                "unresolved": {"unresolved"},
                "dead": set() if one.is_off_the_list else {"dead"},
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
        """An accepted message shows the furthest status of its own SID.

        Every other SID is a copy, counted once.
        """
        for name, one in self.model.items():
            if one.stage == "accepted":
                row = self.do(self.world.row(name))
                assert (row["sid"], RANKS[row["st"]]) == (one.sid, one.told[one.sid or ""].rank)
        assert self.do(self.world.count("duplicates")) == sum(
            one.copies for one in self.model.values()
        )

    @stateful.invariant()
    def each_life_has_one_end(self) -> None:
        """Ends are counted once, and uncounted when another life begins."""
        counted = self.do(self.stores[0].records.counts())
        ends = sum(number for name, number in counted.items() if name.startswith("end:"))
        assert ends == sum(one.stage in DISPATCH_ENDS for one in self.model.values())
        for name, one in self.model.items():
            assert int(self.do(self.world.row(name)).get("lf", "1")) == one.lives

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
    def each_message_in_a_lane_is_counted(self) -> None:
        """The count that limits a sender's queue is exact after every step."""
        keys, ask = self.world.keys, self.world.calls.ask
        in_lane = self.do(ask("ZCARD", keys.lane(f"{SENDER}|normal|")))
        assert int(self.do(ask("HGET", keys.queued, SENDER)) or 0) == in_lane

    @stateful.invariant()
    def a_lane_with_due_work_has_turns(self) -> None:
        apart = {name for name, places in self.do(self._places()).items() if "suspects" in places}
        due = [name for name, one in self.model.items() if one.stage in DUE and name not in apart]
        keys, lane = self.world.keys, f"{SENDER}|normal|"
        places = (keys.ready, keys.ring(f"normal|lanes|{SENDER}"))
        scores = [self.do(self.world.redis.zscore(place, lane)) for place in places]
        assert scores != [None, None] or not due


def test_every_history_ends_where_the_model_does(store: Place) -> None:
    """Claims, settlements, callbacks, inbounds, cancels and crashes in any order lose and reopen
    no message.
    """
    StoreMachine.place = store
    stateful.run_state_machine_as_test(
        StoreMachine,
        settings=settings(max_examples=examples(ROUNDS), stateful_step_count=STEPS, deadline=None),
    )
