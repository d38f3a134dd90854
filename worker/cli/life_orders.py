"""Another life of an ended message: how long it would be sendable, and what would be decided."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sendwindow.codec import decode_job
from sendwindow.errors import UnreadableJob
from sendwindow.row_fields import RowField
from sendwindow.timestamps import to_ms
from worker.cli.explain import decide_now, form_of

if TYPE_CHECKING:
    from policies.ruleset import Ruleset
    from sendwindow.contract import SendMessage
    from worker.ports.records import Record
    from worker.settings.settings import Settings
    from worker.stores.store import Store
    from worker.telemetry.journal import Journal


Order = Callable[[list[str], list[datetime]], Awaitable[list[str]]]
"""Orders another life of messages, each with its expiry. Returns the store's answers."""


@dataclass(frozen=True, slots=True)
class Again:
    """A way to send messages again.

    `word`: the store's word for a life that began. `stages`: the ends that it may leave.
    """

    word: str
    stages: tuple[str, ...]


RETRY: Final = Again("retried", ("refused", "failed", "expired"))
"""Dead letters are replayed instead, and a cancelled message is never sent again."""

REPLAY: Final = Again("replayed", ("dead",))


@dataclass(frozen=True, slots=True)
class Prospect:
    """A message that an operator may send again, and until when it would stay sendable.

    `message`: the content of its job, or None if there is no readable job. `stage`, `reason`,
    `code`: how it ended, or None if its id is not known.
    """

    message_id: str
    stage: str | None
    reason: str | None
    code: str | None
    is_unreadable: bool
    expires_at: datetime
    message: "SendMessage | None" = field(repr=False)

    def lacks_job(self, how: Again) -> bool:
        """Return whether its end allows another life, but its job cannot be read."""
        return self.stage in how.stages and self.is_unreadable


async def prospects(
    store: "Store", message_ids: Sequence[str], lasts: timedelta | None
) -> list[Prospect]:
    """Read messages, and compute until when each would stay sendable.

    With `lasts`, that long from now. Without it, until the message's own `expires_at` if that is
    still ahead, and otherwise for as long as any message of its purpose.
    """
    records = await store.records.several(message_ids)
    now = await store.now()
    return [_prospect(*known, now, lasts) for known in zip(message_ids, records, strict=True)]


def _prospect(
    message_id: str, record: "Record | None", now: datetime, lasts: timedelta | None
) -> Prospect:
    row, payload = (record.row, record.payload) if record is not None else ({}, None)
    message = _read(payload, message_id) if payload is not None else None
    return Prospect(
        message_id,
        row.get(RowField.STAGE),
        row.get(RowField.REASON),
        row.get(RowField.ERROR_CODE),
        is_unreadable=payload is not None and message is None,
        expires_at=_expiry(message, now, lasts),
        message=message,
    )


def _expiry(message: "SendMessage | None", now: datetime, lasts: timedelta | None) -> datetime:
    # Without a message nothing is sent, so its expiry does not matter.
    if lasts is not None or message is None:
        return now + (lasts or timedelta())
    ends_at = message.ends_at(now)
    return ends_at if ends_at > now else now + message.lifetime


async def send_again(
    found: Sequence[Prospect], how: Again, order: Order, journal: "Journal"
) -> list[str]:
    """Order another life of each message, and return the store's answers.

    The journal gets a line for each life that began, between two lines about the order. If this
    process is killed before it learns what the store did, `verify` still knows what was asked. A
    message whose job cannot be read here is not ordered, because a worker could not send it either.
    """
    asked_at = journal.now()
    ordered = [one for one in found if not one.lacks_job(how)]
    ids, expiries = [one.message_id for one in ordered], [one.expires_at for one in ordered]
    journal.write(
        "ordered", t=asked_at, word=how.word, ids=ids, expires=[to_ms(end) for end in expiries]
    )
    words = dict(zip(ids, await order(ids, expiries), strict=True))
    for one in ordered:
        if words[one.message_id] == how.word:
            journal.write(how.word, id=one.message_id, t=asked_at, expires=to_ms(one.expires_at))
    journal.write("order_done", of=asked_at)
    return [words.get(one.message_id, "no_job") for one in found]


def _read(job: bytes, message_id: str) -> "SendMessage | None":
    try:
        return decode_job(job, message_id)
    except UnreadableJob:
        return None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a dry run shows of a message.

    `word`: the store's answer. Without a decision the message may not be sent.
    """

    prospect: Prospect
    word: str
    decision: str | None = None
    reason: str | None = None


async def outlook(
    one: Prospect, word: str, store: "Store", settings: "Settings", rules: "Ruleset"
) -> Outlook:
    """Decide as a worker would now, if the message may go: `send freeform`, `wait`, `refuse`.

    It writes nothing.
    """
    if word != "may_go" or one.message is None:
        return Outlook(one, word)
    decision = await decide_now(one.message, store, settings, rules, one.expires_at)
    return Outlook(
        one,
        word,
        f"{type(decision).__name__.lower()} {form_of(decision)}".rstrip(),
        decision.reason.value,
    )
