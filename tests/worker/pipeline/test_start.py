"""When a POST must have started, and how long Twilio may keep the message."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from policies.decision import FreeformContent, SeenRevisions, Send, Trace
from sendwindow.contract import Freeform, SendMessage
from sendwindow.vocabulary import Purpose, Reason
from tests.support.cast import ANNA
from worker.pipeline.attempt import Attempt, InFlightMessage
from worker.pipeline.decision_inputs import read_draft
from worker.ports.admissions import Permit
from worker.ports.claims import ClaimedMessage
from worker.ports.stored_facts import StoredFacts
from worker.twilio.requests import Route, build


def _run(*, window_left: timedelta, validity: timedelta) -> tuple[Attempt, Send]:
    """Make a claimed message whose decision is one second old."""
    decided_at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    trace = Trace("v1", decided_at, ())
    seen = SeenRevisions(person=0, sender=0, account=0)
    send = Send(
        Reason.WINDOW_OPEN,
        FreeformContent("Hello"),
        seen,
        decided_at + window_left,
        validity,
        trace,
    )
    message = SendMessage(
        to=ANNA, sender="shop", purpose=Purpose.REPLY, freeform=Freeform(body="Hello")
    )
    held = InFlightMessage(
        cast("ClaimedMessage", None), decided_at + timedelta(seconds=1), read_at=100.0
    )
    draft = read_draft(message, decided_at)
    return Attempt(held, message, draft, None, cast("StoredFacts", None), decided_at), send


@pytest.mark.parametrize(
    ("window_left", "validity", "may_wait"),
    [(60.0, 60.0, 2.0), (2.5, 2.0, 0.0), (4.0, 3.0, 1.0), (2.4, 60.0, 1.4), (0.5, 1.0, -1.0)],
    ids=[
        "far from any edge",
        "no second of queue left",
        "the queue's second",
        "the window's edge",
        "too late",
    ],
)
def test_a_post_starts_before_its_window_and_its_queue_end(
    window_left: float, validity: float, may_wait: float
) -> None:
    """A POST under a two-second permit starts before the window and Twilio's validity end."""
    run, send = _run(
        window_left=timedelta(seconds=window_left), validity=timedelta(seconds=validity)
    )
    start_by = run.start_by(send, Permit("m1", 1, 1, lapses_at=102.0), 100.0)
    assert start_by - 100.0 == pytest.approx(may_wait)


@pytest.mark.parametrize(("late", "sent"), [(0.0, "60"), (2.0, "58"), (2.5, "57"), (59.5, "1")])
def test_the_time_until_the_post_is_taken_off_the_validity(late: float, sent: str) -> None:
    """The time before the POST is taken off the validity, because Twilio counts from the POST."""
    _, send = _run(window_left=timedelta(seconds=60), validity=timedelta(seconds=60))
    route = Route("main", "whatsapp:+14155550100", ANNA, None, "m1", 1, send.trace.decided_at)
    starts_at = send.trace.decided_at + timedelta(seconds=late)
    assert (
        dict(build(send, route, "https://hooks.example.com", starts_at=starts_at).form)[
            "ValidityPeriod"
        ]
        == sent
    )
