"""`verify` against handwritten histories: a sound one is green, and each broken promise is red."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.depth import examples
from verify.judge import verify
from verify.judge_context import Options
from verify.report import Report

Line = dict[str, Any]


class Run:
    """Writes one journal, with a millisecond between lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._t = count(1_000_000)
        self._n = count(1)

    def add(self, who: str, event: str, **fields: Any) -> Line:
        line = {"t": float(next(self._t)), "who": who, "e": event, **fields}
        self.lines.append(line)
        return line

    def claim(
        self, name: str, fence: int = 1, who: str = "worker-1", form: str = "freeform"
    ) -> None:
        self.add(who, "claimed", id=name, fence=fence)
        self.add(
            who, "decided", id=name, decision="send", reason="window_open", form=form, policy="1"
        )

    def post(
        self,
        name: str,
        attempt: int = 1,
        *,
        sid: str | None = "SM1",
        form: str = "freeform",
        **more: Any,
    ) -> Line:
        self.add("worker-1", "intent", id=name, attempt=attempt, fence=attempt)
        base = {
            "n": next(self._n),
            "id": name,
            "attempt": attempt,
            "person": "person-1",
            "account": "AC1",
            "channel": "whatsapp",
            "sender": "shop",
            "form": form,
            "sid": sid,
            "http": 201 if sid else 400,
            "code": None,
            "fails": None,
            "fault": None,
            "violation": None,
        }
        return self.add("sandbox", "post", **(base | more))

    def settle(
        self, name: str, attempt: int, stage: str, reason: str = "accepted", **more: Any
    ) -> Line:
        return self.add(
            "worker-1",
            "settled",
            **(
                {
                    "id": name,
                    "attempt": attempt,
                    "stage": stage,
                    "reason": reason,
                    "code": None,
                    "applied": True,
                }
                | more
            ),
        )

    def callback(self, sid: str, status: str, name: str, attempt: int = 1, **more: Any) -> None:
        known = {"sid": sid, "status": status, "id": name, "attempt": attempt}
        self.add(
            "gateway",
            "callback",
            **(known | {"known": True, "moved": True, "resolved": False} | more),
        )
        self.add("sandbox", "callback_sent", **(known | {"http": 200, "ms": 1.5}))

    def message(self, name: str, sid: str) -> None:
        """Journal a whole life without trouble."""
        self.add("producer", "accepted", id=name, duplicate=False)
        self.claim(name)
        self.post(name, sid=sid)
        self.add(
            "worker-1",
            "replied",
            id=name,
            attempt=1,
            reply="accepted",
            sid=sid,
            code=None,
            http=201,
        )
        self.settle(name, 1, "accepted")
        for status in ("sent", "delivered", "read"):
            self.callback(sid, status, name)

    def stop(self, sid: str = "SMstop", http: int | None = 200) -> None:
        """Let the person write STOP, and the gateway answer."""
        who = {"person": "person-1", "account": "AC1", "channel": "whatsapp", "sender": "shop"}
        self.add("sandbox", "said", sid=sid, stop=True, start=False, **who)
        self.add("gateway", "inbound", sid=sid, keyword="stop", opted="stop")
        self.add("sandbox", "said_acked", sid=sid, http=http)

    def write(self) -> None:
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def judge(self, **options: Any) -> Report:
        self.write()
        return verify([self.path], Options(**options))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run.jsonl")


def rules(report: Report, promise: str) -> set[str]:
    """Return the broken rules of a promise."""
    found = next(each for each in report.promises if each.name == promise)
    return {breach.rule for breach in found.breaches}


def test_a_sound_run_is_green(run: Run) -> None:
    """A sound run breaks nothing, checks every promise and counts every end."""
    for number in range(3):
        run.message(f"m{number}", f"SM{number}")
    report = run.judge()
    assert report.ok, report
    assert report.unchecked == ()
    assert report.counts.ends == {"accepted": 3}
    assert (report.counts.posts, report.counts.callbacks_answered) == (3, 9)


