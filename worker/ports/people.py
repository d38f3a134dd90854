"""What a person tells us: an inbound message, or consent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from worker.ports.stored_facts import StoredFacts


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that a person wrote to us.

    `keyword`: what `policies.keywords` found in the text or the tapped button. `wa_id`: WhatsApp's
    own digits for the phone number, or empty. `received_at`: None means now, by the store's clock.
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
    """What an inbound message changed. `first`: it is not a repeat.

    `opted`: the keyword, if it changed something. `released`: how many messages waited for it.

    `open_permits_ms`: how long until the person's last unsettled permit lapses, by the store's
    clock; 0 when every permit is settled.
    """

    first: bool
    opted: str | None
    released: int
    person_digest: str
    open_permits_ms: int


@dataclass(frozen=True, slots=True)
class SuspectedStop:
    """A text that a person wrote and that may mean stop. It waits for an operator's decision.

    Twilio has the text under `message_sid`.
    """

    person_digest: str
    account: str
    since: datetime
    message_sid: str
    sender: str


@dataclass(frozen=True, slots=True)
class ConsentEntry:
    """One line of the append-only consent ledger.

    `purpose`: None means all purposes. `sender`: None means every sender of the account. `at`: when
    the person said so; None means now.
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


class People(Protocol):
    """Records and reads what we know about persons."""

    async def apply_inbound(self, inbounds: Sequence[Inbound]) -> list[InboundApplied]:
        """Apply inbound messages, each in one atomic step.

        The step drops repeats, moves session windows, applies keywords and releases messages that
        wait for the person.
        """
        ...

    async def permits_left_ms(self, digest: str) -> int:
        """Return the milliseconds until a person's last unsettled permit lapses.

        By the store's clock. 0 when every permit is settled; negative when an unsettled permit has
        lapsed already.
        """
        ...

    async def record_consent(
        self, address: str, entry: ConsentEntry, *, after_stop: bool = False
    ) -> Literal["recorded", "opted_out"]:
        """Append an entry to the consent ledger, and merge it into the ledger's projection.

        A grant after a withdrawal in force is recorded only with `after_stop`.
        """
        ...

    async def allow(self, address: str) -> int:
        """End the suppression of an address and what errors hold back from its person.

        Returns how many of these ended.
        """
        ...

    async def consents(self, address: str) -> list[Mapping[str, object]]:
        """Return the consent ledger of a person, oldest entry first."""
        ...

    async def facts(
        self, address: str, sender: str, account: str, content_sid: str | None
    ) -> StoredFacts:
        """Return what a decision would see now. Writes nothing."""
        ...

    def digest(self, address: str) -> str:
        """Return the keyed digest that stands for a person in Redis keys."""
        ...
