"""How long Twilio may keep a message in its own queue."""

from datetime import datetime, timedelta
from typing import Final

from policies.policy import Policy

_SECOND: Final = timedelta(seconds=1)


def validity_period(policy: Policy, ends_at: datetime, now: datetime) -> timedelta:
    """Return the `ValidityPeriod` with which Twilio drops the message from its queue at `ends_at`.

    It is in whole seconds and at most 36,000 s. It is at least 1 s, which is the shortest that
    Twilio accepts, even if less time is left.

    Source: Twilio, "Messages resource" (read 2026-11-20).
    """
    whole = (ends_at - now) // _SECOND
    return min(policy.validity, timedelta(seconds=max(1, whole)))
