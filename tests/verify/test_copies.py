"""P3: `verify` finds every message that was sent twice."""

import pytest

from tests.support.verify_run import Line, Run, rules
from verify.report import Report


def _twice(run: Run, first: Line) -> Report:
    run.claim("m1")
    run.post("m1", 1, sid="SM1")
    run.lines.append({"t": run.lines[-1]["t"] + 0.5, "who": "worker-1", **first})
    run.claim("m1", fence=2)
    run.post("m1", 2, sid="SM2")
    run.settle("m1", 2, "accepted")
    return run.judge()


def test_two_copies_break_p3(run: Run) -> None:
    """Two copies break P3: a blind retry after a timeout is the usual cause."""
    report = _twice(
        run, {"e": "settled", "id": "m1", "attempt": 1, "stage": "retrying", "reason": "not_sent"}
    )
    assert rules(report, "P3") == {"duplicate"}
    assert report.counts.duplicates == 1


@pytest.mark.parametrize(
    "rule, allowed", [("resend", True), ("resend_if_absent", False), (None, False)]
)
def test_a_second_copy_is_excused_by_the_rule_resend_only(
    run: Run, rule: str | None, allowed: bool
) -> None:
    """The rule `resend` allows a second copy.

    `resend_if_absent` claims proof, so it allows none.
    """
    line = {
        "e": "resolved",
        "id": "m1",
        "attempt": 1,
        "reason": "resent_by_rule",
        "sid": None,
        "rule": rule,
    }
    report = _twice(run, line)
    assert report.ok is allowed
    assert report.counts.duplicates_allowed == int(allowed)


def test_the_rule_may_be_named_when_the_message_is_accepted(run: Run) -> None:
    """The rule may be in the line `accepted` or in the line `resolved`."""
    run.add("producer", "accepted", id="m1", duplicate=False, rule="resend")
    assert _twice(
        run, {"e": "resolved", "id": "m1", "attempt": 1, "reason": "resent_by_rule", "sid": None}
    ).ok


def test_one_resend_excuses_one_copy(run: Run) -> None:
    """One resend excuses one copy; two copies need two decisions."""
    line = {"e": "resolved", "id": "m1", "attempt": 1, "reason": "resent_by_rule", "rule": "resend"}
    _twice(run, line)
    run.post("m1", 3, sid="SM3")
    assert rules(run.judge(), "P3") == {"duplicate"}


REPLAYED: Line = {"e": "replayed", "id": "m1", "expires": 9_000}


NOT_SENT: Line = {
    "e": "resolved",
    "id": "m1",
    "attempt": 1,
    "reason": "evidence_person",
    "sid": None,
}


@pytest.mark.parametrize("word", [REPLAYED, NOT_SENT], ids=["replayed", "not sent"])
def test_a_persons_word_excuses_the_copy_before_it_and_no_second_one_after(
    run: Run, word: Line
) -> None:
    """An operator who sends a doubtful message again excuses one copy, not two later ones."""
    assert _twice(run, word).counts.duplicates_allowed == 1
    assert run.judge().ok
    run.claim("m1", fence=3)
    run.post("m1", 3, sid="SM3")
    report = run.judge()
    assert rules(report, "P3") == {"duplicate"}
    assert (report.counts.duplicates, report.counts.duplicates_allowed) == (2, 1)


def test_a_replay_excuses_no_two_copies_where_there_was_none(run: Run) -> None:
    """A replay without an unproven attempt before it excuses no second copy."""
    run.claim("m1")
    run.post("m1", sid=None, http=400, code=21211)
    run.settle("m1", 1, "dead", "retries_exhausted")
    run.add("command", "replayed", id="m1", expires=9_000)
    run.claim("m1", fence=2)
    run.post("m1", 2, sid="SM2")
    run.post("m1", 3, sid="SM3")
    run.settle("m1", 3, "accepted")
    assert rules(run.judge(), "P3") == {"duplicate"}


