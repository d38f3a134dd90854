"""What `verify` prints and counts, and how it reads journals that a kill has cut."""

import io
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from verify.counts import Counts
from verify.history import StoredOutcome, open_book
from verify.journal_reader import read
from verify.judge import verify
from verify.judge_context import Options
from verify.report import Report, render, to_json
from worker.cli.exit_codes import Exit
from worker.cli.verify import verdict


def write(path: Path, *lines: dict[str, Any]) -> Path:
    """Write lines a millisecond apart."""
    path.write_text(
        "".join(
            json.dumps({"t": 1000.0 + n, "who": "w", **line}) + "\n" for n, line in enumerate(lines)
        )
    )
    return path


def printed(report: Report) -> str:
    """Return the text as a terminal would show it."""
    out = io.StringIO()
    render(report, Console(file=out, width=80))
    return out.getvalue()


def unknown_then_resolved(reason: str) -> list[dict[str, Any]]:
    """Write a message whose answer was lost although the provider took it, bound by evidence."""
    return [
        {"e": "accepted", "id": "m1", "duplicate": False},
        {"e": "accepted", "id": "m1", "duplicate": True},
        {"e": "claimed", "id": "m1", "fence": 1},
        {"e": "intent", "id": "m1", "attempt": 1, "fence": 1},
        {
            "e": "post",
            "n": 1,
            "id": "m1",
            "attempt": 1,
            "sid": "SM1",
            "form": "freeform",
            "fault": "accept_reset",
        },
        {
            "e": "replied",
            "id": "m1",
            "attempt": 1,
            "reply": "unproven",
            "sid": None,
            "code": None,
            "http": None,
        },
        {
            "e": "settled",
            "id": "m1",
            "attempt": 1,
            "stage": "unknown",
            "reason": "outcome_connection_lost",
        },
        {"e": "resolved", "id": "m1", "attempt": 1, "reason": reason, "sid": "SM1"},
    ]


def test_unknown_outcomes_and_what_resolved_them_are_counted(tmp_path: Path) -> None:
    """The report counts unknown outcomes, what resolved them, and the second copies that this
    saved.
    """
    lines = unknown_then_resolved("evidence_list")
    path = write(
        tmp_path / "j",
        *lines,
        {"e": "killed", "point": "after_post"},
        {"e": "killed", "point": "after_post"},
    )
    counts = verify([path]).counts
    assert (counts.unknown, counts.avoided, counts.resolved) == (1, 1, {"evidence_list": 1})
    assert (counts.repeated, counts.faults, counts.killed) == (
        1,
        {"accept_reset": 1},
        {"after_post": 2},
    )
    assert counts.first_claim_ms == {"p50": 2.0, "p99": 2.0, "max": 2.0}
    assert counts.ends == {"accepted": 1}


def test_a_claim_is_never_before_its_message(tmp_path: Path) -> None:
    """A claim that seems earlier than its message counts as zero, since two clocks wrote the
    lines.
    """
    path = write(
        tmp_path / "j", {"e": "claimed", "id": "m1", "fence": 1}, {"e": "accepted", "id": "m1"}
    )
    assert verify([path]).counts.first_claim_ms == {"p50": 0.0, "p99": 0.0, "max": 0.0}


def test_a_callback_that_resolves_is_an_end_and_an_evidence(tmp_path: Path) -> None:
    """A callback that resolves is an end and evidence: its line alone shows the acceptance."""
    lines = unknown_then_resolved("-")[:-1]
    lines.append(
        {
            "e": "callback",
            "sid": "SM1",
            "status": "sent",
            "id": "m1",
            "attempt": 1,
            "resolved": True,
        }
    )
    counts = verify([write(tmp_path / "j", *lines)]).counts
    assert (counts.ends, counts.resolved, counts.avoided) == (
        {"accepted": 1},
        {"evidence_callback": 1},
        1,
    )


SOUND = [
    {"e": "accepted", "id": "m1", "duplicate": False},
    {"e": "claimed", "id": "m1", "fence": 1},
    {
        "e": "settled",
        "id": "m1",
        "attempt": 1,
        "stage": "expired",
        "reason": "expired",
        "applied": True,
    },
]
POSTED = {"e": "post", "n": 1, "id": "m2", "attempt": 1, "sid": None, "form": None, "http": 429}


def headline(report: Report) -> str:
    """Return the first line of the text."""
    return printed(report).splitlines()[0]


