"""P1: `verify` finds every POST that the rules forbid."""

import pytest

from tests.support.verify_run import Run, rules


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


def test_a_post_after_an_unanswered_stop_breaks_nothing(run: Run) -> None:
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


def test_a_post_without_a_decision_breaks_p1(run: Run) -> None:
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
