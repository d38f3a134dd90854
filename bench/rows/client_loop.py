"""The second reference: the same loop, with each POST sent by our own client module.

What is left of the difference to `ours` is the queue, the rules and the record. It changes when the
client does, so it is reported and no goal is set for it.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Final

from bench.child_commands import cpu_seconds
from bench.posted import ACCOUNT_SID, FORM, MAX_BATCH_MESSAGES
from bench.row import CPU_AND_RATE, Place, Row, Sizes, Spent
from worker.ports.posts import Accepted, CreateMessage
from worker.settings.accounts import Account
from worker.twilio.client import TwilioClient


async def post_all(base_url: str, messages: int, tls: ssl.SSLContext | None = None) -> Spent:
    """Post the form as often as asked, with `TwilioClient.create`."""
    account = Account("main", ACCOUNT_SID, ACCOUNT_SID, "secret", base_url)
    create = CreateMessage("main", tuple(FORM.items()))
    left = messages

    async with TwilioClient({"main": account}, slots=MAX_BATCH_MESSAGES, tls=tls) as client:

        async def sender() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                assert isinstance(await client.create(create), Accepted)

        cpu, wall = cpu_seconds(), time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(MAX_BATCH_MESSAGES)))
        return Spent(cpu_seconds() - cpu, time.perf_counter() - wall, messages)


async def measure(place: Place) -> Mapping[str, float]:
    return (await post_all(place.base_url, place.size)).figures()


async def measure_tls(place: Place) -> Mapping[str, float]:
    context = ssl.create_default_context(cafile=place.ca_file)
    return (await post_all(place.tls_url, place.size, context)).figures()


ROWS: Final = (
    Row(
        "client_loop",
        "posts them in a loop over our own client module",
        CPU_AND_RATE,
        Sizes(5000, 500, 20),
        measure,
    ),
    Row(
        "client_loop_tls",
        "the same over TLS",
        CPU_AND_RATE,
        Sizes(5000, None, 20),
        measure_tls,
        mock="tls",
    ),
)