def test_an_empty_journal_proves_nothing(tmp_path: Path) -> None:
    """An empty journal proves nothing: text, JSON and verdict say neither ok nor broken."""
    for lines in ([], [{"e": "started"}], [{"e": 1}]):
        report = verify([write(tmp_path / "j", *lines)])
        assert "nothing broken" not in printed(report)
        assert headline(report).startswith(
            "verify: NOTHING CHECKED: no line of a sandbox, worker, gateway or producer"
        )
        assert to_json(report)["ok"] is False
        assert verdict(report) is Exit.FAILED


def test_the_headline_names_the_promises_without_evidence(tmp_path: Path) -> None:
    """The headline names the promises that were not checked, because some read only that line.

    Without the sandbox's journal, POSTs were not counted.
    """
    report = verify([write(tmp_path / "j", *SOUND)])
    assert headline(report) == "verify: nothing broken; NOT CHECKED: P1, P3, P4, requests"
    assert (to_json(report)["ok"], verdict(report)) == (True, Exit.DONE)


def test_messages_that_were_not_announced_are_not_judged_for_loss(tmp_path: Path) -> None:
    """Without the line `accepted` a message lost before its first claim leaves no line, and P2
    says so.
    """
    unannounced = [{**line, "id": "m2"} for line in SOUND[1:]]
    report = verify([write(tmp_path / "j", *SOUND, *unannounced)])
    assert report.not_judged["P2"].startswith("1 of 2 messages without `accepted`")
    assert "not judged: P2: 1 of 2 messages without `accepted`" in printed(report)
    assert to_json(report)["not_judged"]["P2"] == report.not_judged["P2"]
    assert "P2" not in verify([write(tmp_path / "j", *SOUND)]).not_judged


def test_an_inbound_the_gateway_says_it_ignored_is_no_breach(tmp_path: Path) -> None:
    """An inbound that the gateway journals as ignored is counted.

    Without that line it is a breach.
    """
    said: list[dict[str, Any]] = [
        {"e": "said", "sid": "SM9"},
        {"e": "said_acked", "sid": "SM9", "http": 200},
    ]
    callback = {"e": "callback", "sid": "SM1", "status": "sent", "moved": True}
    ignored = {"e": "inbound", "sid": "SM9", "ignored": "not_a_person", "account": "main"}
    report = verify([write(tmp_path / "j", callback, *said, ignored)])
    assert report.ok
    assert (report.counts.inbounds_answered, report.counts.inbounds_ignored) == (1, 1)
    assert not verify([write(tmp_path / "j", callback, *said)]).ok


CANCELLED = [
    *SOUND[:2],
    {"e": "settled", "id": "m1", "attempt": 1, "stage": "retrying", "reason": "x"},
]


def test_the_stores_word_tells_an_end_that_no_journal_tells(tmp_path: Path) -> None:
    """A producer's cancel is in no journal, so the store is asked once for all messages."""
    path, asked = write(tmp_path / "j", *CANCELLED, POSTED), list[list[str]]()

    def found(ids: Collection[str]) -> dict[str, StoredOutcome]:
        asked.append(sorted(ids))
        return {
            "m1": StoredOutcome("cancelled"),
            "m2": StoredOutcome("failed"),
            "elsewhere": StoredOutcome("queued"),
        }

    assert verify([path]).counts.lost == 2
    report = verify([path], found=found)
    assert asked == [["m1", "m2"]]
    assert (report.counts.lost, report.counts.ends) == (0, {"cancelled": 1, "failed": 1})
    assert report.counts.messages == 2


def test_a_message_the_store_still_holds_is_open(tmp_path: Path) -> None:
    """A message that the store still holds is open, so the run is not ok, but it is not lost.

    The report says how to allow open messages, and the store's word comes last.
    """
    path = write(tmp_path / "j", *CANCELLED)

    def found(_: Collection[str]) -> dict[str, StoredOutcome]:
        return {"m1": StoredOutcome("waiting")}

    report = verify([path], found=found)
    assert not report.ok
    assert (report.counts.lost, report.counts.open) == (0, {"waiting": 1})
    assert (report.histories["m1"][-1]["e"], report.histories["m1"][-1]["who"]) == (
        "found",
        "store",
    )
    assert (
        "m1: open: not ended yet (waiting); allow it with --open waiting, or --running"
        in printed(report)
    )
    assert verify([path], Options(open_allowed=frozenset({"waiting"})), found=found).ok
    assert verify([path], Options(final=False), found=found).ok


def test_a_message_that_no_worker_holds_is_lost(tmp_path: Path) -> None:
    """A message that the store does not know, has in no lane, or was not asked for is lost.

    A line `found` of another writer does not change that.
    """
    path = write(tmp_path / "j", *CANCELLED)
    assert verify([path], found=lambda _: {}).counts.lost == 1
    assert (
        verify([path], found=lambda _: {"m1": StoredOutcome("waiting", is_held=False)}).counts.lost
        == 1
    )
    seen = write(tmp_path / "j", *CANCELLED, {"e": "found", "id": "m1", "stage": "waiting"})
    assert "m1: lost: never ended; last seen waiting" in printed(verify([seen]))


