"""The session window: half-open, and opened only by the person's acts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.window import CLOSED, session_window
from tests.policies.given import DAY, HOUR, MINUTE, NOW, POLICY, TICK, person


@pytest.mark.parametrize(
    "wrote, is_open, is_near_edge",
    [
        pytest.param(None, False, False, id="never-wrote"),
        pytest.param(timedelta(0), True, False, id="this-instant"),
        pytest.param(DAY - 5 * MINUTE - TICK, True, False, id="before-the-margin"),
        pytest.param(DAY - 5 * MINUTE, True, True, id="at-the-margin"),
        pytest.param(DAY - TICK, True, True, id="last-instant"),
        pytest.param(DAY, False, False, id="edge"),
        pytest.param(3 * DAY, False, False, id="long-closed"),
    ],
)
def test_the_window_is_open_from_the_inbound_until_exactly_24_hours_later(
    wrote: timedelta | None, is_open: bool, is_near_edge: bool
) -> None:
    """[t, t + 24 h): exactly 24 hours is closed, and the margin starts 5 minutes before."""
    window = session_window(person(wrote=wrote), POLICY, NOW)
    assert (window.is_open, window.is_near_edge) == (is_open, is_near_edge)
    assert window.closes_at == (NOW - wrote + DAY if is_open and wrote is not None else None)


def test_an_inbound_that_seems_to_lie_in_the_future_counts_as_now() -> None:
    """An inbound in the future counts as now, so no wrong clock extends the window."""
    assert session_window(person(wrote=-3 * DAY), POLICY, NOW).closes_at == NOW + DAY


@pytest.mark.parametrize(
    "closed_ago, is_open",
    [
        pytest.param(2 * HOUR, True, id="the-person-wrote-after-it"),
        pytest.param(HOUR, False, id="at-the-same-instant"),
        pytest.param(MINUTE, False, id="closed-after-the-inbound"),
    ],
)
def test_what_the_provider_closed_only_a_later_inbound_opens(
    closed_ago: timedelta, is_open: bool
) -> None:
    """63016 outranks every inbound up to its instant."""
    someone = person(wrote=HOUR, closed_at=NOW - closed_ago)
    assert session_window(someone, POLICY, NOW).is_open is is_open


def test_without_a_margin_no_instant_is_near_the_edge() -> None:
    """`margin_seconds = 0` ends the preference for templates near the edge."""
    policy = replace(POLICY, margin=timedelta(0))
    assert not session_window(person(wrote=DAY - TICK), policy, NOW).is_near_edge
    assert session_window(person(), policy, NOW) is CLOSED
