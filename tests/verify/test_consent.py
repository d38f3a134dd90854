"""`verify` knows consent from the journals, and finds POSTs without it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.consent import Standing, permission
from policies.facts import ConsentFact, PersonFact
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import Purpose
from tests.support import shipped
from tests.support.verify_announced import DAY, GRANTED, MARKETING, UTILITY, said, sent
from tests.support.verify_run import Run, rules
from verify.announced import _problem
from verify.report import to_json

REVOKED = {"granted": False, "purpose": None}


NO_UTILITY = {"granted": False, "purpose": "utility"}


START = {"opted": "start"}


SURVEYS, NO_SURVEYS, UNREAD = (
    {"granted": granted, "purpose": "survey"} for granted in (True, False, "asked")
)


@pytest.mark.parametrize(
    ("words", "purpose", "broken"),
    [
        ([], "utility", "no_consent"),
        ([GRANTED], "utility", None),
        ([UTILITY], "utility", None),
        ([UTILITY], "authentication", "no_consent"),
        ([GRANTED], "marketing", "no_consent"),
        ([{"granted": True, "purpose": "marketing"}], "marketing", None),
        ([GRANTED | {"account": "second"}], "utility", "no_consent"),
        ([GRANTED | {"person": "digest-2"}], "utility", "no_consent"),
        ([GRANTED | {"sender": "shop"}], "utility", None),
        ([GRANTED | {"sender": "text"}], "utility", "no_consent"),
        ([GRANTED | {"expires": DAY - 5_000}], "utility", None),
        ([GRANTED | {"expires": DAY - 5_001}], "utility", "consent_expired"),
        ([GRANTED, REVOKED], "utility", "consent_withdrawn"),
        ([GRANTED, NO_UTILITY], "utility", "consent_withdrawn"),
        ([GRANTED, NO_UTILITY], "authentication", None),
        ([GRANTED, REVOKED, GRANTED], "utility", None),
        ([GRANTED, REVOKED, UTILITY], "utility", None),
        ([GRANTED, NO_UTILITY, GRANTED], "utility", "consent_withdrawn"),
        ([GRANTED, REVOKED, START], "utility", None),
        ([GRANTED, NO_UTILITY, START], "utility", "consent_withdrawn"),
        ([START], "utility", "no_consent"),
        ([GRANTED | {"at": 2_000_000}, REVOKED], "utility", None),
        ([MARKETING, REVOKED, GRANTED], "marketing", "consent_withdrawn"),
        ([MARKETING, REVOKED, GRANTED, MARKETING], "marketing", None),
        ([MARKETING, REVOKED, START], "marketing", None),
        ([GRANTED, NO_SURVEYS], "utility", "unknown_withdrawal"),
        ([NO_SURVEYS, GRANTED, UTILITY], "utility", "unknown_withdrawal"),
        ([GRANTED, UNREAD], "utility", "unknown_withdrawal"),
        ([GRANTED, NO_SURVEYS, START], "reply", "unknown_withdrawal"),
        ([SURVEYS], "utility", "no_consent"),
        ([GRANTED, SURVEYS], "utility", None),
        ([GRANTED, NO_UTILITY, UTILITY | {"expires": DAY}], "utility", None),
        ([GRANTED, NO_UTILITY, UTILITY | {"expires": DAY - 5_001}], "utility", "consent_withdrawn"),
        ([GRANTED, REVOKED, GRANTED | {"expires": DAY - 5_001}], "utility", "consent_withdrawn"),
        (
            [NO_UTILITY | {"at": 2_000_000}, UTILITY | {"at": 2_000_000}],
            "utility",
            "consent_withdrawn",
        ),
        (
            [UTILITY | {"at": 2_000_000}, REVOKED | {"at": 2_000_000}],
            "utility",
            "consent_withdrawn",
        ),
    ],
)
def test_every_post_has_the_consent_of_its_person(
    run: Run, words: list[dict[str, Any]], purpose: str, broken: str | None
) -> None:
    """Every POST needs consent in force for its purpose at its sender.

    Marketing is named, and a later word undoes an earlier one.
    """
    said(run, *words)
    sent(run, purpose)
    report = run.judge()
    assert rules(report, "P1") == ({broken} if broken else set())
    assert to_json(report)["not_judged"].keys() == {"P5", "after_expiry"}


def test_consent_given_after_the_post_does_not_count(run: Run) -> None:
    """Consent after the POST does not count, and a withdrawal after the decision breaks nothing.

    Only a STOP waits for permits from before it.
    """
    sent(run)
    said(run, GRANTED)
    assert rules(run.judge(), "P1") == {"no_consent"}


@pytest.mark.parametrize(
    ("purpose", "form", "window", "broken"),
    [
        ("reply", "freeform", True, False),
        ("reply", "freeform", False, True),
        ("reply", "template", True, True),
        ("utility", "freeform", True, True),
    ],
)
def test_writing_to_us_allows_a_freeform_reply_in_the_window_and_nothing_else(
    run: Run, purpose: str, form: str, window: bool, broken: bool
) -> None:
    """An inbound allows a freeform reply in the window and nothing else.

    The sandbox knows the window.
    """
    sent(run, purpose, form=form, window=window)
    assert rules(run.judge(), "P1") == ({"no_consent"} if broken else set())


def test_on_messenger_the_sandbox_knows_who_may_be_written_to(run: Run) -> None:
    """On Messenger an inbound to the Page is the permission, which the sandbox knows."""
    sent(run, form="freeform", channel="messenger")
    assert rules(run.judge(), "P1") == set()


@pytest.mark.parametrize("after_stop", [True, False])
def test_a_grant_recorded_as_after_the_stop_ends_it(run: Run, after_stop: bool) -> None:
    """A grant recorded as after the STOP ends it: the person asked for messages in another way."""
    run.stop()
    said(run, GRANTED | {"after_stop": after_stop})
    sent(run, violation="opted_out")
    assert rules(run.judge(), "P1") == (set() if after_stop else {"after_stop"})


@pytest.mark.parametrize(
    ("purpose", "grant"),
    [
        ("utility", GRANTED | {"expires": DAY - 5_001}),
        ("marketing", GRANTED),
        ("utility", MARKETING),
    ],
    ids=["lapsed", "of everything, for marketing", "of another purpose"],
)
def test_a_grant_after_the_stop_ends_it_only_for_what_it_covers(
    run: Run, purpose: str, grant: dict[str, Any]
) -> None:
    """A grant after the STOP ends it only for what the grant covers and only while it lasts."""
    said(run, UTILITY, MARKETING)
    run.stop()
    said(run, grant | {"after_stop": True})
    sent(run, purpose, violation="opted_out")
    assert rules(run.judge(), "P1") >= {"after_stop"}


WORDS = st.lists(
    st.builds(
        lambda granted, at, purpose, sender, ends: {
            "e": "consent",
            "t": 0.0,
            "granted": granted,
            "at": at * DAY,
            "purpose": purpose,
            "sender": sender,
            "expires": None if ends is None or not granted else ends * DAY,
        },
        st.booleans(),
        st.integers(1, 5),
        st.sampled_from([None, "utility", "marketing"]),
        st.sampled_from([None, "shop", "other"]),
        st.none() | st.integers(1, 8),
    ),
    max_size=8,
)


@given(WORDS, st.sampled_from(["utility", "marketing", "authentication"]), st.integers(0, 9))
def test_verify_and_the_service_know_the_same_rules(
    words: list[dict[str, Any]], purpose: str, days: int
) -> None:
    """`verify` and the service, which share no code, agree on every ledger.

    Instants are whole days apart, so that the grace does not matter.
    """
    at = days * DAY + DAY // 2
    known = sorted(words, key=lambda line: (line["at"], not line["granted"]))
    near = [line for line in known if line["sender"] in {None, "shop"}]
    found = _problem(near, purpose, {"form": "template", "at": at})
    facts = tuple(
        ConsentFact(
            line["granted"],
            from_ms(line["at"]),
            Purpose(line["purpose"]) if line["purpose"] else None,
            line["sender"],
            None if line["expires"] is None else from_ms(line["expires"]),
        )
        for line in words
    )
    policy = shipped.rules().policy
    standing = permission(
        PersonFact(consents=facts), Purpose(purpose), "shop", policy, from_ms(at)
    ).standing
    assert {
        None: Standing.GRANTED,
        "consent_withdrawn": Standing.OPTED_OUT,
        "consent_expired": Standing.EXPIRED,
        "no_consent": Standing.NONE,
    }[found] is standing
