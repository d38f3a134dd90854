"""The parts of the demo: what it reads, what it covers, and that it notices a deviation."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from docgen.scenarios import CHANNELS, GUARDS
from sendwindow.contract import SendMessage
from sendwindow.errors import InvalidMessage
from tests.support.cast import british
from worker.cli.demo.compare import deviations, forms_posted, summary
from worker.cli.demo.demo_script import DemoScript, Expectation, ScriptRow, Story, read_script
from worker.cli.demo.play import Result, matches
from worker.cli.demo.story import story_lines
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.main import main
from worker.ports.records import Record
from worker.runtime.clock import wall_now
from worker.settings.settings import Settings, load_settings
from worker.wiring import load_rules

NEEDS_MORE = {
    "unknown_channel": "no such address passes the contract",
    "missing_fact": "a store that answers knows a person, if only as a stranger",
    "account_paused": "a paused account's lanes stand still, so nothing is decided",
    "sender_paused": "a paused sender's lanes stand still, so nothing is decided",
    "opt_out_confirmation": "confirmations are not sent yet",
    "not_before": "the lane keeps it until then, so nothing is decided",
}
"""Rows of the decision table that no example can meet, and why.

docs/decision-table.md names the same rows.
"""


@pytest.fixture
def script(root: Path) -> DemoScript:
    return read_script(root / "examples")


def channel_of(row: ScriptRow) -> str:
    prefix = str(row.message.get("to", "")).partition(":")
    return {"whatsapp": "WhatsApp", "messenger": "Messenger"}.get(prefix[0], "SMS")


def test_the_examples_meet_every_row_of_the_decision_table(script: DemoScript) -> None:
    """Each row of the decision table, by channel, rule and reason, is the end or the wait of an
    example.
    """
    policy = load_rules(Settings()).policy
    met = {(channel_of(row), row.rule, row.expect.reason) for row in script.rows}
    met |= {(channel, rule, reason) for _, rule, reason in met for channel in ("any",)}
    waited = {
        (channel, row.expect.waits) for row in script.rows for channel in (channel_of(row), "any")
    }
    missing = []
    for channel, scenarios in (("any", GUARDS), *CHANNELS):
        for scenario in scenarios:
            decision = scenario.decision(policy)
            reason = decision.reason.value
            seen = (channel, decision.trace.verdicts[-1].rule, reason) in met or (
                channel,
                reason,
            ) in waited
            if not seen and reason not in NEEDS_MORE:
                missing.append(
                    (channel, scenario.consent, scenario.window, scenario.carries, reason)
                )
    assert missing == []


def test_the_rows_no_example_meets_are_the_ones_the_docs_name(root: Path) -> None:
    """docs/decision-table.md excepts exactly the rows that no example meets."""
    text = (root / "docs/decision-table.md").read_text()
    excepted = text.partition("<!-- generated")[0]
    assert set(re.findall(r"`(\w+)`", excepted.partition("except")[2])) == set(NEEDS_MORE)
    rows = [row for row in read_script(root / "examples").rows if row.is_queued]
    met = {row.expect.reason for row in rows} | {row.expect.waits for row in rows}
    assert not met & set(NEEDS_MORE)


def test_both_edges_of_the_window_are_among_the_examples(script: DemoScript) -> None:
    """One person who wrote at 0 gets a message two minutes before the window ends, and one as it
    ends.
    """
    [wrote] = [act for act in script.acts if act.who == "mia" and act.writes == "shop"]
    rows = [row for row in script.rows if row.message.get("to") == wrote.address]
    edges = {(row.at - wrote.at, "template" in row.message, row.expect.reason) for row in rows}
    day = 24 * 60
    assert edges >= {(day - 2, False, "window_open"), (day - 2, True, "template_near_edge")}
    assert edges >= {(day, False, "no_template"), (day, True, "template_window_closed")}


def test_the_examples_are_many_and_use_every_channel_and_way_in(script: DemoScript) -> None:
    """There are at least 60 messages: WhatsApp by phone and user id, Messenger, SMS.

    Messages by arq, by the sync producer and malformed ones are among them.
    """
    assert len(script.rows) >= 60
    addresses = {str(row.message.get("to", "")) for row in script.rows}
    assert {channel_of(row) for row in script.rows} == {"WhatsApp", "Messenger", "SMS"}
    assert any(address.startswith("whatsapp:GB.") for address in addresses)
    assert {row.via for row in script.rows} == {"producer", "sync", "arq", "arq_pickle"}
    ends = {row.expect.end for row in script.rows}
    assert ends >= {"accepted", "refused", "failed", "expired", "cancelled", "dead", "unresolved"}
    assert ends >= {"invalid", "duplicate", "conflict"}


def test_only_addresses_set_aside_for_fiction_are_used(script: DemoScript) -> None:
    """Phone numbers come from ranges reserved for fiction: +44 7700 900xxx and +1 … 555 01xx."""
    phones = [str(row.message.get("to", "")).rpartition(":")[2] for row in script.rows] + [
        act.address.rpartition(":")[2] for act in script.acts
    ]
    for phone in phones:
        assert (
            not phone.startswith("+") or phone.startswith(british(0)[:-3]) or phone[5:10] == "55501"
        ), phone


def test_expected_validity_is_what_the_contract_says(script: DemoScript) -> None:
    """A row that is expected to be invalid breaks the contract, and no other row does."""
    for row in script.rows:
        try:
            if row.line is not None:
                SendMessage.model_validate_json(row.line)
            else:
                SendMessage.model_validate(row.fields(wall_now()))
        except InvalidMessage:
            assert row.expect.end == "invalid", row.name
        else:
            assert row.expect.end != "invalid", row.name


STORIES: dict[str, set[tuple[str, str | None, str | None]]] = {
    "Sent": {("accepted", "read", None)},
    "Refused": {("refused", None, None)},
    "Queued nothing": {("duplicate", None, None)},
    "Waited": {("accepted", "read", "awaiting_inbound")},
    "Marked as unknown": {("accepted", "read", None)},
    "Held": {("unresolved", None, None), ("expired", None, "stop_suspected")},
}
"""How the end of a story begins, and the ends, statuses and waits that this may tell of."""


def test_ten_messages_have_a_story_that_tells_what_is_expected(script: DemoScript) -> None:
    """What a story says was done is what the row expects, which the demo compares with the
    result.
    """
    told = [(row, row.story) for row in script.rows if row.story is not None]
    assert len(told) == 10
    ends: set[tuple[str, str | None, str | None]] = set()
    for row, story in told:
        assert all(text.endswith(".") for text in (story.asked, story.facts, story.done)), row.name
        [begin] = [words for words in STORIES if story.done.startswith(words)]
        end = (row.expect.end, row.expect.status, row.expect.waits)
        assert end in STORIES[begin], row.name
        assert (begin == "Marked as unknown") == (row.expect.reason == "evidence_callback")
        ends.add(end)
        if begin == "Sent":
            assert (
                f"Sent as {'the ' if row.expect.form == 'template' else ''}{row.expect.form}"
                in (story.done)
            )
    assert ends == set().union(*STORIES.values())


@pytest.mark.parametrize("width", [40, 80])
def test_the_story_fits_the_screen(script: DemoScript, width: int) -> None:
    """No line of the story is wider than the screen, no word is broken, and none is lost."""
    lines = list(story_lines(script.rows, (), width))
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for row in script.rows:
        if row.story is not None:
            assert " ".join(row.story.done.split()) in " ".join(words)


def test_a_story_does_not_claim_what_did_not_happen() -> None:
    """The story of a deviating row says so, and a row without a story says nothing."""
    row = replace(ROW, story=Story("Send it.", "All was well.", "Sent. It was read."))
    assert list(story_lines([ROW, row], (), 80))[-3:] == [
        "  asked   Send it.",
        "  facts   All was well.",
        "  done    Sent. It was read.",
    ]
    assert list(story_lines([row], {row.number}, 80))[-1] == (
        "  done    Not what was expected: see NOT AS EXPECTED below."
    )
    assert list(story_lines([ROW], (), 80)) == []


def test_the_examples_settings_are_valid(root: Path) -> None:
    """examples/sendwindow.toml loads unchanged, given the two secrets that it names."""
    environ = {"TWILIO_AUTH_TOKEN": "a", "TWILIO_AUTH_TOKEN_SECOND": "b"}
    assert {"shop", "text"} <= set(
        load_settings(root / "examples/sendwindow.toml", environ).senders
    )


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ('{"at": 1}', "line 1"),
        (
            '{"row": "x", "at": 1, "message": {}, "expect": {"end": "accepted"}, "colour": 1}',
            "colour",
        ),
        ("nonsense", "is not a JSON object"),
    ],
    ids=["missing", "unknown", "no JSON"],
)
def test_a_script_that_cannot_be_read_is_reported_by_line(
    tmp_path: Path, messages: str, words: str
) -> None:
    """A mistake in the examples is reported with file and line."""
    (tmp_path / "messages.jsonl").write_text(messages + "\n")
    (tmp_path / "people.jsonl").write_text("")
    with pytest.raises(CommandError, match=words):
        read_script(tmp_path)


GOOD_ROW = {"row": "x", "at": 1, "message": {"message_id": "one"}, "expect": {"end": "accepted"}}


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("people", {"at": "x"}, "at: Input should be a valid integer"),
        ("people", {"at": 1.5}, "at: "),
        ("people", {"who": "ana"}, "at: Field required"),
        ("people", {"at": 1, "consent": "utility"}, "consent: "),
        ("people", {"at": 1, "workers": {"A": 1}}, "workers.A: "),
        ("people", {"at": 1, "account_update": "gone"}, "account_update: "),
        ("people", [1], "is not a JSON object"),
        ("people", 5, "is not a JSON object"),
        ("people", '{"at": 1, "at": 2}', "contains `at` twice"),
        ("messages", GOOD_ROW | {"at": "1"}, "at: "),
        ("messages", GOOD_ROW | {"settles": None}, "settles: "),
        ("messages", GOOD_ROW | {"message": "hi"}, "message: "),
        ("messages", GOOD_ROW | {"via": "post"}, "via: "),
        ("messages", GOOD_ROW | {"expect": {"end": 1}}, "expect.end: "),
        ("messages", GOOD_ROW | {"expect": "accepted"}, "expect: "),
    ],
)
def test_a_value_of_the_wrong_kind_is_reported_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, line: object, words: str
) -> None:
    """A wrong value is reported with file, line, field and remedy, with exit code 2, before any
    start. At that point there is not even a settings file.
    """
    for each in ("people", "messages"):
        (tmp_path / f"{each}.jsonl").write_text("")
    text = line if isinstance(line, str) else json.dumps(line)
    (tmp_path / f"{name}.jsonl").write_text(text + "\n")
    assert main(["demo", "--examples", str(tmp_path)]) == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {name}.jsonl, line 1: ")
    assert words in printed.err
    assert f"examples/{name}.jsonl" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("where", ["/proc/x", "a file"])
def test_a_folder_that_cannot_keep_anything_is_reported_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """A folder that cannot be written is reported before the run, so that no run is played and
    then lost.
    """
    for each in ("people", "messages"):
        (tmp_path / f"{each}.jsonl").write_text("")
    keep = where if where.startswith("/") else str(tmp_path / "people.jsonl")
    assert main(["demo", "--examples", str(tmp_path), "--keep", keep]) == Exit.USAGE
    printed = capsys.readouterr()
    assert printed.err.startswith("error: Nothing can be kept in that folder (")
    assert "--keep" in printed.err
    assert printed.out == ""


ROW = ScriptRow(
    number=1,
    rule="sms.consent",
    at=1,
    settles_at=1,
    expect=Expectation("accepted", "sms_consent", "freeform", "delivered"),
    message={"message_id": "one"},
)
AS_EXPECTED = Result("accepted", "sms_consent", "delivered")
RECORD = Record(
    "one",
    {"s": "accepted"},
    ({"e": "intent", "trace": [["consent", "pass"], ["sms.consent", "choose"]]},),
)


def found(
    result: Result = AS_EXPECTED,
    record: Record = RECORD,
    form: str | None = "freeform",
    row: ScriptRow = ROW,
) -> list[str]:
    forms = {} if form is None else {"one": form}
    return [
        each.what
        for each in deviations(DemoScript((row,), ()), {1: result}, {"one": record}, forms)
    ]


def test_what_came_out_as_expected_is_no_deviation() -> None:
    """A row whose end, reason, status, form and deciding rule all agree is no deviation."""
    assert found() == []
    assert matches(ROW, AS_EXPECTED)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"result": replace(AS_EXPECTED, end="refused")}, "end"),
        ({"result": replace(AS_EXPECTED, reason="window_open")}, "reason"),
        ({"result": replace(AS_EXPECTED, status="failed")}, "status"),
        ({"form": "template"}, "form"),
        ({"form": None}, "form"),
        (
            {
                "record": replace(
                    RECORD, timeline=({"e": "intent", "trace": [["consent", "deny"]]},)
                )
            },
            "deciding rule",
        ),
        ({"record": replace(RECORD, timeline=())}, "deciding rule"),
        ({"row": replace(ROW, expect=replace(ROW.expect, waits="awaiting_inbound"))}, "wait"),
    ],
    ids=["end", "reason", "status", "form", "not posted", "rule", "undecided", "wait"],
)
def test_each_difference_is_noticed(changed: dict[str, object], what: str) -> None:
    """Each difference is one deviation with its own name."""
    assert found(**changed) == [what]  # type: ignore[arg-type]  # a table of keyword arguments


def test_a_message_that_was_lost_is_noticed() -> None:
    """A row without any result is a deviation."""
    assert deviations(DemoScript((ROW,), ()), {}, {}, {})[0].got == "lost"


def test_the_form_is_what_the_sandbox_saw_last(tmp_path: Path) -> None:
    """The form of a message comes from its last POST in the sandbox's journal."""
    lines = [
        {"t": 1, "who": "sandbox", "e": "post", "id": "one", "form": "freeform"},
        {"t": 2, "who": "sandbox", "e": "post", "id": "one", "form": "template"},
        {"t": 3, "who": "sandbox", "e": "said", "sid": "SM1"},
    ]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert forms_posted(tmp_path / "s.jsonl") == {"one": "template"}


def test_the_summary_counts_by_end_and_reason() -> None:
    """Equal ends and reasons are counted together."""
    rows = summary([AS_EXPECTED, AS_EXPECTED, Result("invalid", "to")])
    assert rows[0] == {"end": "accepted", "reason": "sms_consent", "messages": 2}
    assert rows[1]["messages"] == 1