def test_promises_without_witnesses_are_called_unchecked(run: Run) -> None:
    """Promises without the sandbox's journal, which counts POSTs, are unchecked."""
    run.add("producer", "accepted", id="m1", duplicate=False)
    run.settle("m1", 0, "refused", "no_consent")
    report = run.judge()
    assert report.unchecked == ("P1", "P3", "P4", "requests")
    assert report.ok


# -- P1 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag",
    [
        "outside_window",
        "unknown_template",
        "template_not_approved",
        "missing_variables",
        "tag_known_dead",
    ],
)
def test_what_the_sandbox_flags_breaks_p1(run: Run, flag: str) -> None:
    """A violation that the sandbox flags breaks P1."""
    run.message("m0", "SM0")
    run.claim("m1")
    run.post("m1", sid="SM1", violation=flag)
    run.settle("m1", 1, "accepted")
    report = run.judge()
    assert rules(report, "P1") == {flag}
    assert report.promises[0].ids == ["m1"]
    assert [line["e"] for line in report.histories["m1"]] == [
        "claimed",
        "decided",
        "intent",
        "post",
        "settled",
    ]


def test_a_post_after_an_answered_stop_breaks_p1(run: Run) -> None:
    """After the 2xx to a STOP no POST to that person on that channel starts."""
    run.stop()
    run.message("m1", "SM1")
    assert rules(run.judge(), "P1") == {"after_stop"}


def test_a_post_after_a_stop_nobody_answered_breaks_nothing(run: Run) -> None:
    """A STOP whose inbound got no 2xx breaks nothing yet."""
    run.stop(http=500)
    run.message("m1", "SM1")
    assert run.judge().ok


def test_a_post_to_another_channel_after_a_stop_breaks_nothing(run: Run) -> None:
    """A POST to another channel after a STOP is fine: a STOP covers account and channel."""
    run.stop()
    run.claim("m1")
    run.post("m1", channel="sms")
    run.settle("m1", 1, "accepted")
    assert run.judge().ok


def test_a_post_after_start_breaks_nothing(run: Run) -> None:
    """A POST after a START is fine, because START ends the STOP."""
    run.stop()
    who = {"person": "person-1", "account": "AC1", "channel": "whatsapp", "sender": "shop"}
    run.add("sandbox", "said", sid="SMstart", stop=False, start=True, **who)
    run.message("m1", "SM1")
    assert run.judge().ok


def test_one_confirmation_may_follow_a_stop_and_no_second(run: Run) -> None:
    """Exactly one message that was decided as the confirmation may follow a STOP."""
    run.stop()
    for name in ("m1", "m2"):
        run.add(
            "worker-1",
            "decided",
            id=name,
            decision="send",
            reason="opt_out_confirmation",
            form="freeform",
        )
        run.post(name, sid=f"SM{name}", violation="opted_out")
        run.settle(name, 1, "accepted")
    report = run.judge()
    assert report.promises[0].ids == ["m2"]
    assert report.counts.opt_out_confirmations == 1


@pytest.mark.parametrize("suspended", [False, True])
def test_an_admitted_post_that_arrives_after_the_answer_is_excused_only_for_suspended_processes(
    run: Run, suspended: bool
) -> None:
    """An admitted POST that arrives after the answer is excused only for a suspended process.

    P1 does not promise that for a process suspended between its last check and the write.
    """
    run.claim("m1")
    run.add("worker-1", "intent", id="m1", attempt=1, fence=1)
    run.stop()
    run.post("m1")
    run.lines = [
        line for line in run.lines if line["e"] != "intent" or line["t"] < run.lines[4]["t"]
    ]
    run.settle("m1", 1, "accepted")
    report = run.judge(suspended=suspended)
    assert report.counts.overlaps == 1
    assert rules(report, "P1") == (set() if suspended else {"after_stop"})


@pytest.mark.parametrize("late_ms, broken", [(-1, False), (5_000, False), (5_001, True)])
def test_a_post_after_the_expiry_breaks_p1(run: Run, late_ms: int, broken: bool) -> None:
    """A POST after the producer's expiry breaks P1, by the provider's clock with a grace."""
    run.message("m1", "SM1")
    next(line for line in run.lines if line["e"] == "accepted")["expires"] = 1_000_000
    next(line for line in run.lines if line["e"] == "post")["at"] = 1_000_000 + late_ms
    assert rules(run.judge(), "P1") == ({"after_expiry"} if broken else set())


