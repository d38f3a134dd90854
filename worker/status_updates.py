"""Turns a reported status into the update that the store applies. Pure.

The status may come from a callback or from a row of Twilio's list.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from policies.error_catalogue import ErrorEntry, Meaning
from policies.retry_delay import next_try_at
from policies.ruleset import Ruleset
from policies.status import describe
from policies.tag import tag_after
from sendwindow.vocabulary import Channel
from worker.error_effects import Heard, effects_of
from worker.ports.effects import Effect, SetTag
from worker.ports.statuses import StatusUpdate

# Only the difference between these two matters: the store knows when a message expires, and reopens
# none after that.
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """A status as Twilio reports it.

    `status`: verbatim. `message_id` and `attempt`: None for messages that are not ours.

    `life`: when the message was enqueued (ms), None when the report does not say. `to_user_id`: the
    report shows that the recipient is a WhatsApp user id. `channel_codes`: numbers in the channel's
    own text that may be its error codes.
    """

    message_sid: str
    status: str
    code: int | None
    channel: Channel | None
    message_id: str | None
    attempt: int | None
    life: int | None = None
    to_user_id: bool = False
    channel_codes: frozenset[int] = frozenset()


def update_of(report: StatusReport, rules: Ruleset, chance: float) -> StatusUpdate:
    """Return the update for a reported status, with its rank and what its error code teaches.

    `chance`: drawn evenly from 0 to 1, so that new attempts spread out. Two conditions are left to
    the store, because only it can check them. A SetTag among the effects counts only for a message
    that relied on the tag. A reopening counts only before the message expires and within 24 h.
    """
    step = describe(report.status, report.channel)
    # A code next to a status that is not a failure is a warning, and the catalogue treats it so.
    entry = rules.errors.lookup(
        report.code, message_status=report.status, asynchronous=True, to_user_id=report.to_user_id
    )
    is_window = entry.meaning(report.status) is Meaning.DECIDE_AGAIN
    return StatusUpdate(
        message_sid=report.message_sid,
        status=report.status,
        rank=step.rank,
        is_final=step.is_final,
        is_failure=step.is_failure,
        code=report.code,
        message_id=report.message_id,
        attempt=report.attempt,
        life=report.life,
        effects=_effects(report, entry, rules, is_failure=step.is_failure),
        reopen_after_ms=_reopen_after_ms(report, entry, chance),
        most_tries=0 if is_window else entry.max_tries,
        redecides=is_window,
    )


def _effects(
    report: StatusReport, entry: ErrorEntry, rules: Ruleset, *, is_failure: bool
) -> tuple[Effect, ...]:
    found = effects_of(
        entry, rules, Heard(channel=report.channel, channel_codes=report.channel_codes)
    )
    if report.channel is not Channel.MESSENGER or not is_failure:
        return found
    # Whether a status proves the tag is up to the store: only the store knows whether the message
    # relied on it.
    tag = tag_after(rules.policy, code=report.code)
    return found if tag is None else (*found, SetTag(tag, f"code {report.code}"))


def _reopen_after_ms(report: StatusReport, entry: ErrorEntry, chance: float) -> int | None:
    meaning = entry.meaning(report.status)
    if meaning is Meaning.DECIDE_AGAIN:
        return 0
    if meaning is not Meaning.GO_AGAIN:
        return None
    # Only the store knows how many attempts were tries, so the update carries `most_tries` for it.
    endless = replace(entry, max_tries=0)
    at = next_try_at(
        report.attempt or 1, endless, chance, retry_after=None, now=_NOW, expires_at=_NEVER
    )
    return None if at is None else (at - _NOW) // timedelta(milliseconds=1)
