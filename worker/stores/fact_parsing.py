"""Reads the scripts' arrays of facts into values. Pure.

Law: what this version cannot read, because a newer one wrote it, permits nothing for the message
that it belongs to. It never raises, because facts come in batches and the other messages of the
batch must not suffer.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from policies.facts import BlockFact, ConsentFact, Holds, PersonFact, TagFact, TagState
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import OnUnknown, Purpose, Stage
from worker.ports.stored_facts import StoredFacts, StoredState
from worker.stores.fact_fields import PersonField
from worker.stores.person_digests import DIGEST_CHARACTERS
from worker.stores.worker_scripts import ANY, MAX_DIGITS

Field = bytes | int
_PURPOSES: Final[Mapping[str, Purpose | None]] = {ANY: None} | {
    purpose.value: purpose for purpose in Purpose
}
_GRANT: Final = "1:"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_MAX_REMEMBERED_STATES: Final = 1024
_UNREADABLE: Final = -1
"""Not a revision of any record: an admission that rests on it is always stale."""


def parse_facts(reply: Sequence[object]) -> StoredFacts:
    """Read the array that `facts_of` in `lua/` builds.

    Raises TypeError when the array has another shape, because worker and script differ in version.
    """
    digest, person, sender, account, template, tag, content_sid, *registered = reply
    by_account, sender_at, template_at = (_text(each) for each in registered)
    names = _text(digest)
    return StoredFacts(
        person_digest=names[:DIGEST_CHARACTERS],
        person=_person(_fields(person)),
        sender=read_state(_fields(sender)),
        account=read_state(_fields(account)),
        template=read_state(_fields(template)),
        tag=_tag(_fields(tag)),
        content_sid=_text(content_sid),
        registered=by_account,
        sender_known_at=_known(sender_at),
        template_known_at=_known(template_at),
        other_digests=names[DIGEST_CHARACTERS + 1 :],
    )


def _fields(value: object) -> Sequence[Field]:
    if not isinstance(value, list):
        raise TypeError(
            "the store answered facts in another shape; run workers and scripts of the same version"
        )
    return value


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _number(value: object) -> int | None:
    """Read whole milliseconds or a count; None when the value is neither."""
    text = _text(value)
    is_number = len(text) < MAX_DIGITS and text.isascii() and text.removeprefix("-").isdigit()
    return int(text) if is_number else None


def _revision(value: Field) -> int:
    number = _number(value)
    return _UNREADABLE if number is None else number


def _known(text: str) -> datetime | None:
    number = _number(text)
    return None if number is None else from_ms(number)


def read_state(fields: Sequence[Field]) -> StoredState:
    """Read what `stored` in `lua/` returns for one sender, account, template or tag."""
    return _state(*fields)


@lru_cache(maxsize=_MAX_REMEMBERED_STATES)
def _state(revision: Field, state: Field, until: Field, reason: Field) -> StoredState:
    # Remembered, because nearly every message of a batch comes with the states of the same sender
    # and account.
    ends = _number(until)
    return StoredState(
        revision=_revision(revision),
        state=_text(state) or None,
        paused_until=from_ms(ends) if ends else None,
        reason=_text(reason) or None,
    )


def read_rule(word: bytes) -> OnUnknown:
    """Read a row's rule for an unknown outcome.

    A rule that only a newer version knows reads as `hold`, so that an operator decides.
    """
    try:
        return OnUnknown(word.decode() or OnUnknown.HOLD)
    except ValueError:
        return OnUnknown.HOLD


def read_stage(word: bytes) -> Stage | None:
    """Read the stage of a row.

    None: there is no row, or its stage is one that only a newer version knows.
    """
    try:
        return Stage(word.decode())
    except ValueError:
        return None


def _tag(fields: Sequence[Field]) -> TagFact:
    revision, state, in_flight = fields
    return TagFact(
        state=_tag_state(_text(state)), in_flight=in_flight == b"1", revision=_revision(revision)
    )


def _tag_state(text: str) -> TagState:
    """Read what is known of a Page's tag.

    A state that only a newer version knows reads as dead, so that nothing relies on the tag.
    """
    try:
        return TagState(text or TagState.UNPROVEN)
    except ValueError:
        return TagState.DEAD


def _person(fields: Sequence[Field]) -> PersonFact:
    revision, last_inbound, closed, suppressed, sent, *named = fields
    closed_at, suppressed_until = _until(closed), _until(suppressed)
    pairs = [(_text(name), value) for name, value in zip(named[::2], named[1::2], strict=True)]
    suspected = [value for name, value in pairs if _is_suspected(name)]
    consents = [pair for pair in pairs if not _is_other(pair[0])]
    facts = [fact for name, value in consents for fact in _consents(name, value)]
    blocks = [
        _block(name, _text(value)) for name, value in pairs if name.startswith(PersonField.BLOCK)
    ]
    return PersonFact(
        last_inbound_at=_known(_text(last_inbound)),
        closed_at=closed_at,
        consents=tuple(fact for fact in facts if fact is not None),
        suppressed_until=suppressed_until,
        suppressed_for=next(
            (_text(value) for name, value in pairs if name == PersonField.SUPPRESSED_FOR), ""
        ),
        blocks=tuple(block for block in blocks if block is not None),
        sent_last_day=_number(sent) or 0,
        revision=_revision(revision),
        is_readable=None not in facts and None not in blocks,
        suspected_at=_suspected_at(suspected[0]) if suspected else None,
    )


def _is_suspected(name: str) -> bool:
    return name.startswith(PersonField.SUSPECTED_STOP) and "|" not in name


def _is_other(name: str) -> bool:
    """Return whether a field is known and says nothing about consent."""
    return (
        name == PersonField.SUPPRESSED_FOR
        or name.startswith(PersonField.BLOCK)
        or _is_suspected(name)
    )


def _suspected_at(value: Field) -> datetime:
    """Read since when a stop is suspected.

    A date that this version cannot read still counts as a suspected stop.
    """
    since = _number(_text(value).partition("|")[0])
    return _EPOCH if since is None else from_ms(since)


def _until(value: Field) -> datetime | None:
    """Read an instant until which something is forbidden.

    An instant that this version cannot read never comes.
    """
    if value in (b"", 0):
        return None
    number = _number(value)
    return _FOREVER if number is None or number < 0 else from_ms(number)


def _block(name: str, value: str) -> BlockFact | None:
    """Read a block, something that an error holds back from a person.

    Its field is `b:<account>|<sender or *>|<holds>|<code>` and its value is `<at>:<ends or
    nothing>:<1: until inbound>:<attempt>:<id>`.
    None stands for a block that this version cannot read, which may hold anything back.
    """
    places, parts = name.removeprefix(PersonField.BLOCK).split("|"), value.split(":", 3)
    if len(places) != 4 or len(parts) != 4 or places[2] not in tuple(Holds):
        return None
    at, ends, code = _number(parts[0]), _number(parts[1]), _number(places[3])
    if at is None or code is None or (ends is None and parts[1]) or parts[2] not in {"0", "1"}:
        return None
    return BlockFact(
        holds=Holds(places[2]),
        at=from_ms(at),
        code=code,
        sender=None if places[1] == ANY else places[1],
        ends_at=None if ends is None else from_ms(ends),
        until_inbound=parts[2] == "1",
    )


def _consents(name: str, value: Field) -> Iterator[ConsentFact | None]:
    """Read one field of the consent projection, which `lua/includes/unite_consent.lua` describes.

    None stands for a field that may be a withdrawal that this version cannot read. A grant that
    this version cannot read grants nothing.
    """
    kind, colon, scope = name.partition(":")
    places, text = scope.split("|")[1:], _text(value)
    kind += colon
    if kind == PersonField.GRANTS and len(places) == 2:
        for part in text.split(","):
            yield from _part(part, *places)
    elif kind == PersonField.PURPOSE_WITHDRAWN and len(places) == 2:
        yield _withdrawal(text, *places)
    elif kind == PersonField.OPTED_OUT and len(places) == 1:
        yield _withdrawal(text, ANY, places[0])
    elif kind != PersonField.GRANTS or not all(part.startswith(_GRANT) for part in text.split(",")):
        yield None


def _part(text: str, purpose: str, sender: str) -> Iterator[ConsentFact | None]:
    """Read one part of a `c:` field.

    `1:<at>:<expires or nothing>` is a grant. `0:<at>:`, which older versions wrote, is a
    withdrawal.
    """
    if not text.startswith(_GRANT):
        yield _withdrawal(text[2:-1], purpose, sender) if text.startswith("0:") else None
        return
    at, colon, ends = text.removeprefix(_GRANT).partition(":")
    granted_at, ends_at = _number(at), _number(ends)
    if (
        granted_at is not None
        and colon
        and (ends_at is not None or not ends)
        and purpose in _PURPOSES
    ):
        yield ConsentFact(
            granted=True,
            at=from_ms(granted_at),
            purpose=_PURPOSES[purpose],
            sender=None if sender == ANY else sender,
            expires_at=None if ends_at is None else from_ms(ends_at),
        )


def _withdrawal(at: str, purpose: str, sender: str) -> ConsentFact | None:
    withdrawn_at = _number(at)
    if withdrawn_at is None or purpose not in _PURPOSES:
        return None
    return ConsentFact(
        granted=False,
        at=from_ms(withdrawn_at),
        purpose=_PURPOSES[purpose],
        sender=None if sender == ANY else sender,
    )