@pytest.mark.parametrize("late_ms, broken", [(-1, False), (5_001, True)])
def test_a_replayed_message_has_another_expiry(run: Run, late_ms: int, broken: bool) -> None:
    """An operator's replay has a new expiry, which counts for every POST after it and none
    before.
    """
    run.add("producer", "accepted", id="m1", duplicate=False, expires=1_000)
    run.claim("m1")
    run.post("m1", sid=None, http=500, at=1_000)
    run.settle("m1", 1, "dead", "never_by_rule")
    run.add("person", "replayed", id="m1", expires=9_000)
    run.claim("m1", fence=2)
    run.post("m1", 2, at=9_000 + late_ms)
    run.settle("m1", 2, "accepted")
    assert rules(run.judge(), "P1") == ({"after_expiry"} if broken else set())


def test_a_post_nobody_decided_to_send_breaks_p1(run: Run) -> None:
    """A POST of a refused message breaks P1, even if the sandbox has no objection."""
    run.message("m0", "SM0")
    run.add("worker-1", "claimed", id="m1", fence=1)
    run.add("worker-1", "decided", id="m1", decision="refuse", reason="no_consent", form="none")
    run.post("m1", sid="SM1")
    run.settle("m1", 1, "accepted")
    assert rules(run.judge(), "P1") == {"undecided"}


def test_a_post_in_another_form_than_decided_breaks_p1(run: Run) -> None:
    """A Messenger POST outside the window must have been decided as tagged.

    The reverse is harmless.
    """
    run.claim("m1", form="freeform")
    run.post("m1", form="tag")
    run.settle("m1", 1, "accepted")
    run.claim("m2", form="tag")
    run.post("m2", sid="SM2", form="freeform")
    run.settle("m2", 1, "accepted")
    report = run.judge()
    assert rules(report, "P1") == {"other_form"}
    assert report.promises[0].ids == ["m1"]


# -- P2 --------------------------------------------------------------------------------------------


def _claimed_and_gone(run: Run) -> None:
    run.claim("m1")


def _parked(run: Run) -> None:
    run.claim("m1")
    run.post("m1", sid=None)
    run.settle("m1", 1, "unknown", "outcome_timeout")


@pytest.mark.parametrize(
    "life, stage",
    [(lambda run: None, "queued"), (_claimed_and_gone, "claimed"), (_parked, "unknown")],
)
def test_a_message_without_an_end_is_lost(
    run: Run, life: Callable[[Run], None], stage: str
) -> None:
    """At the end of a run every message has ended, or is open where that is allowed."""
    run.message("m0", "SM0")
    run.add("producer", "accepted", id="m1", duplicate=False)
    life(run)
    report = run.judge()
    assert rules(report, "P2") == {"lost"}
    assert report.counts.lost == 1
    assert run.judge(open_allowed=frozenset({stage})).ok
    assert run.judge(final=False).ok


@pytest.mark.parametrize("other", ["refused", "failed", "expired", "cancelled", "dead"])
def test_two_different_ends_break_p2(run: Run, other: str) -> None:
    """Two different ends break P2, because no message leaves an end."""
    run.message("m1", "SM1")
    run.add("worker-2", "ended", id="m1", stage=other, reason="expired", code=None)
    assert rules(run.judge(), "P2") == {"two_ends"}


@pytest.mark.parametrize("end", ["refused", "expired", "cancelled"])
def test_an_end_that_denies_a_copy_the_provider_took_breaks_p2(run: Run, end: str) -> None:
    """An end that denies a copy breaks P2.

    A late line of another process ended the message, and the caller learned that nothing went out,
    but the provider had taken it.
    """
    run.message("m1", "SM1")
    run.lines.remove(next(line for line in run.lines if line["e"] == "settled"))
    run.settle("m1", 0, end, reason="no_template")
    report = run.judge()
    assert rules(report, "P2") == {"denied"}
    assert not report.ok


