"""`verify` on marketing: none after "Stop promotions", and none while a sentence may have meant
stop.
"""

from typing import Any

import pytest

from tests.support.verify_run import Run, rules

WHO = {"person": "person-1", "account": "AC1", "channel": "whatsapp", "stop": False, "start": False}


def meant(run: Run, means: str | None, sid: str = "SMin", *, http: int = 200, **more: Any) -> None:
    """Let a person write or tap, and let the gateway answer."""
    run.add("sandbox", "said", sid=sid, **(WHO | {"means": means, "sender": "shop"} | more))
    run.add(
        "gateway", "inbound", sid=sid, keyword=None, opted=None, person="digest-1", account="main"
    )
    run.add("sandbox", "said_acked", sid=sid, http=http)


def decided(run: Run, sid: str = "SMin") -> None:
    run.add("command", "suspected", sid=sid, person="digest-1", account="main", decision="dismiss")


def sent(run: Run, purpose: str = "marketing") -> None:
    accepted = {
        "purpose": purpose,
        "person": "digest-1",
        "account": "main",
        "sender": "shop",
        "not_before": None,
    }
    run.add("producer", "accepted", id="m1", duplicate=False, expires=None, **accepted)
    run.claim("m1", form="template")
    category = "MARKETING" if purpose == "marketing" else "UTILITY"
    run.post("m1", form="template", at=0, window=True, category=category)
    run.settle("m1", 1, "accepted")


def held(run: Run) -> set[str]:
    return rules(run.judge(), "P1") & {"after_marketing_stop", "after_suspected_stop"}


@pytest.mark.parametrize(
    ("words", "purpose", "expected"),
    [
        (("suspected",), "marketing", {"after_suspected_stop"}),
        (("stop_marketing",), "marketing", {"after_marketing_stop"}),
        (("suspected",), "utility", set()),
        (("stop_marketing",), "utility", set()),
        (("stop_marketing", "start_marketing"), "marketing", set()),
        (("stop_marketing", "start"), "marketing", {"after_marketing_stop"}),
        (("suspected", None), "marketing", {"after_suspected_stop"}),
        (("suspected", "answer"), "marketing", {"after_suspected_stop"}),
        (("suspected", "start"), "marketing", set()),
        (("suspected", "start_marketing"), "marketing", set()),
        (("suspected", "stop_marketing"), "marketing", {"after_marketing_stop"}),
        ((None,), "marketing", set()),
    ],
)
def test_marketing_is_held_until_the_person_is_clear(
    run: Run, words: tuple[str | None, ...], purpose: str, expected: set[str]
) -> None:
    """Marketing is held until the person is clear.

    Other purposes go on, an ordinary message settles nothing.
    """
    for number, word in enumerate(words):
        meant(run, word, f"SM{number}")
    sent(run, purpose)
    assert held(run) == expected


def test_a_decision_ends_what_was_suspected_until_then(run: Run) -> None:
    """A decision covers the sentence that it names and those before the decision.

    A later one is a new case.
    """
    meant(run, "suspected", "SM1")
    meant(run, "suspected", "SM2")
    decided(run, "SM1")
    sent(run)
    assert held(run) == set()
    run.lines.clear()
    meant(run, "suspected", "SM1")
    decided(run, "SM1")
    meant(run, "suspected", "SM3")
    sent(run)
    assert held(run) == {"after_suspected_stop"}


@pytest.mark.parametrize(
    "more", [{"http": 503}, {"person": "person-2"}, {"account": "AC2"}, {"channel": "sms"}]
)
def test_what_was_not_answered_or_is_another_persons_holds_nothing(
    run: Run, more: dict[str, Any]
) -> None:
    """Only an inbound that got a 2xx holds marketing, for its own person, account and channel."""
    meant(run, "suspected", **more)
    sent(run)
    assert held(run) == set()


@pytest.mark.parametrize(
    ("means", "opted", "broken"),
    [
        ("answer", "stop", True),
        ("answer", "start", True),
        ("answer", None, False),
        ("stop", "stop", False),
    ],
)
def test_a_tap_that_is_an_answer_is_not_kept_as_a_stop(
    run: Run, means: str, opted: str | None, broken: bool
) -> None:
    """A tap that is an answer is no stop: the sandbox knows the payload, the gateway's journal
    its meaning.
    """
    run.message("m0", "SM0")
    run.callback("SM0", "sent", "m0")
    run.add("sandbox", "said", sid="SMin", **(WHO | {"means": means, "sender": "shop"}))
    run.add(
        "gateway",
        "inbound",
        sid="SMin",
        keyword=opted,
        opted=opted,
        person="digest-1",
        account="main",
    )
    run.add("sandbox", "said_acked", sid="SMin", http=200)
    assert ("tap_misread" in rules(run.judge(), "P4")) is broken
