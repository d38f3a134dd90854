"""Sendwindow with everything on, and nothing sampled.

That is validation, rules, trace, admission, intent, ledger, log and metrics. As in the other rows,
the preparation is not measured: consent, open windows, and enqueuing. The clock runs from the first
claim until every message has its end.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import uvloop

from bench.rows.raw_loop import AT_A_TIME, FORM
from sendwindow import Freeform, Producer, Purpose, SendMessage
from tests.support.cast import whatsapp
from worker.ports.people import ConsentEntry, Inbound
from worker.services import WorkerService
from worker.settings.settings import Settings, parse_settings
from worker.stores.store import Store

PEOPLE = 500
KEY = "bench-person-key-of-32-characters"
ACCOUNT = "AC00000000000000000000000000000000"


def make_settings(store_url: str, base_url: str) -> Settings:
    """Build settings with one account and one WhatsApp sender.

    It has as many slots as the reference loops have requests at a time.
    """
    written = {
        "store": {"url": store_url, "person_key": "env:KEY"},
        "gateway": {"public_url": "https://hooks.example.com"},
        "dispatch": {"slots": AT_A_TIME},
        "accounts": {
            "main": {"account_sid": ACCOUNT, "auth_token": "env:TOKEN", "base_url": base_url}
        },
        "senders": {"shop": {"account": "main", "address": FORM["From"]}},
    }
    return parse_settings(
        written, {"KEY": KEY, "TOKEN": "secret"}, lambda name: Path(name).read_text()
    )


async def prepare(store_url: str, messages: int) -> None:
    """Record consent, open the windows, and enqueue the messages."""
    store = await Store.connect(
        store_url,
        partition="p0",
        person_key=KEY.encode(),
        durability="none",
        worker_id="bench",
        lease=timedelta(seconds=15),
        profile="sandbox",
    )
    entry = ConsentEntry(granted=True, account="main", purpose=None, sender=None, source="bench")
    for number in range(PEOPLE):
        await store.people.record_consent(whatsapp(number), entry)
        inbound = Inbound(
            message_sid=f"SM{number:032x}", sender="shop", account="main", address=whatsapp(number)
        )
        await store.people.apply_inbound([inbound])
    await store.close()
    async with Producer(store_url) as producer:
        await producer.send_many(
            SendMessage(
                to=whatsapp(number % PEOPLE),
                sender="shop",
                purpose=Purpose.UTILITY,
                freeform=Freeform(body=FORM["Body"]),
            )
            for number in range(messages)
        )


async def work(settings: Settings, messages: int) -> dict[str, float]:
    """Run a worker in this process until every message has its end."""
    service = WorkerService(settings)
    running = asyncio.create_task(service.run())
    watch = await connect(settings)
    cpu, wall = time.process_time(), time.perf_counter()
    while (await watch.records.counts()).get("end:accepted:window_open", 0) < messages:
        if running.done():
            running.result()
        await asyncio.sleep(0.05)
    spent = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "messages": messages,
    }
    await watch.close()
    await service.stop()
    await running
    return spent


async def connect(settings: Settings) -> Store:
    """Open the store of these settings, to watch what the worker records in it."""
    return await Store.connect(
        settings.store.url or "",
        partition="p0",
        person_key=KEY.encode(),
        durability="none",
        worker_id="watch",
        lease=timedelta(seconds=15),
        profile="sandbox",
    )


async def main(store_url: str, base_url: str, messages: int) -> None:
    """Prepare, work, and print what it took."""
    await prepare(store_url, messages)
    print(json.dumps(await work(make_settings(store_url, base_url), messages)), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryFile("w") as log, contextlib.redirect_stderr(log):
        os.dup2(log.fileno(), 2)
        uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