def test_an_attempt_in_doubt_or_failed_denies_no_end(run: Run) -> None:
    """A message that was resent by its rule may expire.

    Unproven attempts and failed copies deny no end.
    """
    for name, doubt in (("m1", True), ("m2", False)):
        run.add("producer", "accepted", id=name, duplicate=False)
        run.claim(name)
        run.post(
            name, sid=f"SM{name}", fails=None if doubt else "failed", code=None if doubt else 63016
        )
        if doubt:
            run.add("worker-2", "reaped", id=name, stage="unknown", attempt=1)
        run.add(
            "worker-1",
            "replied",
            id=name,
            attempt=1,
            reply="accepted",
            sid=f"SM{name}",
            code=None,
            http=201,
        )
        run.settle(name, 0, "expired", reason="expired")
    assert rules(run.judge(), "P2") == set()


@pytest.mark.parametrize("reason, broken", [("evidence_list", True), ("evidence_person", False)])
def test_an_accepted_message_the_provider_never_took_breaks_p2(
    run: Run, reason: str, broken: bool
) -> None:
    """A message marked accepted that the provider never took breaks P2.

    It was bound to another message's SID, so it counts as sent, but the person never gets it. Only
    an operator may be wrong here without a breach.
    """
    run.message("m1", "SM1")
    run.add("producer", "accepted", id="m2", duplicate=False)
    run.claim("m2")
    run.post("m2", sid=None, http=503, code=20503)
    run.settle("m2", 1, "unknown", reason="outcome_server_error")
    run.add("worker-1", "resolved", id="m2", attempt=1, reason=reason, sid="SM1", stage="accepted")
    assert rules(run.judge(), "P2") == ({"phantom"} if broken else set())


def test_an_end_verify_does_not_know_breaks_p2(run: Run) -> None:
    """An end that verify does not know breaks P2, so that messages cannot vanish into a new end."""
    run.message("m0", "SM0")
    run.add("producer", "accepted", id="m1", duplicate=False)
    run.settle("m1", 1, "evaporated")
    assert rules(run.judge(), "P2") == {"strange_end", "lost"}


def _ends_anew(run: Run) -> None:
    """Add another attempt and another end, which break no promise."""
    run.claim("m1", fence=2)
    run.post("m1", 2, sid="SM2")
    run.settle("m1", 2, "failed", "retries_exhausted")
    report = run.judge()
    assert report.ok, report.promises
    assert report.counts.ends == {"failed": 1}


def test_a_message_that_failed_at_the_provider_may_end_again(run: Run) -> None:
    """A `failed` with a retryable code reopens the message for a new attempt and a new end."""
    run.message("m1", "SM1")
    run.lines = [line for line in run.lines if line["e"] not in {"callback", "callback_sent"}]
    for line in run.lines:
        if line["e"] == "post":
            line |= {"fails": "failed", "code": 30500}
    run.callback("SM1", "failed", "m1")
    _ends_anew(run)


def test_a_failure_the_gateway_stored_and_died_of_opens_a_message_too(run: Run) -> None:
    """If the gateway stores a failure and dies before its line, the sandbox's line reopens the
    message.
    """
    run.claim("m1")
    run.post("m1", fails="failed", code=30500)
    run.settle("m1", 1, "accepted")
    run.add(
        "sandbox",
        "callback_sent",
        sid="SM1",
        status="failed",
        attempt=1,
        id="m1",
        tried=1,
        ms=5.0,
        http=None,
    )
    _ends_anew(run)


def _ended_twice(run: Run, http: int | None) -> set[str]:
    run.claim("m1")
    run.post("m1", fails="failed", code=30500)
    run.settle("m1", 1, "accepted")
    run.add(
        "sandbox",
        "callback_sent",
        sid="SM1",
        status="failed",
        attempt=1,
        id="m1",
        tried=1,
        ms=5.0,
        http=http,
    )
    run.settle("m1", 1, "failed", "retries_exhausted")
    return rules(run.judge(), "P2")


