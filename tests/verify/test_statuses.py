"""P4: `verify` finds statuses that go back and callbacks that were not stored."""

import pytest

from tests.support.verify_run import Run, rules


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


def test_an_answered_callback_that_was_not_stored_breaks_p4(run: Run) -> None:
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


def test_an_answered_inbound_that_was_not_stored_breaks_p4(run: Run) -> None:
    """An inbound with a 2xx that was not stored breaks P4. A lost STOP would be the worst case."""
    run.message("m1", "SM1")
    run.stop()
    run.lines = [line for line in run.lines if line["e"] != "inbound"]
    assert rules(run.judge(), "P4") == {"inbound_not_stored"}
