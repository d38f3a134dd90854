"""`verify` on consent, purpose and earliest instant, which only journals of producers and operators
hold.

Also what it cannot judge.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.consent import Standing, permission
from policies.facts import ConsentFact, PersonFact
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import Purpose
from tests.conftest import StoreUnderTest
from tests.support import shipped
from tests.support.cast import ANNA
from tests.support.cli_world import command_line
from tests.verify.test_promises import Run, rules
from verify.announced import _problem
from verify.report import to_json

DAY = 86_400_000
GRANTED = {"granted": True, "purpose": None}
UTILITY = {"granted": True, "purpose": "utility"}
REVOKED = {"granted": False, "purpose": None}
NO_UTILITY = {"granted": False, "purpose": "utility"}
MARKETING = {"granted": True, "purpose": "marketing"}
START = {"opted": "start"}
SURVEYS, NO_SURVEYS, UNREAD = (
    {"granted": granted, "purpose": "survey"} for granted in (True, False, "asked")
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run.jsonl")


def said(run: Run, *words: dict[str, Any]) -> None:
    """Record a person's words on consent, each later than the one before."""
    for word in words:
        event = "inbound" if "opted" in word else "consent"
        base = {
            "person": "digest-1",
            "account": "main",
            "sender": None,
            "at": None,
            "expires": None,
        }
        run.add(
            "gateway" if event == "inbound" else "person", event, **(base | {"sid": "SMin"} | word)
        )


def sent(run: Run, purpose: str = "utility", *, form: str = "template", **more: Any) -> None:
    """Journal a message that was accepted, decided and posted.

    `more` goes into the lines `accepted` and `post`.
    """
    accepted = {
        "purpose": purpose,
        "person": "digest-1",
        "account": "main",
        "sender": "shop",
        "not_before": None,
    }
    told = {name: more.pop(name) for name in tuple(more) if name in {*accepted, "expires"}}
    run.add(
        "producer", "accepted", id="m1", duplicate=False, **({"expires": None} | accepted | told)
    )
    run.claim("m1", form=form)
    fitting = {"authentication": "AUTHENTICATION", "marketing": "MARKETING"}.get(purpose, "UTILITY")
    category = fitting if form == "template" else None
    run.post("m1", form=form, **({"at": DAY, "window": False, "category": category} | more))
    run.settle("m1", 1, "accepted")


# -- consent ---------------------------------------------------------------------------------------


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


# -- purpose and time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "category", "broken"),
    [
        ("reply", "UTILITY", False),
        ("account_update", "UTILITY", False),
        ("utility", "MARKETING", True),
        ("marketing", "UTILITY", True),
        ("authentication", "UTILITY", True),
        ("birthday", "UTILITY", True),
    ],
)
def test_a_template_has_the_category_of_the_purpose(
    run: Run, purpose: str, category: str, broken: bool
) -> None:
    """A template's category, as the sandbox knows it, must fit the purpose that the producer
    wrote.
    """
    said(run, GRANTED, {"granted": True, "purpose": "marketing"})
    sent(run, purpose, category=category)
    assert rules(run.judge(), "P1") == ({"category"} if broken else set())


@pytest.mark.parametrize(("early_ms", "broken"), [(-1, False), (5_000, False), (5_001, True)])
def test_nothing_goes_before_its_time(run: Run, early_ms: int, broken: bool) -> None:
    """By the provider's clock no POST comes before not_before, with the grace of the expiry."""
    said(run, GRANTED)
    sent(run, not_before=DAY + early_ms)
    assert rules(run.judge(), "P1") == ({"too_early"} if broken else set())


# -- what errors taught ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "window", "held", "broken"),
    [
        ("utility", False, None, False),
        ("utility", False, "all", True),
        ("utility", True, "all", True),
        ("reply", True, "all", False),
        ("reply", False, "all", True),
        ("utility", False, "marketing", False),
        ("marketing", True, "marketing", True),
        ("marketing", False, "all", True),
    ],
)
def test_what_an_error_told_to_hold_back_does_not_go(
    run: Run, purpose: str, window: bool, held: str | None, broken: bool
) -> None:
    """A message that an error holds back must not go.

    The sandbox knows the error, and only the producer the purpose.
    """
    said(run, GRANTED, {"granted": True, "purpose": "marketing"})
    told = run.lines[-1]["t"]
    sent(run, purpose, window=window, held=held, held_t=told)
    assert ("held_back" in rules(run.judge(), "P1")) is broken


def test_a_grant_given_since_ends_what_an_error_held_back(run: Run) -> None:
    """A grant since the error ends the hold, because it is the person's own act."""
    said(run, GRANTED)
    sent(run, held="all", held_t=run.lines[-1]["t"] - 1)
    assert "held_back" not in rules(run.judge(), "P1")


