"""Sendwindow with everything on, and nothing sampled.

That is validation, rules, trace, admission, intent, ledger, log and metrics. As in the other rows,
the preparation is not measured: consent, open windows, and enqueuing. The clock runs from the
first claim until every message has its end, and only the worker's own process counts.
"""

from collections.abc import Mapping
from typing import Final

from bench.row import CPU_AND_RATE, Place, Row, Sizes
from bench.sending import send_queued
from bench.world import enqueue, messages, opened, record_people, written_settings


async def measure_at(
    place: Place, base_url: str, environ: Mapping[str, str]
) -> Mapping[str, float]:
    """Queue the messages, and have one worker send them to `base_url`."""
    async with opened(place.store_url) as store:
        await record_people(store, place.size)
    await enqueue(place.store_url, messages(place.size))
    settings = written_settings(place.store_url, base_url)
    return (await send_queued(place.store_url, settings, place.size, environ=environ)).figures()


async def measure(place: Place) -> Mapping[str, float]:
    return await measure_at(place, place.base_url, {})


async def measure_tls(place: Place) -> Mapping[str, float]:
    # The worker trusts what the system trusts, as in production.
    return await measure_at(place, place.tls_url, {"SSL_CERT_FILE": place.ca_file})


ROWS: Final = (
    Row(
        "ours",
        "sends them through a worker of Sendwindow, with every check on",
        CPU_AND_RATE,
        Sizes(5000, 500, 20),
        measure,
    ),
    Row(
        "ours_tls",
        "the same over TLS",
        CPU_AND_RATE,
        Sizes(5000, None, 20),
        measure_tls,
        mock="tls",
    ),
)
