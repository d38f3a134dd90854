"""What Twilio shows of a message, fetched or listed, becomes a status update like that of a callback."""

from dataclasses import dataclass, replace

from policies.rules import Rules
from sendwindow.addresses import is_user_id
from sendwindow.vocabulary import Channel, Reason
from worker.ports import Statuses
from worker.statuses import StatusReport, update_of
from worker.twilio.messages import MessageRow
from worker.values.statuses import StatusApplied, StatusUpdate

_NO_SPREAD = 0.0


@dataclass(frozen=True, slots=True)
class Reported:
    """A row of Twilio's, whose attempt is known. `evidence`: what it proves the attempt by, should that be unknown."""

    row: MessageRow
    message_id: str
    attempt: int
    channel: Channel | None
    evidence: Reason


def read_reported(reported: Reported, rules: Rules) -> StatusUpdate:
    """Rank a reported status and say what its error code teaches."""
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


async def apply_reported(statuses: Statuses, reported: Reported, rules: Rules) -> StatusApplied:
    """Apply one reported status. Raises what the store raises."""
    [applied] = await statuses.apply([read_reported(reported, rules)])
    return applied
