"""The value a message is at each hop: claimed, permitted, posted, settled.

Frozen; closed unions matched with `assert_never`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from policies.decision import Seen, Trace
from policies.facts import PersonFact, TagFact
from sendwindow.vocabulary import OnUnknown, Reason, Stage

# -- claim ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredState:
    """What the store says of a sender, an account or a template beyond the configuration."""

    revision: int = 0
    state: str | None = None
    paused_until: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """The stored half of `policies.facts.Facts`; the configured half is joined in `worker/dispatch/facts.py`."""

    person_digest: str
    person: PersonFact
    sender: StoredState = StoredState()
    account: StoredState = StoredState()
    template: StoredState = StoredState()
    tag: TagFact = TagFact()


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this worker holds under a lease. `payload` is the job in wire form, None when it is gone.

    `attempts`: number of the last attempt; `tries`: those of them whose POST may have started, what retries count.
    """

    message_id: str
    fence: int
    payload: bytes | None
    attempts: int
    expires_at: datetime
    on_unknown: OnUnknown
    redecided: bool
    crashes: int
    cancel_asked: bool
    facts: StoredFacts
    enqueued_at: datetime
    tries: int = 0


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """`now`: the store's clock at the claim. `next_due_at`: when the next timer falls due, None when there is none."""

    claimed: tuple[Claimed, ...]
    now: datetime
    next_due_at: datetime | None


# -- admit ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AdmitRequest:
    """Asks for a permit. `person_cap` 0: none. `claims_tag`: the POST relies on an unproven ACCOUNT_UPDATE tag."""

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

# -- POST ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """Credentials and base URL of a Twilio account. `username` is the Account SID or an API key's SID."""

    name: str
    account_sid: str
    username: str
    password: str = field(repr=False)
    base_url: str = "https://api.twilio.com"
    webhook_tokens: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class CreateMessage:
    """One POST to the Messages API, ready to encode; `form` holds only parameters of facts 1.1, in a fixed order."""

    account: str
    form: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Twilio gave the message a SID."""

    message_sid: str
    status: str
    http_status: int = 201


@dataclass(frozen=True, slots=True)
class Rejected:
    """Proven not processed: a Twilio error code with a 4xx, or 429 with 20429. `retry_after` in seconds when given."""

    http_status: int
    code: int | None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """Proven that no byte of the request left.

    refused connection, DNS, TLS handshake, connect timeout, lapsed permit.
    """

    detail: str


@dataclass(frozen=True, slots=True)
class Unproven:
    """Bytes may have left and no proof came back.

    `excerpt` is the cut answer, without personal data where it was readable.
    """

    reason: Reason
    detail: str
    http_status: int | None = None
    code: int | None = None
    excerpt: str = field(default="", repr=False)


Reply = Accepted | Rejected | NotSent | Unproven

# -- effects on what is known --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CloseWindow:
    """The provider says the window is closed (63016)."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """The provider says the person stopped (21610, 63014, 63033).

    `sender_only`: scope is this sender, else account and channel.
    """

    sender_only: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class PauseSender:
    """Nothing more goes out from this sender for `seconds`."""

    seconds: int
    reason: str


@dataclass(frozen=True, slots=True)
class PauseAccount:
    """Nothing more goes out from this account for `seconds`."""

    seconds: int
    reason: str


@dataclass(frozen=True, slots=True)
class SetTemplate:
    """The template's approval as the provider's error shows it (`rejected`, `paused`, `disabled`).

    `seconds` 0: until reset.
    """

    state: str
    reason: str
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class SetTag:
    """ACCOUNT_UPDATE on this Page is proven or dead."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class SuppressAddress:
    """Nothing goes to this address for `seconds` (63003, 63024, 21211 …)."""

    seconds: int
    reason: str


Effect = CloseWindow | OptOut | PauseSender | PauseAccount | SetTemplate | SetTag | SuppressAddress

# -- settle --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SettleAccepted:
    """Dispatch end `accepted`, with Twilio's SID."""

    message_sid: str
    status: str


@dataclass(frozen=True, slots=True)
class SettleEnd:
    """Any other dispatch end."""

    stage: Stage
    reason: Reason
    code: int | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class SettleAgain:
    """Back to its lane, due at `due_at` (or `delay_ms` from the store's now). `stage` is waiting, retrying or queued.

    `on_inbound`: also released when the person writes. `redecided`: the one re-decision after 63016 is used up.
    """

    stage: Stage
    reason: Reason
    due_at: datetime | None = None
    delay_ms: int = 0
    on_inbound: bool = False
    redecided: bool = False
    code: int | None = None
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class SettleUnknown:
    """Parked as `unknown`; evidence is looked for at `look_after_ms` from now."""

    reason: Reason
    detail: str
    look_after_ms: int
    code: int | None = None


