"""`verify` judges a message by what its producer announced."""

import json
from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cast import ANNA
from tests.support.cli_world import command_line
from tests.support.verify_announced import DAY, GRANTED, said, sent
from tests.support.verify_run import Run, rules


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
