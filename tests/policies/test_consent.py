"""Grants and withdrawals, and which outranks which."""

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.consent import Permission, Standing, earliest, is_stopped, permission
from policies.facts import ConsentFact
from policies.policy import parse_policy
from sendwindow.vocabulary import Purpose
from tests.policies.given import DAY, HOUR, MINUTE, NOW, POLICY, TICK, person
from tests.support.shipped import shipped

UTILITY, MARKETING, REPLY = Purpose.UTILITY, Purpose.MARKETING, Purpose.REPLY


def grant(
    ago: timedelta,
    purpose: Purpose | None = None,
    sender: str | None = None,
    lasts: timedelta | None = None,
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
        pytest.param(
            UTILITY, (grant(-TICK),), Standing.GRANTED, id="dated-ahead-of-a-clock-set-back"
        ),
        pytest.param(UTILITY, (grant(DAY, lasts=TICK),), Standing.GRANTED, id="last-instant"),
        pytest.param(UTILITY, (grant(DAY, lasts=timedelta(0)),), Standing.EXPIRED, id="expired"),
        pytest.param(UTILITY, (grant(DAY), stop(HOUR)), Standing.OPTED_OUT, id="stopped"),
        pytest.param(
            UTILITY, (stop(HOUR), grant(HOUR)), Standing.OPTED_OUT, id="same-instant-the-stop-wins"
        ),
        pytest.param(
            UTILITY, (stop(HOUR), grant(HOUR - TICK)), Standing.GRANTED, id="started-again"
        ),
        pytest.param(
            UTILITY,
            (stop(HOUR), grant(MINUTE, lasts=-TICK)),
            Standing.OPTED_OUT,
            id="undone-by-an-expired",
        ),
        pytest.param(
            UTILITY,
            (stop(HOUR), grant(-TICK)),
            Standing.GRANTED,
            id="undone-ahead-of-a-clock-set-back",
        ),
        pytest.param(
            UTILITY, (grant(DAY), stop(-HOUR)), Standing.OPTED_OUT, id="a-stop-in-the-future-counts"
        ),
        pytest.param(
            UTILITY,
            (grant(DAY), stop(HOUR, MARKETING)),
            Standing.GRANTED,
            id="stopped-marketing-only",
        ),
        pytest.param(
            MARKETING,
            (grant(DAY, MARKETING), stop(HOUR, MARKETING)),
            Standing.OPTED_OUT,
            id="stopped-marketing",
        ),
        pytest.param(
            MARKETING,
            (stop(HOUR, MARKETING), grant(MINUTE)),
            Standing.OPTED_OUT,
            id="start-leaves-it-stopped",
        ),
        pytest.param(
            MARKETING,
            (stop(HOUR), grant(MINUTE, MARKETING)),
            Standing.GRANTED,
            id="named-after-a-stop-of-all",
        ),
        pytest.param(
            MARKETING,
            (grant(DAY, MARKETING), stop(HOUR), grant(MINUTE)),
            Standing.OPTED_OUT,
            id="a-general-grant-does-not-revive-marketing",
        ),
        pytest.param(
            MARKETING,
            (grant(DAY, MARKETING), stop(HOUR), grant(MINUTE), grant(MINUTE, MARKETING)),
            Standing.GRANTED,
            id="granted-again-by-name",
        ),
        pytest.param(
            UTILITY,
            (grant(DAY), stop(HOUR, UTILITY), grant(MINUTE, UTILITY, lasts=timedelta(0))),
            Standing.OPTED_OUT,
            id="after-a-limited-grant-the-withdrawal-stands-again",
        ),
        pytest.param(
            UTILITY,
            (stop(HOUR), grant(MINUTE, REPLY)),
            Standing.OPTED_OUT,
            id="another-purpose-undoes-nothing",
        ),
        pytest.param(
            UTILITY,
            (grant(DAY), stop(HOUR, sender="other")),
            Standing.GRANTED,
            id="stopped-another-sender",
        ),
        pytest.param(
            UTILITY,
            (grant(DAY), stop(HOUR, sender="shop")),
            Standing.OPTED_OUT,
            id="stopped-this-sender",
        ),
        pytest.param(
            UTILITY,
            (stop(HOUR, sender="shop"), grant(MINUTE)),
            Standing.GRANTED,
            id="start-undoes-the-sender's",
        ),
    ],
)
def test_the_newest_word_of_the_person_counts_in_its_scope(
    purpose: Purpose, consents: tuple[ConsentFact, ...], expected: Standing
) -> None:
    """A withdrawal outranks every grant up to its instant.

    Only a later valid grant that covers it undoes it.
    """
    assert standing(purpose, *consents).standing is expected
    assert standing(purpose, *reversed(consents)).standing is expected


