"""What Twilio's list of messages says about an attempt whose outcome is not proven. Pure.

Laws: silence never proves "not sent" · only a complete list may say `Absent`, and only if it is
proven to show messages that we know Twilio has · a row that is bound to another attempt is never
ours, and a row that could be another unproven attempt's is not ours yet · an attempt is never
called absent while a row could be its message · only content that can be compared, and is the same,
is proof.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sendwindow.addresses import Address, AddressError, AddressKind, parse_address
from worker.persons import SPELLINGS
from worker.pipeline.unknown.text_comparison import Likeness, compare_template, compare_text
from worker.twilio.messages import MessageRow

Owner = tuple[str, int]
"""Message id and attempt number that a MessageSid is bound to."""

MAX_CLOCK_LAG: Final = timedelta(seconds=5)
"""How far Twilio's clock may be behind the store's. Twilio's dates are whole seconds."""

MAX_POST_DELAY: Final = timedelta(minutes=5)
"""How long after the intent the POST may still create a message.

The request of the POST ends after about 30 s.
"""

DOUBT: Final = timedelta(minutes=15)
"""How far outside the expected time a row like ours still casts doubt.

Such a row proves nothing, but the message must not be called absent while there is one.
"""

REACH: Final = MAX_CLOCK_LAG + MAX_POST_DELAY + DOUBT
"""How long before an attempt's intent another attempt may have begun that could own its row."""

_SUBSCRIBER_DIGITS: Final = 7

_UNSETTLED: Final = frozenset({"accepted", "scheduled", "queued", "sending"})
"""While a message has such a status, Twilio may not show yet how many media it has."""


@dataclass(frozen=True, slots=True)
class ExpectedMessage:
    """An attempt to look for.

    `body`: the freeform text that it may have. `may_be_template`: it may be a template.

    `template_text`: the template's rendered text, None when it is not known. `may_have_media`:
    False only for a text alone. `latest_at`: the last instant at which its POST may have begun;
    None means at its intent.
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
    """Twilio accepted the attempt under this row's SID."""

    row: MessageRow


@dataclass(frozen=True, slots=True)
class Absent:
    """A proven, complete list does not show the attempt."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing is proven.

    `why`: several, contested, redacted, content, time, address, incomplete, unproven, sender or
    unreadable.
    """

    why: str


Finding = Found | Absent | Unclear


def examine(
    sought: ExpectedMessage,
    rows: Sequence[MessageRow],
    owners: Mapping[str, Owner],
    *,
    rivals: Sequence[ExpectedMessage] | None = (),
    is_complete: bool,
    is_proven: bool,
) -> Finding:
    """Return what the rows of its recipient and sender say about an attempt.

    `owners`: every SID of `rows` that is bound to an attempt. `rivals`: the other unproven attempts
    to this recipient, None when they are too many to compare. `is_proven`: the list is known to
    show messages created at or after the attempt's intent.
    """
    ours = (sought.message_id, sought.attempt)
    for row in rows:
        if owners.get(row.message_sid) == ours:
            return Found(row)
    free = [
        row for row in rows if row.message_sid not in owners and _distance(sought, row) <= DOUBT
    ]
    alike = [
        (row, likeness) for row in free if (likeness := compare(sought, row)) is not Likeness.OTHER
    ]
    proofs = [
        row for row, likeness in alike if likeness is Likeness.SAME and _is_expected(sought, row)
    ]
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


def compare(sought: ExpectedMessage, row: MessageRow) -> Likeness:
    """Compare the content of an attempt with a row.

    Media alone prove nothing, because a picture has no text to compare.
    """
    if not row.body:
        is_text = not sought.may_have_media and not sought.may_be_template
        return Likeness.OTHER if is_text and row.num_media else Likeness.UNCLEAR
    found = set()
    if sought.may_be_template:
        found.add(compare_template(sought.template_text, row.body))
    if sought.body:
        found.add(compare_text(sought.body, row.body))
    if not found:
        return (
            Likeness.OTHER
            if row.num_media == 0 and row.status not in _UNSETTLED
            else Likeness.UNCLEAR
        )
    return next(one for one in Likeness if one in found)


def witnesses(
    rows: Sequence[MessageRow], owners: Mapping[str, Owner], since: datetime, to: Address
) -> list[MessageRow]:
    """Return the rows that prove a list for messages to `to`.

    They are bound to attempts of ours, were created at or after `since`, and vouch for how Twilio
    shows `to`.
    """
    return vouching_for([row for row in rows if row.message_sid in owners], since, to)


def vouching_for(known: Sequence[MessageRow], since: datetime, to: Address) -> list[MessageRow]:
    """Return the known rows created at or after `since` that vouch for how Twilio shows `to`.

    `known`: rows that are known to be ours.
    """
    return [row for row in known if row.created_at >= since and _vouches(row, to)]


def listing_of(account_sid: str, from_address: str) -> str:
    """Return the name of the list in which Twilio shows what an account sends from an address.

    Redis stores the name with each attempt, because a sender may get another number, or an account
    another SID. Their new lists do not show what went out before.
    """
    return hashlib.sha256(f"{account_sid} {from_address}".encode()).hexdigest()[:16]


def shows_as_given(to: Address) -> bool:
    """Return whether every recipient of this kind shows under the address that we gave.

    A message to one of them then vouches for messages to the others. A user id may show under the
    phone number behind it, if Twilio knows that number ("WhatsApp key concepts", read 2026-11-20).
    """
    return to.kind not in (AddressKind.BSUID, AddressKind.PARENT_BSUID)


def may_be_to(row: MessageRow, to: Address) -> bool:
    """Return whether a row of a sender's list may be a message to an address.

    Twilio may write a phone number with another prefix or trunk digit than we did, but it ends with
    the same digits. Twilio may also show a user id under the phone number behind it, or a phone
    number under the user id.
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


def _distance(sought: ExpectedMessage, row: MessageRow) -> timedelta:
    """Return how far outside the time of the attempt a row was created; zero when inside."""
    if row.created_at < sought.intent_at - MAX_CLOCK_LAG:
        return sought.intent_at - MAX_CLOCK_LAG - row.created_at
    return max(
        timedelta(0), row.created_at - (sought.latest_at or sought.intent_at) - MAX_POST_DELAY
    )


def _is_expected(sought: ExpectedMessage, row: MessageRow) -> bool:
    return _is_to(row, sought) and _distance(sought, row) == timedelta(0)


def _is_to(row: MessageRow, sought: ExpectedMessage) -> bool:
    """Return whether a row is to the recipient, in whatever spelling Twilio shows the number."""
    return SPELLINGS.is_same_person(row.to, sought.to)


def _could_be(rival: ExpectedMessage, row: MessageRow) -> bool:
    return _distance(rival, row) <= DOUBT and compare(rival, row) is not Likeness.OTHER


def _doubt(sought: ExpectedMessage, alike: Sequence[MessageRow]) -> str:
    """Return why a row like ours is not a proof.

    Twilio may write an address in another form than we did.
    """
    if expected := [row for row in alike if _is_expected(sought, row)]:
        return "content" if any(row.body for row in expected) else "redacted"
    return "time" if any(_is_to(row, sought) for row in alike) else "address"
