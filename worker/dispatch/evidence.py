"""What Twilio's list of messages says about an attempt whose outcome nobody proved. Pure.

Laws: silence never proves "not sent"; only a complete list, from a service proven to show what we know it has, may say
`Absent` · a row bound to another attempt is never ours, one that could be another unproven attempt's is not yet ours ·
what could be ours is never called absent · only content that can be compared, and is the same, is proof.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sendwindow.addresses import Address, AddressError, AddressKind, parse_address
from worker.dispatch.texts import Likeness, compare_template, compare_text
from worker.persons import SPELLINGS
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

_SUBSCRIBER_DIGITS: Final = 7

_UNSETTLED: Final = frozenset({"accepted", "scheduled", "queued", "sending"})
"""While a message has such a status, Twilio may not yet show how many media it has."""


@dataclass(frozen=True, slots=True)
class Sought:
    """An attempt to look for. `body`: the freeform text it may carry; `may_be_template`: it may be a template.

    `template_text`: the template's rendered text, None when it is not known. `may_have_media`: False only for a text
    alone. `latest_at`: when its POST may have begun at the latest, None: at its intent.
    """

    message_id: str
    attempt: int
    to: str = field(repr=False)
    intent_at: datetime
    body: str | None = field(repr=False)
    may_be_template: bool
    template_text: str | None = field(default=None, repr=False)
    may_have_media: bool = True
    latest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The attempt was accepted under this row's SID."""

    row: MessageRow


@dataclass(frozen=True, slots=True)
class Absent:
    """A proven, complete list does not have it."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing is proven.

    `why`: several, contested, redacted, content, time, address, incomplete, unproven, sender or unreadable.
    """

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
    alike = [(row, likeness) for row in free if (likeness := compare(sought, row)) is not Likeness.OTHER]
    proofs = [row for row, likeness in alike if likeness is Likeness.SAME and _is_expected(sought, row)]
    if len(proofs) == 1:
        contested = rivals is None or any(_could_be(rival, proofs[0]) for rival in rivals)
        return Unclear("contested") if contested else Found(proofs[0])
    if len(proofs) > 1:
        return Unclear("several")
    if alike:
        return Unclear(_doubt(sought, [row for row, _ in alike]))
    if not is_complete:
        return Unclear("incomplete")
    return Absent() if is_proven else Unclear("unproven")


def compare(sought: Sought, row: MessageRow) -> Likeness:
    """Compare the content of an attempt with a row. Media alone prove nothing: a picture has no text to compare."""
    if not row.body:
        is_text = not sought.may_have_media and not sought.may_be_template
        return Likeness.OTHER if is_text and row.num_media else Likeness.UNCLEAR
    found = set()
    if sought.may_be_template:
        found.add(compare_template(sought.template_text, row.body))
    if sought.body:
        found.add(compare_text(sought.body, row.body))
    if not found:
        return Likeness.OTHER if row.num_media == 0 and row.status not in _UNSETTLED else Likeness.UNCLEAR
    return next(one for one in Likeness if one in found)


def witnesses(
    rows: Sequence[MessageRow], owners: Mapping[str, Owner], since: datetime, to: Address
) -> list[MessageRow]:
    """Pick the rows bound to attempts of ours, created at or after `since`, that vouch for how `to` is shown.

    A list that shows one is proven for messages to `to`.
    """
    return vouching_for([row for row in rows if row.message_sid in owners], since, to)


def vouching_for(known: Sequence[MessageRow], since: datetime, to: Address) -> list[MessageRow]:
    """Pick of rows that are known to be ours those created at or after `since` that vouch for how `to` is shown."""
    return [row for row in known if row.created_at >= since and _vouches(row, to)]


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


def may_be_to(row: MessageRow, to: Address) -> bool:
    """Whether a row of a sender's list may be a message to an address.

    Twilio may write a phone number with another prefix or trunk digit than we did, but ends it alike; and it may show a
    user id under the phone behind it, or a phone under the user id.
    """
    try:
        theirs = parse_address(row.to)
    except AddressError:
        return True
    if to.is_phone and theirs.is_phone and theirs.channel is to.channel:
        return tail_of(theirs) == tail_of(to)
    return theirs.channel is to.channel and (theirs.kind is not to.kind or theirs.text == to.text)


def tail_of(phone: Address) -> str:
    """Return the digits that all spellings of a phone number share."""
    return phone.text[-_SUBSCRIBER_DIGITS:]


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
    return max(timedelta(0), row.created_at - (sought.latest_at or sought.intent_at) - LATEST)


def _is_expected(sought: Sought, row: MessageRow) -> bool:
    return _is_to(row, sought) and _distance(sought, row) == timedelta(0)


def _is_to(row: MessageRow, sought: Sought) -> bool:
    """Return whether a row is to the recipient, in whatever spelling Twilio shows the number."""
    return SPELLINGS.is_same_person(row.to, sought.to)


def _could_be(rival: Sought, row: MessageRow) -> bool:
    return _distance(rival, row) <= DOUBT and compare(rival, row) is not Likeness.OTHER


def _doubt(sought: Sought, alike: Sequence[MessageRow]) -> str:
    """Name what keeps a row like ours from being proof. Twilio may write an address in another form than we did."""
    if expected := [row for row in alike if _is_expected(sought, row)]:
        return "content" if any(row.body for row in expected) else "redacted"
    return "time" if any(_is_to(row, sought) for row in alike) else "address"