@pytest.mark.parametrize(
    "http, broken", [(None, set()), (503, set()), (204, set()), (403, {"two_ends"})]
)
def test_a_failure_the_gateway_turned_away_opens_nothing(
    run: Run, http: int | None, broken: set[str]
) -> None:
    """A failure that the gateway refused was not stored, so a second end is a breach."""
    assert _ended_twice(run, http) == broken


def test_the_gateways_word_on_a_failure_outranks_the_providers(run: Run) -> None:
    """The gateway's word on a failure outranks the provider's.

    The first callback reached no gateway; a later one resolved the message, and nothing opened it
    again.
    """
    run.claim("m1")
    run.post("m1", fails="failed", code=30500)
    run.settle("m1", 1, "unknown", "outcome_timeout")
    run.add(
        "sandbox",
        "callback_sent",
        sid="SM1",
        status="failed",
        attempt=1,
        id="m1",
        tried=1,
        ms=5.0,
        http=None,
    )
    run.add(
        "worker-1",
        "resolved",
        id="m1",
        attempt=1,
        reason="resent_by_rule",
        sid=None,
        stage="retrying",
    )
    run.claim("m1", fence=2)
    run.settle("m1", 0, "waiting", "rate_limited")
    run.callback("SM1", "failed", "m1", resolved=True)
    assert rules(run.judge(), "P2") == set()


def test_a_message_opened_again_must_end_again(run: Run) -> None:
    """An acceptance that failed is no end any more once a worker has claimed the message again."""
    run.claim("m1")
    run.post("m1", fails="failed", code=30500)
    run.settle("m1", 1, "accepted")
    run.callback("SM1", "failed", "m1")
    run.claim("m1", fence=2)
    assert rules(run.judge(), "P2") == {"lost"}


def test_a_late_settle_is_the_only_witness_of_an_end(run: Run) -> None:
    """A late settlement's line is an end if no other line shows one: the reply was kept as
    evidence.
    """
    run.claim("m1")
    run.post("m1")
    run.add("worker-2", "reaped", id="m1", stage="unknown", attempt=1)
    run.settle("m1", 1, "accepted", applied=False)
    report = run.judge()
    assert rules(report, "P2") == set()
    assert report.counts.ends == {"accepted": 1}


def test_an_accepted_message_whose_delivery_failed_for_good_stays_accepted(run: Run) -> None:
    """An accepted message whose delivery failed for good stays accepted, since dispatch ended
    before.
    """
    run.claim("m1")
    run.post("m1", fails="failed", code=63024)
    run.settle("m1", 1, "accepted")
    run.callback("SM1", "failed", "m1")
    assert run.judge().counts.ends == {"accepted": 1}


def test_the_worker_may_write_its_settle_after_the_gateway_wrote_the_failure(run: Run) -> None:
    """A worker's line may follow the gateway's, because lines are not in the store's order."""
    run.claim("m1")
    run.post("m1", fails="failed", code=30500)
    run.callback("SM1", "failed", "m1")
    run.settle("m1", 1, "accepted")
    run.claim("m1", fence=2)
    run.post("m1", 2, sid="SM2")
    run.settle("m1", 2, "accepted")
    assert run.judge().ok


def test_a_replay_undoes_the_end_before_it(run: Run) -> None:
    """A dead letter that an operator replays keeps its id and ends again."""
    run.add("producer", "accepted", id="m1", duplicate=False)
    run.add("worker-1", "ended", id="m1", stage="dead", reason="poison", code=None)
    run.add("person", "replayed", id="m1")
    run.claim("m1", fence=5)
    run.post("m1", 4)
    run.settle("m1", 4, "accepted")
    assert run.judge().ok


def test_a_replay_asked_for_before_the_claim_may_be_written_after_it(run: Run) -> None:
    """A replay counts from when the operator asked, even if its line follows the claim's."""
    run.add("producer", "accepted", id="m1", duplicate=False)
    run.settle("m1", 0, "dead", "retries_exhausted")
    asked = run.lines[-1]["t"] + 0.5
    run.claim("m1", fence=2)
    run.settle("m1", 0, "refused", "no_consent")
    run.add("command", "replayed", id="m1", expires=9_000)["t"] = asked
    report = run.judge()
    assert report.ok
    assert report.counts.ends == {"refused": 1}


