"""What the rows of Sendwindow share: settings, persons who may be written to, messages, ends."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from bench.posted import ACCOUNT_SID, FORM, MAX_BATCH_MESSAGES
from sendwindow import Freeform, Priority, Producer, Purpose, SendMessage
from tests.support.cast import whatsapp
from worker.ports.people import ConsentEntry, Inbound
from worker.settings.settings import Settings, parse_settings
from worker.stores.store import Store

PEOPLE: Final = 500
KEY: Final = "bench-person-key-of-32-characters"
TOKEN: Final = "secret"  # noqa: S105 -- opens nothing
OTHER_ACCOUNT_SID: Final = "AC00000000000000000000000000000001"
OTHER_ADDRESS: Final = "whatsapp:+14155550103"
PARTITION: Final = "p0"
PUBLIC_URL: Final = "https://hooks.example.com"
SENDERS: Final = (("shop", "main"), ("other", "second"))
"""Each sender with its account: two accounts, because some rows trouble one of them."""

_MAX_BATCH_PEOPLE: Final = 32
_POLL_SECONDS: Final = 0.02
_END_SECONDS: Final = 300.0


class WrongEndError(Exception):
    """Messages did not end as the row needs, so its numbers would mean something else."""


def written_settings(
    store_url: str,
    base_url: str,
    slots: int = MAX_BATCH_MESSAGES,
    *,
    partition: str = PARTITION,
    port: int = 0,
) -> dict[str, Any]:
    """Return the settings of a worker or a gateway, as the settings file would have them."""
    # The limits are set and charged, and none is ever in the way. The few people of the bench get
    # far more messages than WhatsApp takes for each of them.
    limit = {"messages_per_second": 10_000}
    account = {"auth_token": "env:TOKEN", "base_url": base_url, **limit}
    return {
        "store": {"url": store_url, "person_key": "env:KEY", "partition": partition},
        "gateway": {"public_url": PUBLIC_URL, "port": port},
        # A row that is over does not wait for POSTs that hang.
        "dispatch": {"slots": slots, "grace_seconds": 1},
        "accounts": {
            "main": {"account_sid": ACCOUNT_SID, **account},
            "second": {"account_sid": OTHER_ACCOUNT_SID, **account},
        },
        "senders": {
            "shop": {"account": "main", "address": FORM["From"], "pair_limit": False, **limit},
            "other": {"account": "second", "address": OTHER_ADDRESS, "pair_limit": False, **limit},
        },
    }


def make_settings(store_url: str, base_url: str) -> Settings:
    """Build the settings of a worker or a gateway."""
    return parse(written_settings(store_url, base_url))


def parse(written: dict[str, Any]) -> Settings:
    """Build settings from those that `written_settings` returned."""
    return parse_settings(
        written, {"KEY": KEY, "TOKEN": TOKEN}, lambda name: Path(name).read_text()
    )


async def connect(store_url: str, partition: str = PARTITION) -> Store:
    """Open the store, to prepare it or to watch it."""
    return await Store.connect(
        store_url,
        partition=partition,
        person_key=KEY.encode(),
        durability="none",
        worker_id="bench",
        lease=timedelta(seconds=15),
        profile="sandbox",
    )


@asynccontextmanager
async def opened(store_url: str, partition: str = PARTITION) -> AsyncIterator[Store]:
    """Open the store for a block."""
    store = await connect(store_url, partition)
    try:
        yield store
    finally:
        await store.close()


def address(number: int) -> str:
    """Return the address of a person."""
    return whatsapp(number % PEOPLE)


async def record_people(
    store: Store, messages: int, senders: Sequence[tuple[str, str]] = SENDERS[:1]
) -> None:
    """Record the consent of everyone to whom `messages` messages go, and open their windows.

    `senders`: those that may write to them, each with its account.
    """
    number = min(PEOPLE, messages)
    for start in range(0, number, _MAX_BATCH_PEOPLE):
        people = range(start, min(start + _MAX_BATCH_PEOPLE, number))
        await asyncio.gather(
            *(
                store.people.record_consent(
                    address(person),
                    ConsentEntry(
                        granted=True, account=account, purpose=None, sender=None, source="bench"
                    ),
                )
                for person, (_, account) in itertools.product(people, senders)
            )
        )
        for at, (sender, account) in enumerate(senders):
            await store.people.apply_inbound(
                [
                    Inbound(
                        message_sid=f"SM{at:02x}{person:030x}",
                        sender=sender,
                        account=account,
                        address=address(person),
                    )
                    for person in people
                ]
            )


def message(number: int, **fields: Any) -> SendMessage:
    """Return a message to one of the persons, with the text that the reference loops post."""
    return SendMessage(
        **{
            "to": address(number),
            "sender": "shop",
            "purpose": Purpose.UTILITY,
            "freeform": Freeform(body=FORM["Body"]),
            **fields,
        }
    )


def messages(number: int, **fields: Any) -> Iterator[SendMessage]:
    """Yield messages that differ only in their recipient."""
    return (message(at, **fields) for at in range(number))


def bulk(number: int, campaigns: int, **fields: Any) -> Iterator[SendMessage]:
    """Yield bulk messages, spread over as many campaigns."""
    return (
        message(at, priority=Priority.BULK, campaign=f"c{at % campaigns}", **fields)
        for at in range(number)
    )


async def enqueue(store_url: str, batch: Iterable[SendMessage], partition: str = PARTITION) -> None:
    """Queue messages. Raises WrongEndError when one of them is not queued."""
    async with Producer(store_url, partition) as producer:
        summary = await producer.send_many(batch)
    if summary.rejected:
        raise WrongEndError(f"{len(summary.rejected)} messages were not queued")


async def ended(store: Store) -> int:
    """Return how many messages were accepted. Raises WrongEndError for any other end."""
    totals = await store.records.counts()
    ends = {name: number for name, number in totals.items() if name.startswith("end:")}
    wrong = {name for name in ends if not name.startswith("end:accepted:")}
    if wrong or totals.get("unknown"):
        raise WrongEndError(f"a row where every message is accepted has {sorted(totals)}")
    return sum(ends.values())


async def wait_for_ends(store: Store, number: int) -> int:
    """Wait until at least so many messages were accepted, and return how many were."""
    deadline = time.monotonic() + _END_SECONDS
    while (done := await ended(store)) < number:
        if time.monotonic() > deadline:
            raise WrongEndError(f"{done} of {number} messages ended in {_END_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)
    return done
