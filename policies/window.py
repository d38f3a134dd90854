"""The session window of one sender and person: 24 hours from the person's last inbound message.

The interval is half-open.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from policies.facts import PersonFact
from policies.policy import Policy


@dataclass(frozen=True, slots=True)
class Window:
    """The session window at one instant.

    If the window is closed, `closes_at` is None and `is_near_edge` is False.
    """

    is_open: bool
    is_near_edge: bool = False
    closes_at: datetime | None = None


CLOSED: Final = Window(is_open=False)


def session_window(person: PersonFact, policy: Policy, now: datetime) -> Window:
    """Return the person's window at `now`: `[t, t + 24 h)`, where t is the last inbound message.

    An inbound message with a time in the future counts as received now, so that a wrong clock
    cannot keep a window open for longer. If the provider reported that the window is closed
    (63016), only a later inbound message opens it again.

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
