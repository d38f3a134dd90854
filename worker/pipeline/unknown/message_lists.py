"""Reads Twilio's lists of messages within a token bucket, and finds out which lists to trust.

Laws: absence from a list proves nothing, unless the sender's lists are known to show messages that
were created that late · a list that hides a message that we know is not trusted any more · what
shows under one kind of address says nothing about another kind · a list serves every attempt that
it covers, and shows what Twilio had when it was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from sendwindow.addresses import Address
from worker.persons import SPELLINGS
from worker.pipeline.token_bucket import TokenBucket
from worker.pipeline.unknown.list_cache import CachedList, keep, unite
from worker.pipeline.unknown.matching import Owner, shows_as_given, vouching_for
from worker.ports.unknowns import UnknownAttempt, Unknowns
from worker.settings.schema import SenderSettings
from worker.twilio.messages import Listing, MessageRow

MAX_PAGES: Final = 5
_TRUST_LASTS: Final = timedelta(minutes=10)


class MessageReader(Protocol):
    """The part of the Twilio client that reads messages."""

    async def list_messages(
        self, account: str, *, to: str | None, from_address: str, since: datetime, max_requests: int
    ) -> Listing:
        """List messages. Raises ReadFailed."""
        ...

    async def fetch(self, account: str, message_sid: str) -> MessageRow:
        """Fetch one message. Raises ReadFailed."""
        ...


@dataclass(frozen=True, slots=True)
class _Trust:
    """A sender's list showed a message of ours.

    `reaches`: when that message was created (Twilio's clock). `seen_at`: when the list showed it
    (store's clock). A sender has one channel, and on each channel only one kind of address shows as
    given.
    """

    reaches: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class _Pace:
    """How much time one page of a sender's list covered, when the pages did not suffice.

    `seen_at`: when they were read (store's clock).
    """

    page: timedelta
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class MessageLists:
    """Twilio's lists. Every read uses the token bucket of its account. `now`: the store's clock."""

    unknowns: Unknowns
    twilio: MessageReader
    bucket: TokenBucket
    log: FilteringBoundLogger
    _trusted: dict[str, _Trust] = field(default_factory=dict)
    _kept: dict[tuple[str, str | None], CachedList] = field(default_factory=dict)
    _pace: dict[str, _Pace] = field(default_factory=dict)

    def kept(
        self, attempt: UnknownAttempt, sender: SenderSettings, to: Address
    ) -> CachedList | None:
        """Return a fresh list that covers the attempt: its recipient's, or its sender's."""
        for key in ((sender.name, to.text), (sender.name, None)):
            kept = self._kept.get(key)
            if kept is not None and kept.is_fresh(attempt.now) and kept.covers(attempt):
                return kept
        return None

    async def read_recipient(
        self, sender: SenderSettings, to: Address, since: datetime, now: datetime
    ) -> CachedList | None:
        """Read the list of one recipient, under each spelling that Twilio may show.

        Return None when the token bucket does not allow a read for each. Raises ReadFailed.
        """
        lists = []
        for spelling in SPELLINGS.shown_as(to.text):
            listing = await self._read(sender, spelling, since, MAX_PAGES)
            if listing is None:
                return None
            lists.append(keep(listing, now, is_all=False))
        return self._keep(sender, to.text, unite(lists))

    def reaches_back(
        self, sender: SenderSettings, since: datetime, now: datetime, pages: int
    ) -> bool:
        """Return whether this many pages of what the sender sends may reach back to `since`."""
        seen = self._pace.get(sender.name)
        return (
            seen is None or now - seen.seen_at >= _TRUST_LASTS or now - since <= seen.page * pages
        )

    async def read_sender(
        self, sender: SenderSettings, since: datetime, now: datetime, pages: int
    ) -> None:
        """Read all that a sender sent since an instant, so that `kept` finds it.

        Raises ReadFailed.
        """
        kept = await self._read_all(sender, since, now, pages)
        if kept and kept.rows and (kept.reaches is None or kept.reaches >= since):
            self._pace[sender.name] = _Pace((now - kept.rows[-1].created_at) / pages, now)

    async def owners(self, rows: Sequence[MessageRow]) -> dict[str, Owner]:
        """Return which rows are bound to attempts of ours, by SID. Raises what the store raises."""
        sids = [row.message_sid for row in rows]
        owners = await self.unknowns.owners(sids)
        return {sid: owner for sid, owner in zip(sids, owners, strict=True) if owner is not None}

    def trusts(self, attempt: UnknownAttempt, sender: SenderSettings, to: Address) -> bool:
        """Return whether the sender's lists recently showed a message created since the intent.

        The message must be ours. Always False for an address that only its own list can tell us
        about.
        """
        trust = self._trusted.get(sender.name)
        is_proven = (
            trust
            and trust.reaches >= attempt.intent_at
            and attempt.now - trust.seen_at < _TRUST_LASTS
        )
        return bool(is_proven) and shows_as_given(to)

    async def prove(self, attempt: UnknownAttempt, sender: SenderSettings, to: Address) -> None:
        """Find out whether `trusts` may be true: a known message must show under its own To.

        Raises ReadFailed, and what the store raises.
        """
        if self.trusts(attempt, sender, to) or not shows_as_given(to):
            return
        latest = await self._read_all(sender, attempt.intent_at, attempt.now, 1)
        vouching = vouching_for(latest.known, attempt.intent_at, to) if latest else []
        if not vouching:
            return
        witness = max(vouching, key=lambda row: row.created_at)
        theirs = await self._read(sender, witness.to, witness.created_at, MAX_PAGES)
        if theirs is None or witness.message_sid not in {row.message_sid for row in theirs.rows}:
            self._trusted.pop(sender.name, None)
            self.log.warning("list_not_trusted", sender=sender.name)
            return
        self._trusted[sender.name] = _Trust(witness.created_at, attempt.now)

    async def _read_all(
        self, sender: SenderSettings, since: datetime, now: datetime, pages: int
    ) -> CachedList | None:
        listing = await self._read(sender, None, since, pages)
        if listing is None:
            return None
        known = await self.owners(listing.rows)
        return self._keep(sender, None, keep(listing, now, is_all=True, known=known.keys()))

    async def _read(
        self, sender: SenderSettings, to: str | None, since: datetime, pages: int
    ) -> Listing | None:
        bucket = self.bucket.of(sender.account)
        left = min(pages, bucket.left)
        if left < 1:
            return None
        bucket.spend(1)
        listing = await self.twilio.list_messages(
            sender.account, to=to, from_address=sender.address, since=since, max_requests=left
        )
        bucket.spend(listing.requests - 1)
        return listing

    def _keep(self, sender: SenderSettings, to: str | None, kept: CachedList) -> CachedList:
        for key in [key for key, other in self._kept.items() if not other.is_fresh(kept.read_at)]:
            del self._kept[key]
        self._kept[sender.name, to] = kept
        return kept