def allowed(run: Run, person: str = "digest-1") -> None:
    """Journal that an operator allows messages to a person again."""
    run.add("command-1", "allowed", person=person)


BREAKS = [
    ({"violation": "told_unusable"}, 63024, "told_unusable"),
    ({"held": "all", "held_t": 1_000_001}, 63014, "held_back"),
    ({"held": "marketing", "held_t": 1_000_001, "purpose": "marketing"}, 63049, "held_back"),
]


@pytest.mark.parametrize(("more", "code", "rule"), BREAKS)
@pytest.mark.parametrize("person", ["digest-1", "digest-2", None])
def test_what_an_operator_allowed_is_no_breach(
    run: Run, more: dict[str, Any], code: int, rule: str, person: str | None
) -> None:
    """A message to a person whom an operator allowed is no breach; to another person it is."""
    said(run, GRANTED, MARKETING)
    failed(run, code, person="person-1")
    if person is not None:
        allowed(run, person)
    sent(run, **({"purpose": "utility"} | more))
    assert (rule in rules(run.judge(), "P1")) is (person != "digest-1")


@pytest.mark.parametrize(("more", "code", "rule"), BREAKS)
def test_an_operators_word_ends_neither_what_an_attempt_after_it_teaches_nor_what_is_said_after_the_post(  # noqa: E501 -- the name of a rule
    run: Run, more: dict[str, Any], code: int, rule: str
) -> None:
    """An operator's word does not excuse a failure after it, or a word said after the POST.

    The address that was allowed is known to have failed once more.
    """
    said(run, GRANTED, MARKETING)
    allowed(run)
    failed(run, code, person="person-1")
    sent(run, **({"purpose": "utility"} | more))
    allowed(run)
    assert rule in rules(run.judge(), "P1")


@pytest.mark.parametrize(
    ("failure", "broken"),
    [
        ({"person": "person-2"}, False),
        ({"account": "AC2"}, False),
        ({"sender": "text"}, False),
        ({}, True),
    ],
)
def test_a_cap_after_the_word_is_one_persons_at_one_sender(
    run: Run, failure: dict[str, Any], broken: bool
) -> None:
    """A cap after the operator's word holds for one person at one sender."""
    said(run, GRANTED, MARKETING)
    allowed(run)
    failed(run, 63049, **({"person": "person-1"} | failure))
    sent(run, "marketing", held="marketing", held_t=1_000_001)
    assert ("held_back" in rules(run.judge(), "P1")) is broken


def test_no_operator_ends_what_the_person_wished(run: Run) -> None:
    """An operator's word does not end a person's marketing stop."""
    said(run, GRANTED, MARKETING)
    allowed(run)
    sent(run, "marketing", held="marketing", held_t=1_000_001, held_wish=True)
    assert "held_back" in rules(run.judge(), "P1")


def test_a_post_of_whom_is_not_known_is_allowed_by_no_word(run: Run) -> None:
    """An operator's word allows no POST without the producer's line, which names the person."""
    allowed(run)
    run.claim("m1")
    run.post("m1", violation="told_unusable")
    assert "told_unusable" in rules(run.judge(), "P1")


def test_what_is_held_back_is_not_judged_without_a_purpose(run: Run) -> None:
    """A held back message is not judged without its purpose, which only the producer knows."""
    run.claim("m1")
    run.post("m1", held="all", held_t=0, category=None)
    assert "held_back" in run.judge().not_judged


def failed(
    run: Run, code: int = 63014, category: str = "UTILITY", purpose: str = "utility", **more: Any
) -> None:
    """Journal a message to Anna that fails, as sandbox and producer do."""
    person = {
        "purpose": purpose,
        "person": "digest-1",
        "account": "main",
        "sender": "shop",
        "not_before": None,
    }
    run.add("producer", "accepted", id="m0", duplicate=False, expires=None, **person)
    run.claim("m0")
    base: dict[str, Any] = {
        "person": "anna",
        "code": code,
        "category": category,
        "window": False,
        "at": DAY,
    }
    run.post("m0", **(base | more))
    run.settle("m0", 1, "failed")


def wrote(run: Run) -> None:
    """Let Anna write, and let the gateway answer."""
    run.add(
        "sandbox",
        "said",
        sid="SMsaid",
        person="anna",
        account="AC",
        channel="whatsapp",
        sender="shop",
    )
    run.add("sandbox", "said_acked", sid="SMsaid", http=200)
    run.add("gateway", "inbound", sid="SMsaid")


