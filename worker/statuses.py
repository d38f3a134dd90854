"""What a reported status proves and teaches, called back or shown in a row: the update the store applies. Pure."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from policies.errors import ErrorEntry, Meaning
from policies.retry import next_try_at
from policies.rules import Rules
from policies.status import describe
from policies.tag import tag_after
from sendwindow.vocabulary import Channel
from worker.effects import Heard, effects_of
from worker.values.effects import Effect, SetTag
from worker.values.statuses import StatusUpdate

# only the difference of the two counts: the store knows a message's expiry, and reopens none beyond it
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StatusReport:
    """A status as Twilio reports it. `status` is verbatim. `message_id` and `attempt`: None for messages of others.

    `life`: when that message was enqueued (ms), None when the report does not say. `to_user_id`: it says that the
    recipient is a WhatsApp user id. `channel_codes`: numbers in the channel's own words that may be its error codes.
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


def update_of(report: StatusReport, rules: Rules, chance: float) -> StatusUpdate:
    """Rank a reported status and say what its error code teaches.

    `chance`, drawn evenly from 0 to 1, spreads new attempts. A SetTag among the effects counts only for a message that
    relied on the tag, and a reopening only before the message's expiry and within 24 h: both are the store's to know.
    """
    step = describe(report.status, report.channel)
    # a code beside a status that is no failure is a warning, and the catalogue says so
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


def _effects(report: StatusReport, entry: ErrorEntry, rules: Rules, *, is_failure: bool) -> tuple[Effect, ...]:
    found = effects_of(entry, rules, Heard(channel=report.channel, channel_codes=report.channel_codes))
    if report.channel is not Channel.MESSENGER or not is_failure:
        return found
    # that a status proves the tag is the store's to say: only it knows whether the message relied on it
    tag = tag_after(rules.policy, code=report.code)
    return found if tag is None else (*found, SetTag(tag, f"code {report.code}"))


def _reopen_after_ms(report: StatusReport, entry: ErrorEntry, chance: float) -> int | None:
    meaning = entry.meaning(report.status)
    if meaning is Meaning.DECIDE_AGAIN:
        return 0
    if meaning is not Meaning.GO_AGAIN:
        return None
    # How many of the attempts were tries, the store knows: `most_tries` goes with it.
    endless = replace(entry, max_tries=0)
    at = next_try_at(report.attempt or 1, endless, chance, retry_after=None, now=_NOW, expires_at=_NEVER)
    return None if at is None else (at - _NOW) // timedelta(milliseconds=1)
