"""Frozen reference: a bare aiohttp POST loop, the least that any sender in Python costs.

Do not improve it.

The ratio means nothing without these options: plain `data=` form, `Authorization` header built
once, ClientTimeout(total=30), uvloop, 100 requests at a time, answers parsed as JSON.

`raw_loop_tls` does the same over TLS. `raw_loop_200ms` has 25 requests at a time, each of which
takes as long as Twilio does.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Final

import aiohttp

from bench.child_commands import cpu_seconds
from bench.posted import ACCOUNT_SID, FORM, MAX_BATCH_MESSAGES
from bench.row import CPU_AND_RATE, Place, Row, Sizes, Spent
from bench.scripted_mock import LIKE_TWILIO, SLOTS, scripted_mock


async def post_all(
    base_url: str,
    messages: int,
    at_a_time: int = MAX_BATCH_MESSAGES,
    tls: ssl.SSLContext | None = None,
) -> Spent:
    """Post the form as often as asked."""
    url = f"{base_url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
    headers = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT_SID, "secret")}
    left = messages

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=at_a_time, ssl=True if tls is None else tls),
        timeout=aiohttp.ClientTimeout(total=30),
        headers=headers,
    ) as session:

        async def sender() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                async with session.post(url, data=FORM) as response:
                    assert (await response.json())["sid"]

        cpu, wall = cpu_seconds(), time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(at_a_time)))
        return Spent(cpu_seconds() - cpu, time.perf_counter() - wall, messages)


async def measure(place: Place) -> Mapping[str, float]:
    return (await post_all(place.base_url, place.size)).figures()


async def measure_tls(place: Place) -> Mapping[str, float]:
    context = ssl.create_default_context(cafile=place.ca_file)
    return (await post_all(place.tls_url, place.size, tls=context)).figures()


async def measure_slow(place: Place) -> Mapping[str, float]:
    async with scripted_mock(LIKE_TWILIO) as mock:
        return (await post_all(mock.base_url, place.size, SLOTS)).figures()


ROWS: Final = (
    Row(
        "raw_loop",
        "posts the same messages in a bare aiohttp loop: no queue, no rules, no record",
        CPU_AND_RATE,
        Sizes(5000, 500, 20),
        measure,
    ),
    Row(
        "raw_loop_tls",
        "the same over TLS",
        CPU_AND_RATE,
        Sizes(5000, 500, 20),
        measure_tls,
        mock="tls",
    ),
    Row(
        "raw_loop_200ms",
        "the same with 25 at a time, when an answer takes as long as Twilio's",
        CPU_AND_RATE,
        Sizes(1250, 125, 10),
        measure_slow,
        mock="scripted",
    ),
)
