"""What a person told us: a message, or consent."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Inbound:
    """A person wrote to us.

    `keyword`: what `policies.keywords` made of the text or the tap. `wa_id`: WhatsApp's own digits for the phone, or
    empty. `received_at` None: the store's now.
    """

    message_sid: str
    sender: str
    account: str
    address: str = field(repr=False)
    keyword: str | None = None
    received_at: datetime | None = None
    wa_id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class InboundApplied:
    """`first`: not a repetition. `opted`: the keyword where it changed something. `released`: what waited for it.

    `open_permits_ms`: until the person's last unsettled permit lapses, by the store's clock; 0: every one is settled.
    """

    first: bool
    opted: str | None
    released: int
    person_digest: str
    open_permits_ms: int


@dataclass(frozen=True, slots=True)
class SuspectedStop:
    """Something a person wrote that may mean stop, until somebody decides. Twilio has its text as `message_sid`."""

    person_digest: str
    account: str
    since: datetime
    message_sid: str
    sender: str


@dataclass(frozen=True, slots=True)
class ConsentEntry:
    """One line of the append-only consent ledger.

    `purpose` None: all purposes. `sender` None: every sender of the account. `at`: when the person said so; None: now.
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
