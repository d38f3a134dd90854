"""Requests for a permit to POST, and their results."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from policies.decision import SeenRevisions, Trace
from policies.rate_limits import Pace
from sendwindow.vocabulary import Reason
from worker.ports.stored_facts import StoredFacts


@dataclass(frozen=True, slots=True)
class PostLimit:
    """How many POSTs an account may have open at once, and for how long one counts at most."""

    most: int
    term: timedelta


@dataclass(frozen=True, slots=True)
class PortfolioLimit:
    """To how many people a portfolio may write outside an open window in 24 hours."""

    name: str
    people: int


@dataclass(frozen=True, slots=True)
class Charge:
    """What a message is charged to its limits: `units`, at the pace of each limit.

    A limit of None means that there is no such limit. `is_urgent`: it goes before other messages to
    its person.
    """

    units: int = 1
    account: Pace | None = None
    sender: Pace | None = None
    pair: Pace | None = None
    posts: PostLimit | None = None
    portfolio: PortfolioLimit | None = None
    is_urgent: bool = False


UNLIMITED: Final = Charge()


@dataclass(frozen=True, slots=True)
class AdmitRequest:
    """A request for a permit to POST.

    `template`: the ContentSid that would be sent. `person_cap`: 0 means no cap. `relies_on_tag`:
    the POST relies on an unproven ACCOUNT_UPDATE tag. `listing`: names the list at Twilio that will
    show the message. `other_digests`: as in `StoredFacts`.

    `is_marketing`: the POST sends a marketing template. `to_user_id`: it goes to a WhatsApp user
    id. Redis stores both with the attempt, because some errors mean something else in these cases.
    """

    message_id: str
    fence: int
    attempt: int
    person_digest: str
    sender: str
    account: str
    template: str | None
    seen: SeenRevisions
    valid_until: datetime
    reason: Reason
    trace: Trace
    person_cap: int = 0
    relies_on_tag: bool = False
    listing: str = ""
    is_marketing: bool = False
    to_user_id: bool = False
    other_digests: str = ""
    charge: Charge = UNLIMITED


@dataclass(frozen=True, slots=True)
class Permit:
    """The permission to start one POST. Its intent is recorded.

    The POST may start until `lapses_at` (seconds, the worker's monotonic clock).
    """

    message_id: str
    fence: int
    attempt: int
    lapses_at: float


@dataclass(frozen=True, slots=True)
class Stale:
    """A fact has changed since the worker read it, or `valid_until` has passed.

    The worker decides again with these facts.
    """

    facts: StoredFacts
    now: datetime


@dataclass(frozen=True, slots=True)
class Later:
    """The message may not go out now, for a reason outside the message.

    The worker returns it to its lane until that instant.
    """

    reason: Reason
    until: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Cancellation was requested before admission. The worker ends the message."""


@dataclass(frozen=True, slots=True)
class Lost:
    """This worker no longer has the lease, or its fence is too old. It leaves the message alone."""


Admission = Permit | Stale | Later | Cancelled | Lost
