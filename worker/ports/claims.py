"""Messages that a worker claimed, and messages whose lease ran out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from sendwindow.vocabulary import Stage
from worker.ports.stored_facts import StoredFacts

CRASHES_IN_COMPANY: Final = 2
"""A message is a suspect after this many workers crashed with it in flight.

The Lua scripts contain the same number.
"""


class Suspects(StrEnum):
    """When a claim may return a suspect: a message that two workers in a row crashed on.

    A suspect goes alone to a worker that has nothing in flight. The claim returns one never, before
    everything else (`first`), or only while nothing else is due (`last`).
    """

    NEVER = "never"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose message it is, for the division of slots. `account` is '' while it is not known."""

    account: str
    sender: str
    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class ClaimRoom:
    """How many more messages a worker has room for, within the limit of a claim.

    `ordinary`: how many may be of another class than urgent. `accounts` and `senders`: how
    many it holds of each. None may have more than its share.
    """

    ordinary: int
    account_share: int
    sender_share: int
    accounts: Mapping[str, int] = field(default_factory=dict)
    senders: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A message that this worker holds under a lease.

    `payload`: the job in wire form, None when Redis no longer has it.

    `attempts`: the number of the last attempt. `tries`: how many of the attempts may have started
    their POST. Retry limits count tries.
    """

    message_id: str
    fence: int
    payload: bytes | None
    attempts: int
    expires_at: datetime
    crashes: int
    cancel_asked: bool
    facts: StoredFacts
    enqueued_at: datetime
    owner: Owner
    tries: int = 0


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """The result of one claim. `now`: the store's clock at the claim.

    `next_due_at`: when the next timer is due, None when there is no timer.

    `is_called`: a suspect is due, and this worker is to drain for it. `in_unknown_stage`: ids of
    messages in a stage that only a newer version knows. Each is returned once, and all of them stay
    in their lanes. `passed_over`: there is due work that this worker has no room for.
    """

    claimed: tuple[ClaimedMessage, ...]
    now: datetime
    next_due_at: datetime | None
    is_called: bool = False
    in_unknown_stage: tuple[str, ...] = ()
    passed_over: bool = False


@dataclass(frozen=True, slots=True)
class Reaped:
    """A message whose lease ran out.

    `stage`: queued (no intent recorded), unknown (an intent, but no outcome) or dead (poison).
    """

    message_id: str
    stage: Stage
    attempt: int
