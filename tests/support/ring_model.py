"""A plain model of what each claim takes, to compare the store with.

It says what docs/decisions/0045 and the heads of `turn_rings.lua` and `lane_rings.lua` say, for a
whole history: turns, timers, pauses that end, messages that come back, and what expires. The rings
are the nodes of one tree. It shares no code with the scripts. Time is in minutes.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, Literal

from tests.support.ring_tree import LaneName, Node
from worker.ports.claims import ClaimRoom

Kind = Literal["sender", "account"]
Place = tuple[int, int, int]
"""When a message is due, the call that queued it, and its number; 0 once it came back."""

QUANTUM: Final = 8
COSTS: Final = {"urgent": 1, "normal": 4, "bulk": 16, "expired": 4}
MAX_TURNS: Final = 256
MAX_LOOKS: Final = 64
"""How many messages one claim lists by their expiry, and how many of a list it looks at."""

_RINGS: Final = ("{}", "{}|senders|{}", "{}|lanes|{}", "")
"""The ring below a class, an account, a sender and a lane."""

LAST: Final = "~"
"""Sorts behind every message id."""


@dataclass(slots=True)
class Queued:
    """A message that has not ended."""

    message_id: str
    lane: LaneName
    queued: Place
    expires: int
    place: Place | None
    """Where it stands in its lane; None while a worker holds it."""

    is_listed: bool = False
    """Whether it was listed by its expiry when it came back."""


class RingModel:
    """A store with lanes, rings and pauses, in lists and dicts."""

    def __init__(self) -> None:
        self.now = 0
        self.messages: dict[str, Queued] = {}
        self.root = Node("", "classes")
        self._nodes: dict[tuple[str, ...], Node] = {}
        self._lanes: dict[LaneName, list[tuple[Place, str]]] = defaultdict(list)
        self._marks: dict[LaneName, tuple[bool, int, int]] = {}
        self._timers: dict[LaneName, int] = {}
        self._pauses: dict[tuple[Kind, str], int] = {}
        self.parked: dict[tuple[Kind, str], int] = {}
        self._minutes: dict[int, list[str]] = {}
        self._unlisted: dict[LaneName, int] = {}
        self._listed: dict[LaneName, tuple[Place, str]] = {}
        self._numbers = count(1)
        self._aside: list[Node] = []
        self._to_park: dict[tuple[Kind, str], None] = {}
        self.has_passed_over = False
        """Whether the last claim left work for which there was no room."""

    # What producers, workers and operators do.

    def queue(self, lane: LaneName, ids: Sequence[str], start: int | None, expires: int) -> None:
        call = next(self._numbers)
        for number, message_id in enumerate(ids, start=1):
            queued = (self.now, call, number)
            place = queued if start is None else (start, 0, 0)
            self.messages[message_id] = Queued(message_id, lane, queued, expires, None)
            self._put(message_id, place)

    def end(self, message_id: str) -> None:
        del self.messages[message_id]

    def give_back(self, message_id: str, due: int | None = None) -> None:
        """Put a message back: due at a time, or else in its old place."""
        one = self.messages[message_id]
        at, call, _ = one.queued
        self._put(message_id, (at, call, 0) if due is None else (due, 0, 0))
        if not one.is_listed or one.expires <= self.now:
            self._list(one)
            one.is_listed = True

    def pause(self, kind: Kind, name: str, ends: int) -> None:
        self._pauses[kind, name] = ends
        if (kind, name) in self.parked:
            self.parked[kind, name] = ends

    def resume(self, kind: Kind, name: str) -> None:
        if self._pauses.pop((kind, name), None) is not None:
            self._unpark(kind, name)

    def is_paused(self, kind: Kind, name: str) -> bool:
        return self._pauses.get((kind, name), 0) > self.now

    def claim(self, limit: int, room: ClaimRoom | None = None) -> list[str]:
        """Take up to `limit` messages that there is room for.

        Whose turn it is although there is no room is set aside until the end, and then has its
        turn as soon as there is room, but no turns that it missed.
        """
        entered = self._enter_due()
        taken: list[str] = []
        left: set[LaneName] = set()
        self._aside, self._to_park, self.has_passed_over = [], {}, False
        for _ in range(MAX_TURNS):
            if len(taken) >= limit or not self._waiting(self.root):
                break
            self._turn(taken, limit, left, room)
        self._return_aside()
        self._list_some([lane for lane in entered if lane not in left])
        return taken

    def _return_aside(self) -> None:
        for node in self._aside:
            owner = node.owner
            assert owner is not None
            pass_ = owner.take(node)
            assert pass_ is not None
            if pass_ < owner.time:
                entry = (owner.time, next(self._numbers), node)
            else:
                entry = (pass_, node.number, node)
            insort(owner.ring, entry)
        for kind, name in self._to_park:
            self._park(kind, name)

    @property
    def has_more_to_list(self) -> bool:
        return bool(self._unlisted)

    def rings(self) -> dict[str, list[str]]:
        """Return the members of each ring that has any, in the order of their turns."""
        nodes = [self.root, *self._nodes.values()]
        return {
            node.ring_name: [each.member for *_, each in node.ring] for node in nodes if node.ring
        }

    # Lanes, marks and timers.

    def _put(self, message_id: str, place: Place) -> None:
        one = self.messages[message_id]
        one.place = place
        insort(self._lanes[one.lane], (place, message_id))
        if place[0] <= self.now:
            self._mark(one.lane)
        elif one.lane not in self._marks:
            self._timers[one.lane] = min(place[0], self._timers.get(one.lane, place[0]))

    def _mark(self, lane: LaneName) -> None:
        if lane not in self._marks:
            number = 1 + sum(each.sender == lane.sender for each in self._marks)
            self._marks[lane] = (lane.priority != "urgent", number, next(self._numbers))
            self._timers.pop(lane, None)

    def _enter_due(self) -> list[LaneName]:
        due = [lane for lane, at in self._timers.items() if at <= self.now]
        entered = [
            *sorted(self._marks, key=self._marks.__getitem__),
            *sorted(due, key=self._timers.__getitem__),
        ]
        self._marks = {}
        for lane in due:
            del self._timers[lane]
        for lane in entered:
            self._enter(self._node_of(lane))
        for kind, name in sorted(self.parked, key=self.parked.__getitem__):
            if self.parked[kind, name] <= self.now:
                self._unpark(kind, name)
        if self._over():
            self._enter(self._node("expired"))
        return entered

    # The tree.

    def _node(self, *names: str, lane: LaneName | None = None) -> Node:
        """Return a node of the tree: its class, and below that its account, sender and lane."""
        if names not in self._nodes:
            owner = self._node(*names[:-1]) if names[1:] else self.root
            cost = 1 if names[1:] else COSTS[names[0]]
            is_parked = _stands_for(names) in self.parked
            ring_name = _RINGS[len(names) - 1].format(names[0], names[-1])
            node = Node(names[-1], ring_name, owner, cost, lane, is_parked=is_parked)
            self._nodes[names] = node
        return self._nodes[names]

    def _node_of(self, lane: LaneName) -> Node:
        return self._node(lane.priority, lane.account, lane.sender, str(lane), lane=lane)

    def _enter(self, node: Node) -> None:
        owner = node.owner
        if node.is_parked or owner is None or any(each is node for *_, each in owner.ring):
            return
        insort(owner.ring, (max(owner.time, owner.kept.pop(node, 0)), next(self._numbers), node))
        self._enter(owner)

    def _leave(self, node: Node) -> None:
        owner = node.owner
        pass_ = owner.take(node) if owner else None
        if owner is None or pass_ is None:
            return
        if owner.ring:
            owner.keep(node, pass_)
        else:
            owner.forget()
            self._leave(owner)

    def _of(self, kind: Kind, name: str) -> Iterator[Node]:
        """Yield what stands for a sender or an account in each class."""
        for priority in ("urgent", "normal", "bulk"):
            for names, node in list(self._nodes.items()):
                if names[0] == priority and _stands_for(names) == (kind, name):
                    yield node

    def _park(self, kind: Kind, name: str) -> None:
        self.parked[kind, name] = self._pauses[kind, name]
        for node in self._of(kind, name):
            node.is_parked = True
            self._leave(node)

    def _unpark(self, kind: Kind, name: str) -> None:
        if self.parked.pop((kind, name), None) is None:
            return
        for node in self._of(kind, name):
            node.is_parked = False
            if node.ring:
                self._enter(node)

    # Turns.

    def _waiting(self, node: Node) -> list[Node]:
        """Return the members of a ring that are not set aside."""
        return [each for *_, each in node.ring if each not in self._aside]

    def _room(self, node: Node, room: ClaimRoom | None, taken: list[str], limit: int) -> int:
        """Return how many more messages of a class, an account or a sender may be taken."""
        left = limit - len(taken)
        if room is None:
            return left
        if node.owner is self.root:
            is_first = node.member in ("urgent", "expired")
            return left if is_first else min(left, room.ordinary - len(taken))
        is_account = node.owner is not None and node.owner.owner is self.root
        share = room.account_share if is_account else room.sender_share
        held = (room.accounts if is_account else room.senders).get(node.member, 0)
        lanes = [self.messages[each].lane for each in taken]
        held += [each.account if is_account else each.sender for each in lanes].count(node.member)
        return share - held

    def _path(self, room: ClaimRoom | None, taken: list[str], limit: int) -> list[Node] | None:
        """Return who has the next turn at each level. Set aside who has no room or is paused, and
        then return None if no member below may have a turn.
        """
        path = [self._waiting(self.root)[0]]
        if self._room(path[0], room, taken, limit) <= 0:
            self._pass_over(path[0])
            return None
        while path[0].member != "expired" and path[-1].ring:
            waiting = self._waiting(path[-1])
            if path[-1].lane is None and len(path) < 3:
                while waiting and self._room(waiting[0], room, taken, limit) <= 0:
                    self._pass_over(waiting.pop(0))
            if len(path) == 2 and self._set_aside_paused("account", path[-1]):
                return None
            if not waiting:
                self._aside.append(path[-1])
                return None
            if len(path) == 2 and self._set_aside_paused("sender", waiting[0]):
                return None
            path.append(waiting[0])
        return path

    def _pass_over(self, node: Node) -> None:
        self._aside.append(node)
        self.has_passed_over = True

    def _set_aside_paused(self, kind: Kind, node: Node) -> bool:
        if not self.is_paused(kind, node.member):
            return False
        self._aside.append(node)
        self._to_park[kind, node.member] = None
        return True

    def _turn(
        self, taken: list[str], limit: int, left: set[LaneName], room_: ClaimRoom | None
    ) -> None:
        path = self._path(room_, taken, limit)
        if path is None:
            return
        if path[0].member == "expired":
            got, has_more = self._sweep(min(QUANTUM, limit - len(taken)))
            taken += got
            self._charge(path, QUANTUM if has_more else len(got), has_more=has_more)
            return
        lane = path[-1].lane
        assert lane is not None
        is_alone = all(node.owner and len(self._waiting(node.owner)) == 1 for node in path)
        room = min(self._room(node, room_, taken, limit) for node in path[:3])
        due = [each for place, each in self._lanes[lane] if place[0] <= self.now]
        got = due[: room if is_alone else min(QUANTUM, room)]
        for message_id in got:
            self._take(message_id)
        taken += got
        has_more = len(due) > len(got)
        if not has_more:
            left.add(lane)
            self._wait(lane)
        self._charge(path, len(got), has_more=has_more)

    def _wait(self, lane: LaneName) -> None:
        if self._lanes[lane]:
            self._timers[lane] = self._lanes[lane][0][0][0]
        else:
            self._listed.pop(lane, None)

    def _take(self, message_id: str) -> None:
        one = self.messages[message_id]
        assert one.place is not None
        self._lanes[one.lane].remove((one.place, message_id))
        one.place = None

    def _charge(self, path: list[Node], taken: int, *, has_more: bool) -> None:
        before = max(0, -(-taken // QUANTUM) - 1) * QUANTUM
        for node in reversed(path):
            owner = node.owner
            assert owner is not None
            pass_ = owner.take(node)
            assert pass_ is not None
            if not has_more and not owner.ring:
                owner.forget()
                continue
            owner.time = max(owner.time, pass_ + before * node.cost)
            pass_ += taken * node.cost
            if has_more:
                insort(owner.ring, (pass_, next(self._numbers), node))
            else:
                owner.keep(node, pass_)
            has_more = True

    # Expiry.

    def _over(self) -> list[int]:
        return sorted(minute for minute in self._minutes if minute <= self.now)

    def _list(self, one: Queued) -> None:
        self._minutes.setdefault(max(one.expires, self.now), []).append(one.message_id)

    def _list_some(self, entered: list[LaneName]) -> None:
        claim = next(self._numbers)
        for lane in entered:
            self._unlisted.setdefault(lane, claim)
        room = MAX_LOOKS
        while room > 0 and self._unlisted:
            lane = min(self._unlisted, key=lambda each: (self._unlisted[each], str(each)))
            place = self._listed.get(lane, ((0, 0, -1), ""))
            due = [each for each in self._lanes[lane] if each[0][0] <= self.now and each > place]
            for _, message_id in due[:room]:
                self._list(self.messages[message_id])
            if len(due) >= room:
                self._listed[lane] = due[room - 1]
                return
            if due:
                self._listed[lane] = (due[-1][0], LAST)
            later = [place[0] for place, _ in self._lanes[lane] if place[0] > self.now]
            if later:
                self._timers[lane] = min(later)
            del self._unlisted[lane]
            room -= max(1, len(due))

    def _sweep(self, room: int) -> tuple[list[str], bool]:
        taken: list[str] = []
        for _ in range(MAX_LOOKS):
            over = self._over()
            if len(taken) == room or not over:
                return taken, len(taken) == room
            if not self._minutes[over[0]]:
                del self._minutes[over[0]]
                continue
            one = self.messages.get(self._minutes[over[0]].pop(0))
            if one and one.place is not None and one.expires <= self.now:
                self._take(one.message_id)
                taken.append(one.message_id)
        return taken, True


def _stands_for(names: tuple[str, ...]) -> tuple[Kind, str] | None:
    """Return the account or the sender that a node stands for."""
    kinds: dict[int, Kind] = {2: "account", 3: "sender"}
    return (kinds[len(names)], names[-1]) if len(names) in kinds else None
