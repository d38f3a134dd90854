"""Grants and withdrawals, and which outranks which."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.consent import Permission, Standing, earliest, permission
from policies.facts import ConsentFact
from policies.policy import parse_policy
from sendwindow.vocabulary import Purpose
from tests.policies.given import DAY, HOUR, MINUTE, NOW, POLICY, TICK, person, shipped

UTILITY, MARKETING, REPLY = Purpose.UTILITY, Purpose.MARKETING, Purpose.REPLY


def grant(
    ago: timedelta, purpose: Purpose | None = None, sender: str | None = None, lasts: timedelta | None = None
) -> ConsentFact:
    return ConsentFact(True, NOW - ago, purpose, sender, None if lasts is None else NOW + lasts)


def stop(ago: timedelta, purpose: Purpose | None = None, sender: str | None = None) -> ConsentFact:
    return ConsentFact(False, NOW - ago, purpose, sender)


def standing(purpose: Purpose, *consents: ConsentFact) -> Permission:
    return permission(person(*consents), purpose, "shop", POLICY, NOW)


@pytest.mark.parametrize(
    "purpose, consents, expected",
    [
        pytest.param(UTILITY, (), Standing.NONE, id="nothing-recorded"),
        pytest.param(UTILITY, (grant(DAY),), Standing.GRANTED, id="granted-for-all"),
        pytest.param(UTILITY, (grant(DAY, UTILITY),), Standing.GRANTED, id="granted-by-name"),
        pytest.param(UTILITY, (grant(DAY, MARKETING),), Standing.NONE, id="another-purpose"),
        pytest.param(MARKETING, (grant(DAY),), Standing.NONE, id="all-does-not-mean-marketing"),
        pytest.param(UTILITY, (grant(DAY, sender="shop"),), Standing.GRANTED, id="at-this-sender"),
        pytest.param(UTILITY, (grant(DAY, sender="other"),), Standing.NONE, id="at-another-sender"),
        pytest.param(UTILITY, (grant(timedelta(0)),), Standing.GRANTED, id="granted-this-instant"),
        pytest.param(UTILITY, (grant(-TICK),), Standing.NONE, id="granted-in-the-future"),
        pytest.param(UTILITY, (grant(DAY, lasts=TICK),), Standing.GRANTED, id="last-instant"),
        pytest.param(UTILITY, (grant(DAY, lasts=timedelta(0)),), Standing.EXPIRED, id="expired"),
        pytest.param(UTILITY, (grant(DAY), stop(HOUR)), Standing.OPTED_OUT, id="stopped"),
        pytest.param(UTILITY, (stop(HOUR), grant(HOUR)), Standing.OPTED_OUT, id="same-instant-the-stop-wins"),
        pytest.param(UTILITY, (stop(HOUR), grant(HOUR - TICK)), Standing.GRANTED, id="started-again"),
        pytest.param(UTILITY, (stop(HOUR), grant(MINUTE, lasts=-TICK)), Standing.OPTED_OUT, id="undone-by-an-expired"),
        pytest.param(UTILITY, (stop(HOUR), grant(-TICK)), Standing.OPTED_OUT, id="undone-in-the-future"),
        pytest.param(UTILITY, (grant(DAY), stop(-HOUR)), Standing.OPTED_OUT, id="a-stop-in-the-future-counts"),
        pytest.param(UTILITY, (grant(DAY), stop(HOUR, MARKETING)), Standing.GRANTED, id="stopped-marketing-only"),
        pytest.param(
            MARKETING, (grant(DAY, MARKETING), stop(HOUR, MARKETING)), Standing.OPTED_OUT, id="stopped-marketing"
        ),
        pytest.param(
            MARKETING, (stop(HOUR, MARKETING), grant(MINUTE)), Standing.OPTED_OUT, id="start-leaves-it-stopped"
        ),
        pytest.param(
            MARKETING, (stop(HOUR), grant(MINUTE, MARKETING)), Standing.GRANTED, id="named-after-a-stop-of-all"
        ),
        pytest.param(
            MARKETING, (grant(DAY, MARKETING), stop(HOUR), grant(MINUTE)), Standing.GRANTED, id="start-restores"
        ),
        pytest.param(
            UTILITY, (stop(HOUR), grant(MINUTE, REPLY)), Standing.OPTED_OUT, id="another-purpose-undoes-nothing"
        ),
        pytest.param(UTILITY, (grant(DAY), stop(HOUR, sender="other")), Standing.GRANTED, id="stopped-another-sender"),
        pytest.param(UTILITY, (grant(DAY), stop(HOUR, sender="shop")), Standing.OPTED_OUT, id="stopped-this-sender"),
        pytest.param(
            UTILITY, (stop(HOUR, sender="shop"), grant(MINUTE)), Standing.GRANTED, id="start-undoes-the-sender's"
        ),
    ],
)
def test_the_newest_word_of_the_person_counts_in_its_scope(
    purpose: Purpose, consents: tuple[ConsentFact, ...], expected: Standing
) -> None:
    """A withdrawal outranks every grant at or before it; only a later, valid grant that covers it undoes it."""
    assert standing(purpose, *consents).standing is expected
    assert standing(purpose, *reversed(consents)).standing is expected


def test_a_permission_lasts_as_long_as_the_grants_it_needs() -> None:
    """The longest of several grants counts; where a grant undoes a stop, its end matters too."""
    assert standing(UTILITY, grant(DAY, lasts=HOUR), grant(DAY, UTILITY, lasts=MINUTE)).until == NOW + HOUR
    assert standing(UTILITY, grant(DAY, lasts=HOUR), grant(DAY, UTILITY)).until is None
    undone = (stop(2 * HOUR), grant(HOUR, lasts=MINUTE), grant(DAY, UTILITY))
    assert standing(UTILITY, *undone).until == NOW + MINUTE
    assert standing(MARKETING, stop(2 * HOUR), grant(HOUR, lasts=MINUTE)).until == NOW + MINUTE


def test_a_confirmation_counts_from_the_latest_stop() -> None:
    """Two stops in force: the younger one is what was just said."""
    found = standing(UTILITY, stop(DAY, UTILITY), stop(MINUTE), stop(HOUR))
    assert found.opted_out_at == NOW - MINUTE


def test_which_grants_count_is_policy_data() -> None:
    """`granted_by` of a purpose decides, so a stricter or wider reading needs no code."""
    data = shipped()
    data["policy.toml"]["purposes"]["marketing"]["granted_by"] = ["marketing", "all"]
    wider = parse_policy(data)
    assert permission(person(grant(DAY)), MARKETING, "shop", wider, NOW).standing is Standing.GRANTED


@given(st.lists(st.none() | st.datetimes(), min_size=1, max_size=5))
def test_the_earliest_of_instants_ignores_never(instants: list[datetime | None]) -> None:
    """None means never: it comes after every instant."""
    known = [instant for instant in instants if instant is not None]
    assert earliest(*instants) == (min(known) if known else None)
