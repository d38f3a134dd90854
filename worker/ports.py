"""What the pipe, the gateway and the commands ask of the stores. `worker/stores/` answers; nothing else knows Redis.

Every call is safe to repeat after a lost reply: by message id, request id or fence.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol

from sendwindow.vocabulary import Stage
from worker.values.admissions import Admission, AdmitRequest
from worker.values.adoptions import Adopted
from worker.values.claims import ClaimBatch, Reaped, Suspects
from worker.values.facts import StoredFacts
from worker.values.people import ConsentEntry, Inbound, InboundApplied
from worker.values.records import Record
from worker.values.settlements import Settled, Settlement
from worker.values.statuses import MissingStatus, StatusApplied, StatusUpdate
from worker.values.unknowns import Resolution, RivalAttempt, UnknownAttempt


class Ledger(Protocol):
    """A message's way: claim, admit, settle; leases kept and reaped."""

    async def claim(self, limit: int, suspects: Suspects = Suspects.NEVER) -> ClaimBatch:
        """Take up to `limit` due messages with a lease, a fence and their facts; or one suspect, alone."""
        ...

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        """Write the intent and grant a permit, one answer a request in order."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Record outcomes and apply their effects, one answer a settlement in order."""
        ...

    async def renew(self, held: Sequence[tuple[str, int]]) -> list[str]:
        """Renew the leases of (message id, fence); answers the ids that are no longer ours."""
        ...

    async def release(self, held: Sequence[tuple[str, int]]) -> list[Stage | None]:
        """Give claims (message id, fence) back untouched, at no cost to their tries.

        Answers for each the stage it came to, None when it was not ours. Who was asked to cancel ends.
        """
        ...

    async def reap(self, limit: int) -> list[Reaped]:
        """Move on messages whose lease ran out."""
        ...

    async def adopt(self, limit: int) -> Adopted:
        """Take jobs of plain arq producers into lanes and honour `arq:abort`; names those nobody could read."""
        ...

    async def wait_for_work(self, timeout: float) -> bool:
        """Block until a lane became ready or `timeout` seconds passed."""
        ...


class People(Protocol):
    """What is known about persons."""

    async def apply_inbound(self, inbounds: Sequence[Inbound]) -> list[InboundApplied]:
        """Deduplicate, move windows, apply keywords, release waiting messages; one atomic step each."""
        ...

    async def permits_left_ms(self, digest: str) -> int:
        """Milliseconds by the store's clock until the last unsettled permit of a person lapses.

        0 when every permit is settled; negative when one is not and has lapsed by that clock.
        """
        ...

    async def record_consent(
        self, address: str, entry: ConsentEntry, *, after_stop: bool = False
    ) -> Literal["recorded", "opted_out"]:
        """Append to the consent ledger and unite its projection with the entry.

        No grant after a withdrawal in force, unless told.
        """
        ...

    async def allow(self, address: str) -> int:
        """End the suppression of an address and what errors hold back from its person; how much ended."""
        ...

    async def consents(self, address: str) -> list[Mapping[str, object]]:
        """The consent ledger of a person, oldest first."""
        ...

    async def facts(self, address: str, sender: str, account: str, content_sid: str | None) -> StoredFacts:
        """What a decision would see now; writes nothing."""
        ...

    def digest(self, address: str) -> str:
        """The keyed digest that names a person in keys."""
        ...


class Statuses(Protocol):
    """What providers report back."""

    async def apply(self, updates: Sequence[StatusUpdate]) -> list[StatusApplied]:
        """Move statuses forward only; bind SIDs to the attempts they name."""
        ...


class Unknowns(Protocol):
    """Attempts whose outcome is not proven, and accepted messages whose callbacks stay away (`Store.unknowns`)."""

    async def due(self, limit: int, again_after_ms: int, passing_over: Collection[str] = ()) -> list[UnknownAttempt]:
        """Take up to `limit` unknown attempts of one purpose and account, whose search is due and the most urgent.

        None is handed out again before `again_after_ms`, whoever asks. Accounts take turns, but those in
        `passing_over`.
        """
        ...

    async def give_back(self, message_ids: Sequence[str]) -> None:
        """Make unknown attempts due again that were taken and not looked for."""
        ...

    async def resolve(self, resolutions: Sequence[Resolution]) -> list[Stage | None]:
        """Act by the messages' rules; for each the stage it came to, None when the attempt is no longer unknown.

        A message somebody asked to cancel ends as cancelled instead of going out again.
        """
        ...

    async def owners(self, message_sids: Sequence[str]) -> list[tuple[str, int] | None]:
        """The (message id, attempt) each SID is bound to; None for a SID nobody here knows."""
        ...

    async def rivals(self, person_digest: str, message_id: str, since: datetime) -> list[RivalAttempt] | None:
        """The other unproven attempts to a person, at least those begun at or after `since`; None: too many to name.

        Ask after a list was read: what is admitted later cannot be on it.
        """
        ...

    async def missing(
        self, limit: int, quiet_for_ms: int, again_after_ms: int, passing_over: Collection[str] = ()
    ) -> list[MissingStatus]:
        """Take up to `limit` messages of one account, accepted at least `quiet_for_ms` ago without a final status.

        None is handed out again before `again_after_ms`, an old one later. Accounts take turns, but those in
        `passing_over`. What is older than 48 h is let go of and counted.
        """
        ...

    async def still_missing(self, message_ids: Sequence[str]) -> None:
        """Make accepted messages due again that were taken and not asked for."""
        ...


class Held(Protocol):
    """What errors would change in what is known of persons, kept aside until an operator decides (`Store.held`)."""

    async def waiting(self, senders: Sequence[str]) -> Mapping[str, int]:
        """How many effects are kept aside for each sender, those without any left out."""
        ...


class Records(Protocol):
    """What a person asks about messages."""

    async def record(self, message_id: str) -> Record | None:
        """One message, whole."""
        ...

    def listed(self, which: str) -> AsyncIterator[Record]:
        """The messages in `dead`, `unknown` or `unresolved`, oldest first."""
        ...

    async def probe(self) -> None:
        """Raise unless the store answers and takes a write."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """Store-wide totals."""
        ...

    async def depths(self) -> Mapping[str, int]:
        """Messages in each lane, and in each list."""
        ...

    async def suspected_for(self) -> timedelta | None:
        """How long the oldest suspected stop has waited for somebody, None when there is none."""
        ...

    async def note_misdirected(self, endpoint: str) -> None:
        """Count a request that came to the wrong one of the two URLs."""
        ...
