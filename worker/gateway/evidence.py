"""What a status callback proves and teaches: a read form becomes the update the store applies. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

from policies.errors import ErrorClass, ErrorEntry
from policies.retry import next_try_at
from policies.rules import Rules
from policies.status import describe
from policies.tag import tag_after
from sendwindow.vocabulary import Channel
from worker.dispatch.outcomes import effects_of
from worker.gateway.forms import StatusForm
from worker.values import Effect, SetTag, StatusUpdate

# only the difference of the two counts: the store knows a message's expiry, and reopens none beyond it
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


def update_of(form: StatusForm, rules: Rules, chance: float) -> StatusUpdate:
    """Rank a reported status and say what its error code teaches.

    `chance`, drawn evenly from 0 to 1, spreads new attempts. A SetTag among the effects counts only for a message that
    relied on the tag, and a reopening only before the message's expiry and within 24 h: both are the store's to know.
    """
    step = describe(form.status, form.channel)
    # a code beside a status that is no failure is a warning, and the catalogue says so
    entry = rules.errors.lookup(form.code, message_status=form.status, asynchronous=True)
    return StatusUpdate(
        message_sid=form.message_sid,
        status=form.status,
        rank=step.rank,
        is_final=step.is_final,
        is_failure=step.is_failure,
        code=form.code,
        message_id=form.message_id,
        attempt=form.attempt,
        effects=_effects(form, entry, rules, is_failure=step.is_failure),
        reopen_after_ms=_reopen_after_ms(form, entry, chance),
        redecides=entry.error_class is ErrorClass.TEMPLATE,
    )


def _effects(form: StatusForm, entry: ErrorEntry, rules: Rules, *, is_failure: bool) -> tuple[Effect, ...]:
    found = effects_of(entry)
    if form.channel is not Channel.MESSENGER or not is_failure:
        return found
    # that a status proves the tag is the store's to say: only it knows whether the message relied on it
    tag = tag_after(rules.policy, code=form.code)
    return found if tag is None else (*found, SetTag(tag, f"code {form.code}"))


def _reopen_after_ms(form: StatusForm, entry: ErrorEntry, chance: float) -> int | None:
    if not entry.reopens(form.status):
        return None
    if entry.error_class is ErrorClass.TEMPLATE:
        return 0
    at = next_try_at(form.attempt or 1, entry, chance, retry_after=None, now=_NOW, expires_at=_NEVER)
    return None if at is None else (at - _NOW) // timedelta(milliseconds=1)
