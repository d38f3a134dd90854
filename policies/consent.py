"""Consent: what a person's grants and withdrawals permit for one purpose at one sender.

The answer is for one instant, because grants expire.

Laws:

* A withdrawal outranks every grant with the same or an earlier date. The order in which they were
  recorded does not matter.
* A withdrawal of one purpose is undone only by a grant that names this purpose. For each purpose,
  a withdrawal of everything is undone only by a grant that counts for this purpose. A general grant
  therefore does not permit marketing again.
* An expired grant has no effect. A withdrawal that it had undone is in force again.
* Dates only order what a person said. Everything in `consents` has been said. A date after `now`
  only means that a clock was set back since, so such a grant counts like any other.
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
    """What a person permits for one purpose at one sender."""

    GRANTED = "granted"
    OPTED_OUT = "opted_out"
    EXPIRED = "expired"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Permission:
    """The standing at one instant.

    `until`: when it becomes worse by itself, because a grant expires; None for never.
    `opted_out_at`: the date of the latest withdrawal in force.
    """

    standing: Standing
    until: datetime | None = None
    opted_out_at: datetime | None = None


def permission(
    person: PersonFact, purpose: Purpose, sender: str, policy: Policy, now: datetime
) -> Permission:
    """Return what a person's grants and withdrawals permit for `purpose` from `sender`.

    Sources: Meta, "Get opt-in" (read 2026-09-15), which requires consent per category and that
    every stop is honoured; ICO, "Consent", about withdrawal.
    """
    if not person.is_readable:
        return Permission(Standing.OPTED_OUT)
    counted = policy.purposes[purpose].granted_by
    valid: list[ConsentFact] = []
    withdrawals: list[ConsentFact] = []
    has_expired = False
    for fact in person.consents:
        if fact.sender is not None and fact.sender != sender:
            continue
        if not fact.granted:
            withdrawals.append(fact)
        elif fact.expires_at is None or now < fact.expires_at:
            valid.append(fact)
        elif fact.purpose in counted:
            has_expired = True
    opted_out_at, until = _in_force(withdrawals, valid, purpose, counted)
    if opted_out_at is not None:
        return Permission(Standing.OPTED_OUT, opted_out_at=opted_out_at)
    grants = [fact for fact in valid if fact.purpose in counted]
    if grants:
        return Permission(Standing.GRANTED, until=earliest(until, _lasts_until(grants)))
    return Permission(Standing.EXPIRED if has_expired else Standing.NONE, until=until)


def _in_force(
    withdrawals: Iterable[ConsentFact],
    valid: Iterable[ConsentFact],
    purpose: Purpose,
    counted: Collection[Purpose | None],
) -> tuple[datetime | None, datetime | None]:
    """Return the date of the latest withdrawal in force, and when an undone one returns."""
    until: datetime | None = None
    opted_out_at: datetime | None = None
    for fact in withdrawals:
        if fact.purpose not in (None, purpose):
            continue
        undoing = [grant for grant in valid if _undoes(grant, fact, purpose, counted)]
        if undoing:
            until = earliest(until, _lasts_until(undoing))
        elif opted_out_at is None or fact.at > opted_out_at:
            opted_out_at = fact.at
    return opted_out_at, until


def is_stopped(person: PersonFact, sender: str, now: datetime) -> bool:
    """Return whether the person withdrew everything at `sender`, with no general grant after it."""
    relevant = [fact for fact in person.consents if fact.sender is None or fact.sender == sender]
    granted = [
        fact.at
        for fact in relevant
        if fact.granted and fact.purpose is None and _is_unexpired(fact, now)
    ]
    withdrawn = [fact.at for fact in relevant if not fact.granted and fact.purpose is None]
    return bool(withdrawn) and not any(at > max(withdrawn) for at in granted)


def earliest(first: datetime | None, *others: datetime | None) -> datetime | None:
    """Return the earliest of several instants, where None means never."""
    for other in others:
        if first is None or (other is not None and other < first):
            first = other
    return first


def _is_unexpired(fact: ConsentFact, now: datetime) -> bool:
    return fact.expires_at is None or now < fact.expires_at


def _undoes(
    grant: ConsentFact,
    withdrawal: ConsentFact,
    purpose: Purpose,
    counted: Collection[Purpose | None],
) -> bool:
    if grant.at <= withdrawal.at:
        return False
    return grant.purpose is purpose or (
        grant.purpose is None and withdrawal.purpose is None and None in counted
    )


def _lasts_until(grants: Iterable[ConsentFact]) -> datetime | None:
    """Return when the last of several grants ends, or None if one of them never ends."""
    latest: datetime | None = None
    for grant in grants:
        if grant.expires_at is None:
            return None
        if latest is None or grant.expires_at > latest:
            latest = grant.expires_at
    return latest
