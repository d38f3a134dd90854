"""The tree of rings of the model of claims: classes, their accounts, senders and lanes."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LaneName:
    """The parts of a lane, and the account of its sender."""

    account: str
    sender: str
    priority: str
    campaign: str

    def __str__(self) -> str:
        return f"{self.sender}|{self.priority}|{self.campaign}"


@dataclass(eq=False, slots=True)
class Node:
    """A member of the ring of its owner, and the ring below it."""

    member: str
    ring_name: str
    owner: "Node | None" = None
    cost: int = 1
    lane: LaneName | None = None
    ring: list[tuple[int, int, "Node"]] = field(default_factory=list)
    kept: dict["Node", int] = field(default_factory=dict)
    time: int = 0
    is_parked: bool = False
    number: int = 0
    """The order of arrival that it had when it was taken out last."""

    def keep(self, member: "Node", pass_: int) -> None:
        if pass_ > self.time:
            self.kept[member] = pass_

    def forget(self) -> None:
        self.ring, self.kept, self.time = [], {}, 0

    def take(self, member: "Node") -> int | None:
        """Take a member out. Return its pass."""
        for entry in self.ring:
            if entry[2] is member:
                self.ring.remove(entry)
                member.number = entry[1]
                return entry[0]
        return None
