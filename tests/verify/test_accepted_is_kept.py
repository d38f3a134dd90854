"""P2: `verify` finds every accepted message without exactly one end."""

from collections.abc import Callable

import pytest

from tests.support.verify_run import Run, rules


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


def test_a_claim_that_no_worker_takes_over_is_stuck(run: Run) -> None:
    """While a run goes on, a claim with no next line for too long is stuck: no worker reaps it."""
    run.claim("m1")
    for number in range(50):
        run.message(f"x{number}", f"SMx{number}")
    assert run.judge(final=False).ok
    assert rules(run.judge(final=False, stuck_after_ms=100.0), "P2") == {"stuck"}
