"""The session window: 24 hours from what the person last did, half-open, per sender and person."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from policies.facts import PersonFact
from policies.policy import Policy


@dataclass(frozen=True, slots=True)
class Window:
    """The session window at one instant. `closes_at` is None unless it is open, `is_near_edge` false."""

    is_open: bool
    is_near_edge: bool = False
    closes_at: datetime | None = None


CLOSED: Final = Window(is_open=False)


def session_window(person: PersonFact, policy: Policy, now: datetime) -> Window:
    """Tell whether the person's window is open at `now`: `[t, t + 24 h)`, t being the last inbound.

    An inbound that seems to lie in the future counts as now, so a wrong clock cannot hold a window open for longer.
    When the provider said that the window is closed (63016), only a later inbound opens it again.
    Source: Meta, "Service messages" (page of 2026-05-21); Twilio, error 63016; read 2026-11-20.
    """
    opened_at = person.last_inbound_at
    if opened_at is None or (person.closed_at is not None and person.closed_at >= opened_at):
        return CLOSED
    opened_at = min(opened_at, now)
    if now - opened_at >= policy.window:
        return CLOSED
    closes_at = opened_at + policy.window
    return Window(is_open=True, is_near_edge=now >= closes_at - policy.margin, closes_at=closes_at)
