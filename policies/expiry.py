"""How long Twilio may keep a message in its own queue."""

from datetime import datetime, timedelta
from typing import Final

from policies.policy import Policy

_SECOND: Final = timedelta(seconds=1)


def validity_period(policy: Policy, ends_at: datetime, now: datetime) -> timedelta:
    """Answer the `ValidityPeriod` that keeps a message out of Twilio's queue after `ends_at`, in whole seconds.

    At most 36,000 s; at least the one second that Twilio accepts, also when less is left.
    Source: Twilio, "Messages resource" (read 2026-11-20).
    """
    whole = (ends_at - now) // _SECOND
    return min(policy.validity, timedelta(seconds=max(1, whole)))
