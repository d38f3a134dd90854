"""Applies the status of a message that was fetched or listed, like that of a callback."""

from dataclasses import dataclass, replace

from policies.ruleset import Ruleset
from sendwindow.addresses import is_user_id
from sendwindow.vocabulary import Channel, Reason
from worker.ports.statuses import StatusApplied, Statuses, StatusUpdate
from worker.status_updates import StatusReport, update_of
from worker.twilio.messages import MessageRow

_NO_SPREAD = 0.0


@dataclass(frozen=True, slots=True)
class ReportedStatus:
    """A message as Twilio shows it. Its attempt is known.

    `evidence`: the reason to record if this proves an unknown attempt.
    """

    row: MessageRow
    message_id: str
    attempt: int
    channel: Channel | None
    evidence: Reason


def read_reported(reported: ReportedStatus, rules: Ruleset) -> StatusUpdate:
    """Return the update for a reported status, with its rank and what its error code teaches."""
    report = StatusReport(
        message_sid=reported.row.message_sid,
        status=reported.row.status,
        code=reported.row.error_code,
        channel=reported.channel,
        message_id=reported.message_id,
        attempt=reported.attempt,
        to_user_id=is_user_id(reported.row.to),
    )
    return replace(update_of(report, rules, _NO_SPREAD), evidence=reported.evidence)


async def apply_reported(
    statuses: Statuses, reported: ReportedStatus, rules: Ruleset
) -> StatusApplied:
    """Apply one reported status. Raises what the store raises."""
    [applied] = await statuses.apply([read_reported(reported, rules)])
    return applied