def test_an_attempt_from_before_the_replay_may_arrive_after_it(run: Run) -> None:
    """An attempt counts from its admission, even if a frozen worker's POST arrives after the
    replay.
    """
    run.claim("m1")
    late = run.post("m1", 1, sid="SM1")
    run.settle("m1", 1, "dead", "never_by_rule")
    run.add("command", "replayed", id="m1", expires=9_000)
    run.claim("m1", fence=2)
    run.post("m1", 2, sid="SM2")
    run.settle("m1", 2, "accepted")
    late["t"] = run.lines[-1]["t"] + 1
    assert run.judge().ok


@pytest.mark.parametrize("word", [REPLAYED, NOT_SENT], ids=["replayed", "not sent"])
def test_what_an_operator_retries_is_claimed_again(run: Run, word: Line) -> None:
    """After a replay the message needs a new fence, since a worker with the old claim decided
    before it.
    """
    run.claim("m1")
    run.post("m1", sid=None, http=500)
    run.settle("m1", 1, "dead", "never_by_rule")
    run.lines.append({"t": run.lines[-1]["t"] + 0.5, "who": "command", **word})
    run.add("worker-1", "intent", id="m1", attempt=2, fence=1)
    run.settle("m1", 2, "accepted")
    assert rules(run.judge(), "P3") == {"old_claim"}


@pytest.mark.parametrize(
    "fails, code, broken",
    [("failed", 30500, False), ("failed", 30410, True), ("undelivered", 30005, True)],
)
def test_a_copy_that_failed_for_certain_is_no_copy(
    run: Run, fails: str, code: int, broken: bool
) -> None:
    """A copy that certainly failed is no copy, but a carrier's timeout is no certain failure."""
    run.claim("m1")
    run.post("m1", 1, sid="SM1", fails=fails, code=code)
    run.settle("m1", 1, "accepted")
    run.callback("SM1", fails, "m1")
    run.claim("m1", fence=2)
    run.post("m1", 2, sid="SM2")
    run.settle("m1", 2, "accepted")
    assert rules(run.judge(), "P3") == ({"duplicate"} if broken else set())


def test_a_rejected_attempt_may_be_followed_by_another(run: Run) -> None:
    """429 with 20429 proves that the attempt was not processed, so another one may follow."""
    run.claim("m1")
    run.post("m1", 1, sid=None, http=429, code=20429, fault="rate_limited")
    run.settle("m1", 1, "retrying", "throttled")
    run.claim("m1", fence=2)
    run.post("m1", 2, sid="SM2")
    run.settle("m1", 2, "accepted")
    report = run.judge()
    assert report.ok
    assert report.counts.faults == {"rate_limited": 1}


def test_a_post_without_an_intent_breaks_p3(run: Run) -> None:
    """A POST without an intent before it breaks P3, since a crash between them would be
    invisible.
    """
    run.message("m0", "SM0")
    run.message("m1", "SM1")
    run.lines = [line for line in run.lines if not (line["e"] == "intent" and line["id"] == "m1")]
    assert rules(run.judge(), "P3") == {"no_intent"}


def test_an_attempt_number_used_twice_breaks_p3(run: Run) -> None:
    """An attempt is one POST, so a repeated number breaks P3: evidence could not be bound."""
    run.claim("m1")
    run.post("m1", 1, sid=None, http=500)
    run.post("m1", 1, sid="SM1")
    run.settle("m1", 1, "accepted")
    assert rules(run.judge(), "P3") == {"attempt_reused"}


def test_two_workers_with_one_fence_break_p3(run: Run) -> None:
    """A fence has one worker; the same worker may repeat its claim."""
    run.message("m0", "SM0")
    run.claim("m1", who="worker-1")
    run.claim("m1", who="worker-1")
    run.settle("m1", 0, "refused", "no_consent")
    assert run.judge().ok
    run.claim("m1", who="worker-2")
    assert rules(run.judge(), "P3") == {"shared_fence"}


def test_a_post_without_a_message_id_breaks_p3(run: Run) -> None:
    """A POST without the id in its StatusCallback breaks P3, since no evidence could find its
    message.
    """
    run.message("m0", "SM0")
    run.post("m1", sid="SM1")["id"] = None
    assert "nameless" in rules(run.judge(), "P3")