def test_a_dropped_dead_letter_stays_dead(run: Run) -> None:
    """A dropped dead letter has ended, and a later claim breaks P2."""
    run.add("producer", "accepted", id="m1", duplicate=False)
    run.settle("m1", 0, "dead", "retries_exhausted")
    run.add("command", "dropped", id="m1")
    report = run.judge()
    assert report.ok
    assert report.counts.ends == {"dead": 1}
    run.claim("m1", fence=2)
    run.settle("m1", 0, "dead", "retries_exhausted")
    assert rules(run.judge(), "P2") == {"after_drop"}


def test_a_late_settle_is_no_second_end(run: Run) -> None:
    """A late settlement of a worker that lost its lease is no second end."""
    run.claim("m1")
    run.add("worker-2", "reaped", id="m1", stage="queued", attempt=0)
    run.claim("m1", fence=2)
    run.settle("m1", 0, "expired", "expired")
    run.settle("m1", 0, "refused", "no_consent", applied=False)
    report = run.judge()
    assert rules(report, "P2") == set()
    assert report.counts.late_settles == 1


def test_what_the_store_says_at_the_end_speaks_for_a_killed_process(run: Run) -> None:
    """The line `found` shows the end of a message whose worker was killed before its own line."""
    run.message("m0", "SM0")
    run.claim("m1")
    run.post("m1", sid="SM1")
    assert rules(run.judge(), "P2") == {"lost"}
    run.add("harness", "found", id="m1", stage="accepted", attempt=1)
    assert run.judge().ok


def test_a_store_that_denies_a_journalled_end_breaks_p2(run: Run) -> None:
    """An end in a journal that the store denies breaks P2, because ends are recorded before they
    are journaled.
    """
    run.message("m1", "SM1")
    run.add("harness", "found", id="m1", stage="queued")
    assert rules(run.judge(), "P2") == {"two_ends", "lost"}


def test_a_claim_nobody_takes_over_is_stuck(run: Run) -> None:
    """While a run goes on, a claim with no next line for too long is stuck: no worker reaps it."""
    run.claim("m1")
    for number in range(50):
        run.message(f"x{number}", f"SMx{number}")
    assert run.judge(final=False).ok
    assert rules(run.judge(final=False, stuck_after_ms=100.0), "P2") == {"stuck"}


# -- P3 --------------------------------------------------------------------------------------------


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
def test_what_a_person_has_sent_again_is_claimed_anew(run: Run, word: Line) -> None:
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


# -- P4 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statuses, backward",
    [
        (["sent", "delivered", "read"], False),
        (["delivered"], False),
        (["delivered", "sent"], True),
        (["read", "delivered"], True),
        (["sent", "sent"], True),
        (["delivered", "failed"], True),
        (["failed", "sent"], True),
        (["sent", "a_status_of_tomorrow"], False),
    ],
)
def test_a_status_that_moved_back_breaks_p4(run: Run, statuses: list[str], backward: bool) -> None:
    """Applied statuses rise in rank, whatever order the callbacks came in."""
    run.claim("m1")
    run.post("m1")
    run.settle("m1", 1, "accepted")
    for status in statuses:
        run.callback("SM1", status, "m1")
    assert rules(run.judge(), "P4") == ({"backward"} if backward else set())


def test_a_callback_that_came_late_and_moved_nothing_is_fine(run: Run) -> None:
    """Late and repeated callbacks that moved nothing are fine: they are stored, not applied."""
    run.message("m1", "SM1")
    run.callback("SM1", "sent", "m1", moved=False)
    assert run.judge().ok


def test_two_callbacks_at_once_may_be_journalled_in_either_order(run: Run) -> None:
    """Concurrent callbacks may be journaled in another order than the store applied them."""
    run.claim("m1")
    run.post("m1")
    run.settle("m1", 1, "accepted")
    for status in ("delivered", "sent"):
        run.add(
            "gateway",
            "callback",
            sid="SM1",
            status=status,
            id="m1",
            attempt=1,
            known=True,
            moved=True,
        )
    for status in ("delivered", "sent"):
        run.add(
            "sandbox",
            "callback_sent",
            sid="SM1",
            status=status,
            id="m1",
            attempt=1,
            http=200,
            ms=30.0,
        )
    assert run.judge().ok


