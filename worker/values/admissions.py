"""Asking for the permit to POST, and the answers."""

from dataclasses import dataclass
from datetime import datetime

from policies.decision import Seen, Trace
from sendwindow.vocabulary import Reason
from worker.values.facts import StoredFacts


@dataclass(frozen=True, slots=True)
class AdmitRequest:
    """Asks for a permit. `template`: the ContentSid that would be sent. `person_cap` 0: none.

    `relies_on_tag`: the POST relies on an unproven ACCOUNT_UPDATE tag. `listing`: names the list at Twilio that will
    show the message. `is_marketing`, `to_user_id`: it sends a marketing template, it goes to a WhatsApp user id; kept
    with the attempt, because some errors mean something else then. `other_digests`: as in `StoredFacts`.
    """

    message_id: str
    fence: int
    attempt: int
    person_digest: str
    sender: str
    account: str
    template: str | None
    seen: Seen
    valid_until: datetime
    reason: Reason
    trace: Trace
    person_cap: int = 0
    relies_on_tag: bool = False
    listing: str = ""
    is_marketing: bool = False
    to_user_id: bool = False
    other_digests: str = ""


@dataclass(frozen=True, slots=True)
class Permit:
    """The intent is written; the POST may start until `lapses_at` on the worker's monotonic clock (seconds)."""

    message_id: str
    fence: int
    attempt: int
    lapses_at: float


@dataclass(frozen=True, slots=True)
class Stale:
    """A fact changed since it was seen, or `valid_until` has passed: decide again with these."""

    facts: StoredFacts
    now: datetime


@dataclass(frozen=True, slots=True)
class Later:
    """May not go now for a reason outside this message: give it back until then."""

    reason: Reason
    until: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Cancel was asked for before admission: end it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease or the fence is no longer ours: do nothing with this message."""


Admission = Permit | Stale | Later | Cancelled | Lost
