"""Messages that were accepted, and the statuses that Twilio reports about them afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.sending import send_queued
from bench.world import enqueue, make_settings, message, written_settings
from sendwindow.vocabulary import Channel
from worker.status_updates import StatusReport, update_of
from worker.stores.store import Store
from worker.wiring import load_rules

STATUSES: Final = ("sent", "delivered")
"""What Twilio reports after the 201. The last is final."""

_MAX_BATCH_MESSAGES: Final = 32


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """An accepted message, as a callback names it. `life`: when it was queued, in ms."""

    message_id: str
    message_sid: str
    life: int


async def send_all(
    store: Store, store_url: str, base_url: str, names: Sequence[str], sent_before: int = 0
) -> list[AcceptedMessage]:
    """Queue messages with these ids, have a worker send them, and return them."""
    await enqueue(store_url, (message(at, message_id=name) for at, name in enumerate(names)))
    return await send_waiting(store, store_url, base_url, names, sent_before)


async def send_waiting(
    store: Store, store_url: str, base_url: str, names: Sequence[str], sent_before: int
) -> list[AcceptedMessage]:
    """Have a worker send the queued messages with these ids, and return them.

    `sent_before`: how many messages of this store were accepted earlier.
    """
    settings = written_settings(store_url, base_url)
    await send_queued(store_url, settings, sent_before + len(names))
    found = []
    for start in range(0, len(names), _MAX_BATCH_MESSAGES):
        for record in await store.records.several(names[start : start + _MAX_BATCH_MESSAGES]):
            assert record is not None
            found.append(
                AcceptedMessage(record.message_id, record.row["sid"], int(record.row["q"]))
            )
    return found


async def report_final(
    store: Store, store_url: str, base_url: str, accepted: Sequence[AcceptedMessage]
) -> None:
    """Apply every status up to the final one to all of these messages."""
    rules = load_rules(make_settings(store_url, base_url))
    for status in STATUSES:
        for start in range(0, len(accepted), _MAX_BATCH_MESSAGES):
            reports = [
                StatusReport(
                    message_sid=one.message_sid,
                    status=status,
                    code=None,
                    channel=Channel.WHATSAPP,
                    message_id=one.message_id,
                    attempt=1,
                    life=one.life,
                )
                for one in accepted[start : start + _MAX_BATCH_MESSAGES]
            ]
            await store.statuses.apply([update_of(report, rules, 0.5) for report in reports])
