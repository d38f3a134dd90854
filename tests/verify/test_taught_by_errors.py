"""`verify` finds POSTs to whom an earlier error had shut out."""

from typing import Any

import pytest

from tests.support.verify_announced import DAY, GRANTED, MARKETING, said, sent
from tests.support.verify_run import Run, rules


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
def test_no_person_stays_shut_out_for_what_their_own_act_ended(
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