def test_a_permission_lasts_as_long_as_the_grants_it_needs() -> None:
    """A permission lasts as long as its longest grant, or until the grant that undid a stop
    ends.
    """
    assert (
        standing(UTILITY, grant(DAY, lasts=HOUR), grant(DAY, UTILITY, lasts=MINUTE)).until
        == NOW + HOUR
    )
    assert standing(UTILITY, grant(DAY, lasts=HOUR), grant(DAY, UTILITY)).until is None
    undone = (stop(2 * HOUR), grant(HOUR, lasts=MINUTE), grant(DAY, UTILITY))
    assert standing(UTILITY, *undone).until == NOW + MINUTE
    assert (
        standing(UTILITY, stop(2 * HOUR), grant(HOUR, REPLY), grant(HOUR, lasts=MINUTE)).until
        == NOW + MINUTE
    )


def test_a_confirmation_counts_from_the_latest_stop() -> None:
    """A confirmation counts from the later of two stops in force."""
    found = standing(UTILITY, stop(DAY, UTILITY), stop(MINUTE), stop(HOUR))
    assert found.opted_out_at == NOW - MINUTE


def test_a_record_that_cannot_be_read_permits_nothing() -> None:
    """An unreadable record permits nothing: a newer version may have recorded a withdrawal
    there.
    """
    unreadable = replace(person(grant(DAY)), is_readable=False)
    assert permission(unreadable, UTILITY, "shop", POLICY, NOW) == Permission(Standing.OPTED_OUT)


@pytest.mark.parametrize(
    "consents, expected",
    [
        pytest.param((), False, id="nothing-recorded"),
        pytest.param((stop(HOUR),), True, id="stopped"),
        pytest.param((stop(HOUR), grant(HOUR)), True, id="the-same-instant"),
        pytest.param((stop(HOUR), grant(MINUTE)), False, id="granted-since"),
        pytest.param((stop(HOUR), grant(MINUTE, lasts=-TICK)), True, id="granted-since-and-lapsed"),
        pytest.param((stop(HOUR), grant(MINUTE, UTILITY)), True, id="one-purpose-granted-since"),
        pytest.param((stop(HOUR, UTILITY),), False, id="one-purpose-withdrawn"),
        pytest.param((stop(HOUR, sender="other"),), False, id="stopped-another-sender"),
    ],
)
def test_a_person_who_withdrew_everything_is_stopped(
    consents: tuple[ConsentFact, ...], expected: bool
) -> None:
    """A person who withdrew everything is stopped until everything is granted again.

    Only until then a word such as YES undoes something.
    """
    assert is_stopped(person(*consents), "shop", NOW) is expected


FACTS = st.lists(
    st.builds(
        ConsentFact,
        granted=st.booleans(),
        at=st.integers(0, 6).map(lambda hours: NOW + hours * HOUR),
        purpose=st.sampled_from([None, UTILITY, MARKETING, REPLY]),
        sender=st.sampled_from([None, "shop", "other"]),
        expires_at=st.none() | st.integers(1, 8).map(lambda hours: NOW + hours * HOUR),
    ),
    max_size=8,
)


@given(FACTS, st.randoms(use_true_random=False), st.sampled_from(Purpose), st.integers(-1, 9))
def test_the_order_in_which_facts_are_given_makes_no_difference(
    consents: list[ConsentFact], chance: Random, purpose: Purpose, hours: int
) -> None:
    """Facts count by their dates, whatever their order, and at equal dates a withdrawal wins."""
    shuffled = list(consents)
    chance.shuffle(shuffled)
    now = NOW + hours * HOUR
    found = permission(person(*consents), purpose, "shop", POLICY, now)
    assert permission(person(*shuffled), purpose, "shop", POLICY, now) == found


@given(
    FACTS,
    st.integers(0, 6),
    st.sampled_from([None, "shop"]),
    st.sampled_from([Purpose.UTILITY, Purpose.MARKETING]),
)
def test_after_a_withdrawal_only_a_later_grant_that_counts_permits(
    consents: list[ConsentFact], hours: int, sender: str | None, purpose: Purpose
) -> None:
    """After a withdrawal only a later grant in force permits a purpose."""
    withdrawn_at = NOW + hours * HOUR
    everything = (*consents, ConsentFact(False, withdrawn_at, None, sender))
    counts = {purpose} if purpose is Purpose.MARKETING else {purpose, None}
    now = NOW + 7 * HOUR
    if permission(person(*everything), purpose, "shop", POLICY, now).standing is Standing.GRANTED:
        assert any(
            one.granted
            and one.at > withdrawn_at
            and one.purpose in counts
            and one.sender in {None, "shop"}
            and (one.expires_at is None or one.expires_at > now)
            for one in consents
        )


def test_which_grants_count_is_policy_data() -> None:
    """A purpose's `granted_by` is policy data, so another reading needs no code."""
    data = shipped()
    data["policy.toml"]["purposes"]["marketing"]["granted_by"] = ["marketing", "all"]
    wider = parse_policy(data)
    assert (
        permission(person(grant(DAY)), MARKETING, "shop", wider, NOW).standing is Standing.GRANTED
    )


@given(st.lists(st.none() | st.datetimes(), min_size=1, max_size=5))
def test_the_earliest_of_instants_ignores_never(instants: list[datetime | None]) -> None:
    """None means never and comes after every instant."""
    known = [instant for instant in instants if instant is not None]
    assert earliest(*instants) == (min(known) if known else None)
