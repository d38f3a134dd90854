"""What another life of an ended message would be: until when it stays sendable, and what would be decided now."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sendwindow.codec import decode_job
from sendwindow.errors import UnreadableJob
from worker.commands.explain import decide_now, form_of

if TYPE_CHECKING:
    from policies.rules import Rules
    from sendwindow.contract import SendMessage
    from worker.settings import Settings
    from worker.stores.store import Store
    from worker.values.records import Record


@dataclass(frozen=True, slots=True)
class Prospect:
    """A message that a person may have sent again. `message`: what its job says, None without a readable one.

    `stage`, `reason`, `code`: how it ended, None where its id is not known.
    """

    message_id: str
    stage: str | None
    reason: str | None
    code: str | None
    is_unreadable: bool
    expires_at: datetime
    message: "SendMessage | None" = field(repr=False)


async def prospects(store: "Store", message_ids: Sequence[str], lasts: timedelta | None) -> list[Prospect]:
    """Read messages. Each stays sendable from now for `lasts`, or as long as any message of its purpose."""
    records = await store.records.several(message_ids)
    now = await store.now()
    return [_prospect(*known, now, lasts) for known in zip(message_ids, records, strict=True)]


def _prospect(message_id: str, record: "Record | None", now: datetime, lasts: timedelta | None) -> Prospect:
    row, payload = (record.row, record.payload) if record is not None else ({}, None)
    message = _read(payload, message_id) if payload is not None else None
    # Without a message nothing is sent, whatever its expiry.
    lifetime = lasts or (message.lifetime if message is not None else timedelta())
    return Prospect(
        message_id,
        row.get("s"),
        row.get("r"),
        row.get("c"),
        is_unreadable=payload is not None and message is None,
        expires_at=now + lifetime,
        message=message,
    )


def _read(job: bytes, message_id: str) -> "SendMessage | None":
    try:
        return decode_job(job, message_id)
    except UnreadableJob:
        return None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a dry run says of a message. `word`: the store's answer; `decision`, `reason`: None for what may not go."""

    prospect: Prospect
    word: str
    decision: str | None = None
    reason: str | None = None


async def outlook(one: Prospect, word: str, store: "Store", settings: "Settings", rules: "Rules") -> Outlook:
    """Decide what may go as a worker would now: `send freeform`, `wait`, `refuse`. Writes nothing."""
    if word != "may_go" or one.message is None:
        return Outlook(one, word)
    decision = await decide_now(one.message, store, settings, rules, one.expires_at)
    return Outlook(one, word, f"{type(decision).__name__.lower()} {form_of(decision)}".rstrip(), decision.reason.value)