Result = SettleAccepted | SettleEnd | SettleAgain | SettleUnknown


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to record for one attempt.

    `attempt` 0: no permit was used. `posted`: a POST started (tokens and cap stay used).
    """

    message_id: str
    fence: int
    attempt: int
    result: Result
    person_digest: str
    sender: str
    account: str
    template: str | None = None
    effects: tuple[Effect, ...] = ()
    trace: Trace | None = None
    posted: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of it.

    `applied` False: late (another fence took over); an accepted SID was still kept as evidence.
    """

    applied: bool
    stage: Stage


# -- recovery ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reaped:
    """A message whose lease ran out.

    `stage`: queued again (no intent), unknown (intent, no outcome) or dead (poison).
    """

    message_id: str
    stage: Stage
    attempt: int


@dataclass(frozen=True, slots=True)
class UnknownAttempt:
    """An attempt in stage `unknown` whose evidence is due. `now`: the store's clock.

    `looks`: searches made before this one. `reason`: why its outcome is unknown. `was_template`: which form went out,
    None when the store does not say.
    """

    message_id: str
    attempt: int
    intent_at: datetime
    now: datetime
    on_unknown: OnUnknown
    expires_at: datetime
    payload: bytes | None = field(repr=False)
    looks: int = 0
    reason: Reason = Reason.OUTCOME_TIMEOUT
    person_digest: str = ""
    was_template: bool | None = None


@dataclass(frozen=True, slots=True)
class RivalAttempt:
    """Another attempt to the same person that is not proven: what Twilio shows of this person may be its message."""

    message_id: str
    attempt: int
    intent_at: datetime
    payload: bytes | None = field(repr=False)
    was_template: bool | None = None


@dataclass(frozen=True, slots=True)
class SettleUnresolved:
    """Listed as `unresolved` until late evidence or a person resolves it; the job is kept."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """What becomes of an unknown attempt.

    SettleAgain: sent again; SettleUnknown: looked at again; else ended or listed.
    """

    message_id: str
    attempt: int
    result: SettleAgain | SettleEnd | SettleUnknown | SettleUnresolved


@dataclass(frozen=True, slots=True)
class MissingStatus:
    """An accepted message whose final status has not come."""

    message_id: str
    attempt: int
    message_sid: str
    sender: str


# -- status callbacks ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One status callback, parsed and verified. `message_id` and `attempt` come from the signed query, None without it.

    `rank` and `final` come from `policies.status`; `status` is verbatim. `evidence`: what resolves an unknown attempt
    when this proves it (a callback, or a row of Twilio's list). `redecides`: the failure says that the window is
    closed, which allows one new decision.
    """

    message_sid: str
    status: str
    rank: int
    is_final: bool
    is_failure: bool
    code: int | None
    message_id: str | None
    attempt: int | None
    effects: tuple[Effect, ...] = ()
    reopen_after_ms: int | None = None
    evidence: Reason = Reason.EVIDENCE_CALLBACK
    redecides: bool = False


@dataclass(frozen=True, slots=True)
class StatusApplied:
    """`moved`: the status advanced. `resolved`: it proved an unknown attempt. `known`: a message was found.

    `reopened`: the failure made it a message to send again, as a new attempt. `unbound`: the message id and attempt
    that
    a list had wrongly been taken to show under this SID; its outcome is unknown again.
    """

    known: bool
    moved: bool
    resolved: bool
    message_id: str | None
    reopened: bool = False
    unbound: tuple[str, int] | None = None


# -- inbound -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inbound:
    """A person wrote to us.

    `keyword`: what `policies.keywords` made of the whole text. `received_at` None: the store's now.
    """

    message_sid: str
    sender: str
    account: str
    address: str = field(repr=False)
    keyword: str | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InboundApplied:
    """`first`.

    not a repetition. `opted`: stop, start or None. `released`: messages that waited for it. `open_until`: latest open
    permit, ms to wait.
    """

    first: bool
    opted: str | None
    released: int
    person_digest: str
    open_permits_ms: int


# -- consent and records -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConsentEntry:
    """One line of the append-only consent ledger.

    `purpose` None: all purposes. `sender` None: every sender of the account.
    """

    granted: bool
    account: str
    purpose: str | None
    sender: str | None
    source: str
    wording: str = ""
    evidence: str = ""
    at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A message as the ledger has it: its row, its timeline, and the job while it lasts."""

    message_id: str
    row: Mapping[str, str]
    timeline: tuple[Mapping[str, Any], ...]
    payload: bytes | None = field(default=None, repr=False)