def test_an_answered_callback_nobody_stored_breaks_p4(run: Run) -> None:
    """A callback with a 2xx that was not stored breaks P4."""
    run.message("m1", "SM1")
    run.lines = [
        line
        for line in run.lines
        if not (line["e"] == "callback" and line["status"] == "delivered")
    ]
    assert rules(run.judge(), "P4") == {"not_stored"}


UNDELIVERED = {"sid": "SM1", "status": "undelivered", "id": "m1", "attempt": 1, "ms": 1.0}


@pytest.mark.parametrize("http", [None, 500, 503, 408, 429])
def test_a_callback_without_a_2xx_need_not_be_stored(run: Run, http: int | None) -> None:
    """A callback without a 2xx need not be stored, because Twilio repeats it."""
    run.message("m1", "SM1")
    run.add("sandbox", "callback_sent", **UNDELIVERED, http=http)
    assert run.judge().ok


@pytest.mark.parametrize(
    ("answers", "is_broken"), [((405,), True), ((403, 405), True), ((403, 204), False)]
)
def test_a_callback_that_the_gateway_refuses_for_good_breaks_p4(
    run: Run, answers: tuple[int, ...], is_broken: bool
) -> None:
    """A signed callback that is refused until Twilio gives up is lost, by whichever method."""
    run.message("m1", "SM1")
    run.add("gateway", "callback", **UNDELIVERED)
    for http in answers:
        run.add("sandbox", "callback_sent", **UNDELIVERED, http=http)
    assert ("turned_away" in rules(run.judge(), "P4")) is is_broken


@pytest.mark.parametrize(
    ("answers", "is_broken"),
    [((405,), True), ((405, 200), False), ((503,), False), ((None,), False)],
)
def test_an_inbound_that_the_gateway_refuses_for_good_breaks_p4(
    run: Run, answers: tuple[int | None, ...], is_broken: bool
) -> None:
    """A signed inbound that no delivery of which got a 2xx, but one a refusal, is a lost STOP."""
    run.message("m1", "SM1")
    run.add("gateway", "inbound", sid="SMin")
    for http in answers:
        run.add("sandbox", "said_acked", sid="SMin", http=http)
    assert ("turned_away" in rules(run.judge(), "P4")) is is_broken


def test_an_answered_inbound_nobody_stored_breaks_p4(run: Run) -> None:
    """An inbound with a 2xx that was not stored breaks P4. A lost STOP would be the worst case."""
    run.message("m1", "SM1")
    run.stop()
    run.lines = [line for line in run.lines if line["e"] != "inbound"]
    assert rules(run.judge(), "P4") == {"inbound_not_stored"}


# -- requests --------------------------------------------------------------------------------------


def test_an_unknown_parameter_breaks_the_promise_on_requests(run: Run) -> None:
    """A violation about a request's form breaks the promise on requests, not the one on policy."""
    run.claim("m1")
    run.post("m1", violation="unknown_parameter")
    run.settle("m1", 1, "accepted")
    report = run.judge()
    assert rules(report, "requests") == {"unknown_parameter"}
    assert rules(report, "P1") == set()


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_any_order_of_simultaneous_lines_gives_the_same_verdict(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Journals of several processes are merged by time, and the order of files changes nothing."""
    folder = tmp_path_factory.mktemp("runs")
    run = Run(folder / "all.jsonl")
    for number in range(4):
        run.message(f"m{number}", f"SM{number}")
    if data.draw(st.booleans(), label="broken"):
        run.post("m1", 2, sid="SMtwin")
    expected = {promise.name: promise.verdict for promise in run.judge().promises}
    paths = [folder / f"{place}.jsonl" for place in range(3)]
    for path in paths:
        path.write_text("")
    for line in run.lines:
        with data.draw(st.sampled_from(paths)).open("a") as file:
            file.write(json.dumps(line) + "\n")
    assert {
        promise.name: promise.verdict
        for promise in verify(data.draw(st.permutations(paths))).promises
    } == expected
