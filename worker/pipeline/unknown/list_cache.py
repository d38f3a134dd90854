"""A list that was read from Twilio, indexed by recipient so that it can serve many attempts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sendwindow.addresses import Address, AddressError, AddressKind, parse_address
from worker.pipeline.unknown.matching import DOUBT, may_be_to, shows_as_given, tail_of
from worker.ports.unknowns import UnknownAttempt
from worker.twilio.messages import Listing, MessageRow, is_newest_first

FRESH: Final = timedelta(seconds=5)
"""How long a list serves attempts that were claimed after it was read."""

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_ANYBODY: Final = ""
_INDEXED: Final = frozenset({AddressKind.PHONE, AddressKind.PSID})


@dataclass(frozen=True, slots=True)
class CachedList:
    """A list that was read at `read_at` (store's clock).

    `reaches`: the list shows everything created after this instant; None when that is unknown.
    `is_all`: it shows all that a sender sent, otherwise the messages to one recipient. `known`: in
    a list of all, the rows that were bound to our attempts when it was read.
    """

    rows: tuple[MessageRow, ...]
    reaches: datetime | None
    read_at: datetime
    is_all: bool
    known: tuple[MessageRow, ...] = ()
    _by_recipient: Mapping[str, list[MessageRow]] = field(default_factory=dict, repr=False)
    _latest_known: Mapping[str, datetime] = field(default_factory=dict, repr=False)

    def covers(self, attempt: UnknownAttempt) -> bool:
        """Return whether the list shows everything that could be the attempt, as of `read_at`."""
        return self.reaches is not None and self.reaches < attempt.intent_at - DOUBT

    def is_fresh(self, now: datetime) -> bool:
        """Return whether the list still serves an attempt that was claimed at `now`."""
        return timedelta(0) <= now - self.read_at < FRESH

    def rows_to(self, to: Address) -> list[MessageRow]:
        """Return the rows that may be messages to an address, in whatever form Twilio writes it."""
        if to.kind not in _INDEXED:
            return [row for row in self.rows if may_be_to(row, to)]
        some = [*self._by_recipient.get(_key(to), ()), *self._by_recipient.get(_ANYBODY, ())]
        return [row for row in some if may_be_to(row, to)]

    def vouches_for(self, attempt: UnknownAttempt, to: Address) -> bool:
        """Return whether the list shows a message of ours created since the attempt's intent.

        That message went to the same address, or to the same kind of address if that kind shows as
        given.
        """
        names = (to.text, _kind(to)) if shows_as_given(to) else (to.text,)
        return any(self._latest_known.get(name, _BEGINNING) >= attempt.intent_at for name in names)


def keep(
    listing: Listing, read_at: datetime, *, is_all: bool, known: Collection[str] = ()
) -> CachedList:
    """Return a list as the cache stores it. `known`: the SIDs that are bound to our attempts."""
    by_recipient: dict[str, list[MessageRow]] = {}
    latest: dict[str, datetime] = {}
    for row in listing.rows:
        try:
            address = parse_address(row.to)
        except AddressError:
            address = None
        is_indexed = address is not None and address.kind in _INDEXED
        by_recipient.setdefault(_key(address) if address and is_indexed else _ANYBODY, []).append(
            row
        )
        if row.message_sid in known:
            for name in (row.to, _kind(address) if address else row.to):
                latest[name] = max(row.created_at, latest.get(name, _BEGINNING))
    ours = tuple(row for row in listing.rows if row.message_sid in known)
    return CachedList(listing.rows, _reaches(listing), read_at, is_all, ours, by_recipient, latest)


def unite(lists: Sequence[CachedList]) -> CachedList:
    """Return one recipient's lists as one list. There is one for each spelling of the address.

    The result reaches back as far as all of them do.
    """
    if len(lists) == 1:
        return lists[0]
    rows = {row.message_sid: row for kept in lists for row in kept.rows}
    by_recipient: dict[str, list[MessageRow]] = {}
    for row in rows.values():
        by_recipient.setdefault(_place(row), []).append(row)
    reaches = [kept.reaches for kept in lists if kept.reaches is not None]
    return CachedList(
        rows=tuple(rows.values()),
        reaches=max(reaches) if len(reaches) == len(lists) else None,
        read_at=min(kept.read_at for kept in lists),
        is_all=False,
        _by_recipient=by_recipient,
    )


def _place(row: MessageRow) -> str:
    try:
        address = parse_address(row.to)
    except AddressError:
        return _ANYBODY
    return _key(address) if address.kind in _INDEXED else _ANYBODY


def _key(address: Address) -> str:
    return tail_of(address) if address.is_phone else address.text


def _kind(address: Address) -> str:
    return f"{address.channel}|{address.kind}"


def _reaches(listing: Listing) -> datetime | None:
    """Return how far back a list is complete: to its last row, if the rows came newest first."""
    if listing.is_whole:
        return _BEGINNING
    return listing.rows[-1].created_at if listing.rows and is_newest_first(listing.rows) else None