def refused(run: Run, reason: str, purpose: str = "utility") -> None:
    """Refuse the next message to her."""
    person = {
        "purpose": purpose,
        "person": "digest-1",
        "account": "main",
        "sender": "shop",
        "not_before": None,
    }
    run.add("producer", "accepted", id="m1", duplicate=False, expires=None, **person)
    run.add("worker", "decided", id="m1", decision="refuse", reason=reason)
    run.settle("m1", 0, "refused")


@pytest.mark.parametrize(
    ("reason", "code", "category", "has_written", "is_shut_out"),
    [
        ("address_suppressed", 63024, "UTILITY", False, False),
        ("address_suppressed", 63024, "UTILITY", True, True),
        ("provider_block", 63014, "UTILITY", False, False),
        ("provider_block", 63014, "UTILITY", True, True),
        ("provider_block", 63033, "MARKETING", False, True),
        ("opted_out", 63014, "UTILITY", True, False),
        ("address_suppressed", 30007, "UTILITY", True, False),
    ],
)
def test_nobody_stays_shut_out_for_what_their_own_act_ended(
    run: Run, reason: str, code: int, category: str, has_written: bool, is_shut_out: bool
) -> None:
    """A refusal after the person's own act ended the hold is a breach, because that message was
    lost. So is a refusal for a hold on marketing only.
    """
    failed(run, code, category)
    if has_written:
        wrote(run)
    refused(run, reason)
    assert ("shut_out" in rules(run.judge(), "P2")) is is_shut_out


def test_a_refusal_of_a_person_the_sandbox_never_saw_is_not_called_wrong(run: Run) -> None:
    """A refusal of a person whom the sandbox never saw is not judged."""
    refused(run, "provider_block")
    assert "shut_out" not in rules(run.judge(), "P2")


@pytest.mark.parametrize(
    ("status", "http", "is_shut_out"),
    [
        ("delivered", 200, True),
        ("read", 200, True),
        ("failed", 200, False),
        ("delivered", 503, False),
    ],
)
def test_what_arrived_after_all_taught_nothing(
    run: Run, status: str, http: int, is_shut_out: bool
) -> None:
    """A failure of a message that arrived after all has no effect once the gateway stored that."""
    said(run, GRANTED)
    failed(run, 63024)
    run.add(
        "sandbox", "callback_sent", sid="SM1", status=status, id="m0", attempt=1, http=http, ms=1.0
    )
    refused(run, "address_suppressed")
    assert ("shut_out" in rules(run.judge(), "P2")) is is_shut_out


# -- what cannot be judged -------------------------------------------------------------------------


def test_what_no_line_bears_witness_to_is_called_not_judged(run: Run) -> None:
    """A rule without the lines that it needs is listed as not judged, and the report stays green.

    That happens with a backend without `accepted`, or with an older sandbox.
    """
    run.message("m1", "SM1")
    report = run.judge()
    assert report.ok
    assert set(report.not_judged) == {
        *(
            "consent",
            "too_early",
            "after_expiry",
            "validity_beyond_window",
            "second_unproven_tag",
            "needs_phone",
        ),
        *("us_marketing", "told_unusable", "never_wrote", "held_back"),
    }
    assert report.not_judged["consent"] == "1 of 1 POSTs: `accepted` names no person"


def test_a_template_whose_category_the_sandbox_was_not_told_is_not_judged(run: Run) -> None:
    """A template without a category in the sandbox is not judged, nor a message without a
    purpose.
    """
    said(run, GRANTED)
    sent(run, category=None)
    assert "category" in run.judge().not_judged


# -- who writes the lines --------------------------------------------------------------------------


def test_the_consent_commands_write_what_they_recorded_and_no_address(
    store: StoreUnderTest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The consent commands journal digest, purpose and end of what they recorded, and no
    address.
    """
    command, path = command_line(store, tmp_path, capsys, monkeypatch), tmp_path / "people.jsonl"
    until = ("--expires", "2099-01-01T00:00:00+00:00")
    command("consent", "grant", ANNA, "--purpose", "utility", "--journal", str(path), *until)
    command("consent", "revoke", ANNA, "--journal", str(path))
    command("consent", "grant", ANNA, "--purpose", "utility", "--journal", str(path))
    command("consent", "grant", ANNA, "--purpose", "all", "--after-stop", "--journal", str(path))
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    digest = command("contact", ANNA, "--json").objects[0]["person"]
    assert [(line["e"], line["person"], line["account"]) for line in lines] == [
        ("consent", digest, "main")
    ] * 3
    assert [(line["granted"], line["purpose"], line["after_stop"]) for line in lines] == [
        (True, "utility", False),
        (False, None, False),
        (True, None, True),
    ]
    assert [line["expires"] for line in lines] == [4_070_908_800_000, None, None]
    assert ANNA.rpartition("+")[2] not in text
