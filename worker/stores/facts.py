"""Reads the scripts' arrays of facts into values. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from policies.facts import ConsentFact, PersonFact, TagFact, TagState
from sendwindow.instants import from_ms
from sendwindow.vocabulary import Purpose
from worker.values.facts import StoredFacts, StoredState

Field = bytes | int
ANY = "*"
"""Stands for every sender of an account, and for every purpose, in the names of consent fields."""


def parse_facts(reply: Sequence[object]) -> StoredFacts:
    """Read the array that `facts_of` in `lua/` builds."""
    digest, person, sender, account, template, tag, content_sid, *registered = reply
    by_account, sender_at, template_at = (_text(each) for each in registered)
    return StoredFacts(
        person_digest=_text(digest),
        person=_person(_fields(person)),
        sender=read_state(_fields(sender)),
        account=read_state(_fields(account)),
        template=read_state(_fields(template)),
        tag=_tag(_fields(tag)),
        content_sid=_text(content_sid),
        registered=by_account,
        sender_known_at=_known(sender_at),
        template_known_at=_known(template_at),
    )


def _fields(value: object) -> Sequence[Field]:
    if not isinstance(value, list):
        raise TypeError("the store answered facts in another shape; run workers and scripts of the same version")
    return value


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _known(text: str) -> datetime | None:
    return from_ms(int(text)) if text else None


def _instant(value: Field) -> datetime | None:
    return from_ms(int(value)) if value not in (b"", 0) else None


def read_state(fields: Sequence[Field]) -> StoredState:
    """Read what `stored` in `lua/` answers of one sender, account, template or tag."""
    revision, state, until, reason = fields
    return StoredState(
        revision=int(revision),
        state=_text(state) or None,
        paused_until=_instant(until),
        reason=_text(reason) or None,
    )


def _tag(fields: Sequence[Field]) -> TagFact:
    revision, state, in_flight = fields
    return TagFact(
        state=TagState(_text(state) or TagState.UNPROVEN), in_flight=in_flight == b"1", revision=int(revision)
    )


def _person(fields: Sequence[Field]) -> PersonFact:
    revision, last_inbound, closed, suppressed, sent, *consents = fields
    return PersonFact(
        last_inbound_at=_instant(last_inbound),
        closed_at=_instant(closed),
        consents=tuple(_consents(consents)),
        suppressed_until=_instant(suppressed),
        sent_last_day=int(sent),
        revision=int(revision),
    )


def _consents(fields: Sequence[Field]) -> Iterator[ConsentFact]:
    """`c:<account>|<purpose>|<sender>` = `<1 or 0>:<at>:<expires or nothing>`; `o:<account>|<sender>` = `<at>`."""
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        kind, _, scope = _text(name).partition(":")
        if kind == "o":
            sender = scope.split("|")[1]
            yield ConsentFact(granted=False, at=from_ms(int(value)), sender=None if sender == ANY else sender)
            continue
        _, purpose, sender = scope.split("|")
        granted, at, expires = _text(value).split(":")
        yield ConsentFact(
            granted=granted == "1",
            at=from_ms(int(at)),
            purpose=None if purpose == ANY else Purpose(purpose),
            sender=None if sender == ANY else sender,
            expires_at=from_ms(int(expires)) if expires else None,
        )
