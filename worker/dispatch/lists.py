"""Reads Twilio's lists of messages within the budget, and finds out which senders' lists can be trusted.

Laws: what a list does not show proves nothing, unless the sender's lists are known to show what came that late · a list
that hides a message we know is not trusted any more · what shows under one kind of address says nothing of another.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from sendwindow.addresses import Address
from worker.dispatch.budget import Budget
from worker.dispatch.evidence import Owner, shows_as_given, witnesses
from worker.ports import Unknowns
from worker.settings import Sender
from worker.twilio.messages import Listing, MessageRow
from worker.values.unknowns import UnknownAttempt

_TRUST_LASTS: Final = timedelta(minutes=10)
_MAX_PAGES: Final = 5


class Reader(Protocol):
    """What the dispatch reads with the Twilio client."""

    async def list_messages(
        self, account: str, *, to: str | None, from_address: str, since: datetime, max_requests: int
    ) -> Listing:
        """List messages; raises ReadFailed."""
        ...

    async def fetch(self, account: str, message_sid: str) -> MessageRow | None:
        """Fetch one message; raises ReadFailed."""
        ...


@dataclass(frozen=True, slots=True)
class _Trust:
    """At `seen_at` (store's clock) a sender's list showed a message of ours created at `reaches` (Twilio's).

    A sender has one channel, and on each only one kind of address shows as given.
    """

    reaches: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Lists:
    """Twilio's lists. Every read costs the budget, which the search shares with whoever fetches."""

    unknowns: Unknowns
    twilio: Reader
    budget: Budget
    log: FilteringBoundLogger
    _trusted: dict[str, _Trust] = field(default_factory=dict)

    async def read(self, sender: Sender, to: str | None, since: datetime, pages: int = _MAX_PAGES) -> Listing | None:
        """List within the budget, None when nothing is left of it. Raises ReadFailed."""
        left = min(pages, self.budget.left)
        if left < 1:
            return None
        self.budget.spend(1)
        listing = await self.twilio.list_messages(
            sender.account, to=to, from_address=sender.address, since=since, max_requests=left
        )
        self.budget.spend(listing.requests - 1)
        return listing

    async def owners(self, listing: Listing) -> dict[str, Owner]:
        """Say which rows are bound to attempts of ours, by SID. Raises what the store raises."""
        sids = [row.message_sid for row in listing.rows]
        owners = await self.unknowns.owners(sids)
        return {sid: owner for sid, owner in zip(sids, owners, strict=True) if owner is not None}

    async def is_proven(self, attempt: UnknownAttempt, sender: Sender, to: Address) -> bool:
        """Whether the sender's lists show messages created since the intent: a known one must show under its own To.

        Always False for an address of which only its own list can tell. Raises ReadFailed, and what the store raises.
        """
        if not shows_as_given(to):
            return False
        trust = self._trusted.get(sender.name)
        if trust and trust.reaches >= attempt.intent_at and attempt.now - trust.seen_at < _TRUST_LASTS:
            return True
        latest = await self.read(sender, None, attempt.intent_at, pages=1)
        if latest is None:
            return False
        known = witnesses(latest.rows, await self.owners(latest), attempt.intent_at, to)
        if not known:
            return False
        witness = max(known, key=lambda row: row.created_at)
        theirs = await self.read(sender, witness.to, witness.created_at)
        if theirs is None or witness.message_sid not in {row.message_sid for row in theirs.rows}:
            self._trusted.pop(sender.name, None)
            self.log.warning("list_not_trusted", sender=sender.name)
            return False
        self._trusted[sender.name] = _Trust(witness.created_at, attempt.now)
        return True
