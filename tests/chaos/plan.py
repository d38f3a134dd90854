"""The steps of the nemesis, drawn from a seed before the start, so that a seed names a run.

Pure.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sendwindow.contract import SendMessage
from sendwindow.vocabulary import OnUnknown, Priority, Purpose
from tests.chaos.stop_at import POINTS
from tests.support.cast import phone


class Fault(StrEnum):
    """A fault of a process, of the store, or of Twilio."""

    KILL_AT_POINT = "kill_at_point"
    KILL = "kill"
    FREEZE = "freeze"
    RESTART = "restart"
    STORE_KILL = "store_kill"
    STORE_PAUSE = "store_pause"
    SCRIPT_FLUSH = "script_flush"
    RATE_LIMIT = "rate_limit"


GATEWAY_POINTS = frozenset({"callback_before_write", "callback_after_write"})


@dataclass(frozen=True, slots=True)
class Step:
    """A fault that is due once `after` messages were accepted.

    `target` is the number of a worker.
    """

    after: int
    fault: Fault
    target: int = 0
    point: str = ""
    nth: int = 1

    @property
    def hits_gateway(self) -> bool:
        return self.point in GATEWAY_POINTS


@dataclass(frozen=True, slots=True)
class Doses:
    """How often each fault happens in a run of `messages`."""

    messages: int
    people: int
    workers: int
    each_point: int
    kills: int
    freezes: int
    restarts: int
    store_kills: int
    store_pauses: int
    script_flushes: int
    rate_limits: int


FEW = Doses(
    100,
    30,
    2,
    each_point=0,
    kills=1,
    freezes=0,
    restarts=1,
    store_kills=1,
    store_pauses=0,
    script_flushes=1,
    rate_limits=0,
)
SHORT = Doses(
    300,
    60,
    2,
    each_point=1,
    kills=1,
    freezes=1,
    restarts=1,
    store_kills=1,
    store_pauses=0,
    script_flushes=1,
    rate_limits=1,
)
LONG = Doses(
    17_000,
    600,
    4,
    each_point=7,
    kills=7,
    freezes=5,
    restarts=7,
    store_kills=3,
    store_pauses=2,
    script_flushes=3,
    rate_limits=2,
)
"""A third of what must be shown: a run of the long suite uses three seeds."""

RULES = (OnUnknown.HOLD, OnUnknown.HOLD, OnUnknown.HOLD, *OnUnknown)


def plan(seed: int, doses: Doses) -> Sequence[Step]:
    """Return the steps of a run, drawn in the order in which they fall due."""
    chance = random.Random(seed)
    faults: list[tuple[Fault, str]] = [
        (Fault.KILL_AT_POINT, point) for point in POINTS
    ] * doses.each_point
    for fault, count in (
        (Fault.KILL, doses.kills),
        (Fault.FREEZE, doses.freezes),
        (Fault.RESTART, doses.restarts),
        (Fault.STORE_KILL, doses.store_kills),
        (Fault.STORE_PAUSE, doses.store_pauses),
        (Fault.SCRIPT_FLUSH, doses.script_flushes),
        (Fault.RATE_LIMIT, doses.rate_limits),
    ):
        faults += [(fault, "")] * count
    chance.shuffle(faults)
    apart = doses.messages * 0.9 / len(faults)
    return tuple(
        Step(
            after=int(apart * (number + 0.5)),
            fault=fault,
            target=chance.randrange(doses.workers),
            point=point,
            nth=chance.randint(1, 8),
        )
        for number, (fault, point) in enumerate(faults)
    )


def message(seed: int, number: int, people: int) -> SendMessage:
    """Return a message: the same for the same seed, whatever happened before it.

    Persons have phones only, and every text names its message, so no row of a list can belong to
    another message.
    """
    chance = random.Random(f"{seed}/{number}")
    to = phone(chance.randrange(people))
    is_text = number % 5 == 4
    content: dict[str, Any] = {"freeform": {"body": f"Order {number} has left the warehouse."}}
    if not is_text:
        content["template"] = {
            "name": "order_update",
            "language": "en",
            "variables": {"1": str(number)},
        }
    return SendMessage(
        to=to if is_text else f"whatsapp:{to}",
        sender="text" if is_text else "shop",
        purpose=Purpose.UTILITY,
        message_id=f"m{number}",
        priority=chance.choice(tuple(Priority)),
        on_unknown=chance.choice(RULES),
        **content,
    )
