"""What Twilio's list of messages says about an attempt whose outcome nobody proved. Pure.

Laws: silence never proves "not sent"; only a complete list, from a service proven to show what we know it has, may say
`Absent` · a row bound to another attempt is never ours, one that could be another unproven attempt's is not yet ours ·
what could be ours is never called absent.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sendwindow.addresses import Address, AddressError, AddressKind, parse_address
from worker.twilio.messages import MessageRow

Owner = tuple[str, int]
"""Message id and attempt number that a MessageSid is bound to."""

SLACK: Final = timedelta(seconds=5)
"""How far Twilio's clock, whole seconds in its dates, may lie behind the store's."""

LATEST: Final = timedelta(minutes=5)
"""How long after the intent a message may still come from that POST; its request ends after about 30 s."""

DOUBT: Final = timedelta(minutes=15)
"""A row like ours this far outside the expected time proves nothing, but forbids to call the message absent."""

REACH: Final = SLACK + LATEST + DOUBT
"""How long before an attempt's intent another may have begun that could own the row found for it."""

_TRIAL_PREFIX: Final = "sentfromyourtwiliotrialaccount"


@dataclass(frozen=True, slots=True)
class Sought:
    """An attempt to look for. `body`: the freeform text it may carry; `may_be_template`: its text may be unknown."""

    message_id: str
    attempt: int
    to: str = field(repr=False)
    intent_at: datetime
    body: str | None = field(repr=False)
    may_be_template: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The attempt was accepted under this row's SID."""

    row: MessageRow


@dataclass(frozen=True, slots=True)
class Absent:
    """A proven, complete list does not have it."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing is proven. `why`: several, contested, redacted, time, address, incomplete, unproven or sender."""

    why: str


Finding = Found | Absent | Unclear


def examine(
    sought: Sought,
    rows: Sequence[MessageRow],
    owners: Mapping[str, Owner],
    *,
    rivals: Sequence[Sought] | None = (),
    is_complete: bool,
    is_proven: bool,
) -> Finding:
    """Look for an attempt among the rows of its recipient and sender.

    `owners`: every SID of `rows` that is bound to an attempt. `rivals`: the other unproven attempts to this recipient,
    None when they are too many to compare. `is_proven`: the list is known to show messages created at or after the
    attempt's intent.
    """
    ours = (sought.message_id, sought.attempt)
    for row in rows:
        if owners.get(row.message_sid) == ours:
            return Found(row)
    free = [row for row in rows if row.message_sid not in owners and _distance(sought, row) <= DOUBT]
    alike = [row for row in free if _is_alike(sought, row)]
    in_time = [row for row in alike if _distance(sought, row) == timedelta(0) and row.to == sought.to]
    if len(in_time) == 1 and _is_readable(in_time[0], sought):
        contested = rivals is None or any(_could_be(rival, in_time[0]) for rival in rivals)
        return Unclear("contested") if contested else Found(in_time[0])
    if len(in_time) > 1:
        return Unclear("several")
    if alike:
        return Unclear(_doubt(sought, alike, in_time))
    if not is_complete:
        return Unclear("incomplete")
    return Absent() if is_proven else Unclear("unproven")


def witnesses(
    rows: Sequence[MessageRow], owners: Mapping[str, Owner], since: datetime, to: Address
) -> list[MessageRow]:
    """Pick the rows bound to attempts of ours, created at or after `since`, that vouch for how `to` is shown.

    A list that shows one is proven for messages to `to`.
    """
    return [row for row in rows if row.message_sid in owners and row.created_at >= since and _vouches(row, to)]


def listing_of(account_sid: str, from_address: str) -> str:
    """Name the list in which Twilio shows what an account sends from an address; it is kept with each attempt.

    A sender may get another number, or an account another SID: their new lists do not show what went out before.
    """
    return hashlib.sha256(f"{account_sid} {from_address}".encode()).hexdigest()[:16]


def shows_as_given(to: Address) -> bool:
    """Whether every such recipient shows under the address given: one that does speaks for the others.

    A user id may show under the phone behind it, if Twilio knows that ("WhatsApp key concepts", read 2026-11-20).
    """
    return to.kind not in (AddressKind.BSUID, AddressKind.PARENT_BSUID)


def _vouches(row: MessageRow, to: Address) -> bool:
    if row.to == to.text:
        return True
    try:
        theirs = parse_address(row.to)
    except AddressError:
        return False
    return shows_as_given(to) and (theirs.channel, theirs.kind) == (to.channel, to.kind)


def _distance(sought: Sought, row: MessageRow) -> timedelta:
    """How far a row lies outside the time in which the attempt can have been created; zero inside."""
    if row.created_at < sought.intent_at - SLACK:
        return sought.intent_at - SLACK - row.created_at
    return max(timedelta(0), row.created_at - sought.intent_at - LATEST)


def _could_be(rival: Sought, row: MessageRow) -> bool:
    return _distance(rival, row) <= DOUBT and _is_alike(rival, row)


def _doubt(sought: Sought, alike: Sequence[MessageRow], in_time: Sequence[MessageRow]) -> str:
    """Name what keeps a row like ours from being proof. Twilio may write an address in another form than we did."""
    if in_time:
        return "redacted"
    return "time" if any(row.to == sought.to for row in alike) else "address"


def _is_alike(sought: Sought, row: MessageRow) -> bool:
    if sought.may_be_template or not row.body:
        return True
    theirs, ours = _letters(row.body), _letters(sought.body or "")
    return not ours or theirs in (ours, _TRIAL_PREFIX + ours)


def _is_readable(row: MessageRow, sought: Sought) -> bool:
    """Whether a row says anything: redacted, it could be any message; a media message has no text to compare."""
    return bool(row.body) or sought.may_be_template or not sought.body


def _letters(text: str) -> str:
    """Reduce a text to letters and digits: Twilio swaps look-alike punctuation ("Smart Encoding", read 2026-11-20)."""
    return "".join(character for character in unicodedata.normalize("NFKC", text).casefold() if character.isalnum())