def test_the_store_must_not_deny_what_a_journal_told(tmp_path: Path) -> None:
    """An end in a journal and another end in the store are two ends."""
    report = verify(
        [write(tmp_path / "j", *SOUND)], found=lambda _: {"m1": StoredOutcome("cancelled")}
    )
    assert {breach.rule for promise in report.promises for breach in promise.breaches} == {
        "two_ends"
    }


def test_a_torn_line_counts_as_never_written(tmp_path: Path) -> None:
    """A line that a kill cut counts as never written, and the rest of the file is read."""
    path = write(
        tmp_path / "j",
        {"e": "accepted", "id": "m1"},
        {"e": "ended", "id": "m1", "stage": "expired"},
    )
    first, second = path.read_text().splitlines()
    path.write_text(f'{first}\n{{"t":1000.5,"who":"w","e":"cla\n{second}\n{{"t"')
    report = verify([path])
    assert report.ok
    assert (report.counts.torn, report.counts.ends) == (2, {"expired": 1})


@pytest.mark.parametrize(
    "rubbish", ["hello", "[1,2]", '{"no": "time"}', '{"t": 1.0}', '{"t": "late", "e": "post"}']
)
def test_a_line_no_journal_wrote_makes_the_report_red(tmp_path: Path, rubbish: str) -> None:
    """A line that no journal writes makes the report red, because a damaged file proves nothing."""
    path = write(
        tmp_path / "j",
        {"e": "accepted", "id": "m1"},
        {"e": "ended", "id": "m1", "stage": "expired"},
    )
    path.write_text(path.read_text() + rubbish + "\n")
    report = verify([path])
    assert not report.ok
    assert report.unreadable == ("j:3",)
    assert "unreadable line at j:3" in printed(report)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A missing journal is an error."""
    with pytest.raises(FileNotFoundError):
        verify([tmp_path / "absent"])


def test_the_text_names_promise_rule_message_and_history(tmp_path: Path) -> None:
    """The text shows the history of the first offenders, so that no file must be opened."""
    path = write(
        tmp_path / "j", {"e": "accepted", "id": "m[1]"}, {"e": "claimed", "id": "m[1]", "fence": 7}
    )
    text = printed(verify([path]))
    assert text.startswith("verify: BROKEN\n")
    assert "P2        broken" in text
    assert "m[1]: lost: never ended; last seen claimed" in text
    assert "1.0 ms  w            claimed        fence=7" in text
    assert "P1        unchecked" in text
    assert "P5 (no message holds up another) is not judged" in text


def test_many_offenders_are_listed_without_their_histories(tmp_path: Path) -> None:
    """The first offenders are shown and further ones named, at most twenty."""
    path = write(tmp_path / "j", *({"e": "accepted", "id": f"m{number}"} for number in range(30)))
    report = verify([path], Options(shown=2))
    assert list(report.histories) == ["m0", "m1"]
    assert "lost: 30" in printed(report)
    assert "also: m2, m3" in printed(report)


def test_the_json_form_carries_verdicts_counts_and_histories(tmp_path: Path) -> None:
    """The JSON form holds everything that the text says."""
    path = write(tmp_path / "j", {"e": "accepted", "id": "m1"})
    told = json.loads(json.dumps(to_json(verify([path]))))
    assert told["ok"] is False
    assert told["promises"]["P2"]["by_rule"] == {"lost": 1}
    assert told["promises"]["P2"]["first"] == [
        {"rule": "lost", "message_id": "m1", "detail": "never ended; last seen queued"}
    ]
    assert told["counts"]["messages"] == 1
    assert told["histories"]["m1"][0]["e"] == "accepted"
    assert "P5" in told["not_judged"]


def test_lines_a_journal_could_not_keep_are_called_not_judged(tmp_path: Path) -> None:
    """Lines that a journal could not keep are reported as missing.

    With none, the report is silent.
    """
    path = write(tmp_path / "j", {"e": "gap", "lines": 3}, {"e": "gap", "lines": 4})
    book = open_book(read([path]))
    assert (book.missing, book.histories) == (7, {})
    report = verify([path])
    assert to_json(report)["not_judged"]["gap"].startswith("7 lines ")
    assert "not judged: gap: 7 lines " in printed(report)
    assert "gap" not in to_json(Report(promises=(), counts=Counts()))["not_judged"]
