"""Consent: what a person granted and withdrew, as it stands for one purpose and one sender at one instant.

Laws:

* A withdrawal outranks every grant at or before it, in whichever order they are given.
* A withdrawal of one purpose is undone only by a grant that names this purpose. A withdrawal of everything is undone
  for a purpose only by a grant that counts for it: a general grant does not bring marketing back.
* An expired grant counts for nothing: a withdrawal that it undid stands again.
* Dates order what a person said, and nothing else. Everything in `consents` has been said; a date ahead of `now` only
  shows that a clock was set back since, so such a grant counts like any other.
* A record that this version cannot read permits nothing.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from policies.facts import ConsentFact, PersonFact
from policies.policy import Policy
from sendwindow.vocabulary import Purpose


class Standing(StrEnum):
    """How a person stands towards one purpose at one sender."""

    GRANTED = "granted"
    OPTED_OUT = "opted_out"
    EXPIRED = "expired"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Permission:
    """Standing at one instant.

    `until`: when it changes by itself for the worse, None for never. `opted_out_at`: the latest withdrawal in force.
    """

    standing: Standing
    until: datetime | None = None
    opted_out_at: datetime | None = None


def permission(person: PersonFact, purpose: Purpose, sender: str, policy: Policy, now: datetime) -> Permission:
    """Weigh a person's grants and withdrawals for `purpose` from `sender`.

    Source: Meta, "Get opt-in" (read 2026-09-15): consent per category, every stop honoured; ICO, "Consent": withdrawal.
    """
    if not person.is_readable:
        return Permission(Standing.OPTED_OUT)
    counted = policy.purposes[purpose].granted_by
    relevant = [fact for fact in person.consents if fact.sender is None or fact.sender == sender]
    valid = [fact for fact in relevant if fact.granted and _is_unexpired(fact, now)]
    until: datetime | None = None
    opted_out_at: datetime | None = None
    for fact in relevant:
        if fact.granted or fact.purpose not in (None, purpose):
            continue
        undoing = [grant for grant in valid if _undoes(grant, fact, purpose, counted)]
        if undoing:
            until = earliest(until, _lasts_until(undoing))
        elif opted_out_at is None or fact.at > opted_out_at:
            opted_out_at = fact.at
    if opted_out_at is not None:
        return Permission(Standing.OPTED_OUT, opted_out_at=opted_out_at)
    grants = [fact for fact in valid if fact.purpose in counted]
    if grants:
        return Permission(Standing.GRANTED, until=earliest(until, _lasts_until(grants)))
    if any(fact.granted and fact.purpose in counted for fact in relevant):
        return Permission(Standing.EXPIRED, until=until)
    return Permission(Standing.NONE, until=until)


def is_stopped(person: PersonFact, sender: str, now: datetime) -> bool:
    """Tell whether a person who wrote to `sender` withdrew everything there, and has granted nothing since."""
    relevant = [fact for fact in person.consents if fact.sender is None or fact.sender == sender]
    granted = [fact.at for fact in relevant if fact.granted and fact.purpose is None and _is_unexpired(fact, now)]
    withdrawn = [fact.at for fact in relevant if not fact.granted and fact.purpose is None]
    return bool(withdrawn) and not any(at > max(withdrawn) for at in granted)


def earliest(first: datetime | None, *others: datetime | None) -> datetime | None:
    """Answer the earliest of some instants, None meaning never."""
    for other in others:
        if first is None or (other is not None and other < first):
            first = other
    return first


def _is_unexpired(fact: ConsentFact, now: datetime) -> bool:
    return fact.expires_at is None or now < fact.expires_at


def _undoes(grant: ConsentFact, withdrawal: ConsentFact, purpose: Purpose, counted: Collection[Purpose | None]) -> bool:
    if grant.at <= withdrawal.at:
        return False
    return grant.purpose is purpose or (grant.purpose is None and withdrawal.purpose is None and None in counted)


def _lasts_until(grants: Iterable[ConsentFact]) -> datetime | None:
    """Answer when the last of several grants ends; None when one of them never does."""
    latest: datetime | None = None
    for grant in grants:
        if grant.expires_at is None:
            return None
        if latest is None or grant.expires_at > latest:
            latest = grant.expires_at
    return latest
