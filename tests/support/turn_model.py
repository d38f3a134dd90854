"""A plain model of how claims divide turns, to compare the store with.

It says in lists and dicts what docs/decisions/0045 says in words, and shares no code with the
scripts.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

Kind = Literal["sender", "account"]

QUANTUM = 8
COSTS = {"urgent": 1, "normal": 4, "bulk": 16}


@dataclass
class Ring:
    """Members with work, each with its pass and its order of arrival."""

    members: dict[object, tuple[int, int]] = field(default_factory=dict)
    rested: dict[object, int] = field(default_factory=dict)
    time: int = 0

    def enter(self, member: object, arrival: int) -> bool:
        if member in self.members:
            return False
        self.members[member] = (max(self.time, self.rested.pop(member, 0)), arrival)
        return True

    def first(self) -> object:
        return min(self.members, key=lambda each: self.members[each])

    def leave(self, member: object) -> bool:
        """Take a member out. Return whether the ring is empty now."""
        left = self.members.pop(member, None)
        if not self.members:
            self.rested, self.time = {}, 0
        elif left is not None:
            self.rested[member] = left[0]
        return not self.members

    def charge(self, member: object, cost: int, before: int, arrival: int) -> None:
        pass_ = self.members[member][0] + before
        self.time = max(self.time, pass_)
        self.members[member] = (pass_ + cost - before, arrival)


@dataclass(frozen=True)
class Lane:
    """A lane, and the sender and the account that it belongs to."""

    account: str
    sender: str
    priority: str
    campaign: str


class TurnModel:
    """Lanes with due messages, marked and in rings. A claim takes messages in turns."""

    def __init__(self) -> None:
        self.queues: dict[Lane, deque[str]] = defaultdict(deque)
        self.marked: list[tuple[bool, int, int, Lane]] = []
        self.paused: set[tuple[Kind, str]] = set()
        self.parked: set[tuple[Kind, str]] = set()
        self.classes = Ring()
        self.accounts: dict[str, Ring] = defaultdict(Ring)
        self.senders: dict[tuple[str, str], Ring] = defaultdict(Ring)
        self.lanes: dict[tuple[str, str], Ring] = defaultdict(Ring)
        self._arrivals = count(1)

    def enqueue(self, lane: Lane, ids: Iterable[str]) -> None:
        self.queues[lane].extend(ids)
        if all(lane != each for *_, each in self.marked):
            number = 1 + sum(each.sender == lane.sender for *_, each in self.marked)
            order = (lane.priority != "urgent", number, next(self._arrivals))
            self.marked.append((*order, lane))

    def pause(self, kind: Kind, name: str) -> None:
        self.paused.add((kind, name))

    def resume(self, kind: Kind, name: str) -> None:
        self.paused.discard((kind, name))
        if (kind, name) not in self.parked:
            return
        self.parked.discard((kind, name))
        for priority in COSTS:
            if kind == "account" and self.senders[priority, name].members:
                self._enter_account(priority, name)
            for lane in {each for each in self.lanes[priority, name].members if kind == "sender"}:
                assert isinstance(lane, Lane)
                self._enter_sender(priority, lane.sender, lane.account)
                break

    def _enter_account(self, priority: str, account: str) -> None:
        if ("account", account) in self.parked:
            return
        if self.accounts[priority].enter(account, next(self._arrivals)):
            self.classes.enter(priority, next(self._arrivals))

    def _enter_sender(self, priority: str, sender: str, account: str) -> None:
        if ("sender", sender) in self.parked:
            return
        if self.senders[priority, account].enter(sender, next(self._arrivals)):
            self._enter_account(priority, account)

    def _leave_account(self, priority: str, account: str) -> None:
        if self.accounts[priority].leave(account):
            self.classes.leave(priority)

    def _leave_sender(self, priority: str, account: str, sender: str) -> None:
        if self.senders[priority, account].leave(sender):
            self._leave_account(priority, account)

    def _park(self, kind: Kind, name: str, account: str) -> None:
        self.parked.add((kind, name))
        for priority in COSTS:
            if kind == "account":
                self._leave_account(priority, name)
            else:
                self._leave_sender(priority, account, name)

    def claim(self, limit: int) -> list[str]:
        for *_, lane in sorted(self.marked, key=lambda mark: mark[:3]):
            if self.lanes[lane.priority, lane.sender].enter(lane, next(self._arrivals)):
                self._enter_sender(lane.priority, lane.sender, lane.account)
        self.marked = []
        taken: list[str] = []
        while self.classes.members and len(taken) < limit:
            self._turn(taken, limit)
        return taken

    def _turn(self, taken: list[str], limit: int) -> None:
        priority = str(self.classes.first())
        account = str(self.accounts[priority].first())
        if ("account", account) in self.paused:
            self._park("account", account, account)
            return
        sender = str(self.senders[priority, account].first())
        if ("sender", sender) in self.paused:
            self._park("sender", sender, account)
            return
        lane = self.lanes[priority, sender].first()
        assert isinstance(lane, Lane)
        path: list[tuple[Ring, object]] = [
            (self.classes, priority),
            (self.accounts[priority], account),
            (self.senders[priority, account], sender),
            (self.lanes[priority, sender], lane),
        ]
        is_alone = all(len(ring.members) == 1 for ring, _ in path)
        room = limit - len(taken)
        room = room if is_alone else min(QUANTUM, room)
        queue = self.queues[lane]
        got = [queue.popleft() for _ in range(min(room, len(queue)))]
        taken += got
        before = max(0, -(-len(got) // QUANTUM) - 1) * QUANTUM
        for ring, member in reversed(path):
            cost = COSTS[priority] if member is priority else 1
            ring.charge(member, len(got) * cost, before * cost, next(self._arrivals))
        if not queue:
            for ring, member in reversed(path):
                if not ring.leave(member):
                    break
