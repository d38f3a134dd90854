"""Status callbacks and inbound messages, against the least that a gateway can do.

`callbacks` reports `sent` and `delivered` of messages that were accepted before. `inbound` is what
persons write. Both check the signature and are stored in one step before they are answered.
`bare_web` is aiohttp.web with one SET; it gets the same requests as `callbacks`. The size is how
many requests come. Only the process that answers counts.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from bench.child import Child
from bench.mock_server import free_port
from bench.posted import ACCOUNT_SID, FORM
from bench.reported import STATUSES, AcceptedMessage, send_all
from bench.row import CPU_AND_RATE, Place, Row, Sizes
from bench.sending import service
from bench.web_load import post_all, signed_request
from bench.world import WrongEndError, address, opened, record_people, written_settings

_STATUS: Final = "/twilio/status"
_INBOUND: Final = "/twilio/inbound"


@asynccontextmanager
async def _gateway(place: Place) -> AsyncIterator[tuple[Child, int]]:
    """Run a gateway that accepts Twilio's requests."""
    port = free_port()
    settings = written_settings(place.store_url, place.base_url, port=port)
    async with service("gateway", settings) as gateway:
        await gateway.ask("go")
        await gateway.ask("ready")
        yield gateway, port


def _callbacks(accepted: Sequence[AcceptedMessage]) -> list[bytes]:
    return [
        signed_request(
            f"{_STATUS}?m={one.message_id}&q={one.life}&a=1",
            [
                ("ApiVersion", "2010-04-01"),
                ("AccountSid", ACCOUNT_SID),
                ("MessageSid", one.message_sid),
                ("SmsSid", one.message_sid),
                ("MessageStatus", status),
                ("SmsStatus", status),
                ("To", address(at)),
                ("From", FORM["From"]),
                ("ChannelPrefix", "whatsapp"),
            ],
        )
        for status in STATUSES
        for at, one in enumerate(accepted)
    ]


def _inbounds(number: int) -> list[bytes]:
    return [
        signed_request(
            _INBOUND,
            [
                ("ApiVersion", "2010-04-01"),
                ("AccountSid", ACCOUNT_SID),
                ("MessageSid", f"SM{0xB << 124 | at:032x}"),
                ("From", address(at)),
                ("To", FORM["From"]),
                ("Body", "Thank you, and good night."),
                ("MessageType", "text"),
                ("NumMedia", "0"),
                ("NumSegments", "1"),
                ("WaId", address(at).partition("+")[2]),
            ],
        )
        for at in range(number)
    ]


async def measure_callbacks(place: Place) -> Mapping[str, float]:
    names = [f"message-{number}" for number in range(place.size // len(STATUSES))]
    async with opened(place.store_url) as store:
        await record_people(store, place.size)
        accepted = await send_all(store, place.store_url, place.base_url, names)
    async with _gateway(place) as (gateway, port):
        spent = await post_all(gateway, port, _callbacks(accepted))
    async with opened(place.store_url) as store:
        delivered = (await store.records.counts()).get(f"status:{STATUSES[-1]}", 0)
    if delivered != len(accepted):
        raise WrongEndError(f"{delivered} of {len(accepted)} messages were reported delivered")
    return spent.figures()


async def measure_inbound(place: Place) -> Mapping[str, float]:
    async with opened(place.store_url) as store:
        await record_people(store, place.size)
    async with _gateway(place) as (gateway, port):
        return (await post_all(gateway, port, _inbounds(place.size))).figures()


async def measure_bare(place: Place) -> Mapping[str, float]:
    accepted = [
        AcceptedMessage(f"message-{at}", f"SM{at:032x}", 0)
        for at in range(place.size // len(STATUSES))
    ]
    arguments = {"store_url": place.store_url}
    async with await Child.start("bench.bare_web", arguments) as child:
        port = (await child.answer())["port"]
        return (await post_all(child, port, _callbacks(accepted))).figures()


ROWS: Final = (
    Row(
        "bare_web",
        "answers the same callbacks with aiohttp.web and one SET",
        CPU_AND_RATE,
        Sizes(6_000, 500, 20),
        measure_bare,
        mock="none",
    ),
    Row(
        "callbacks",
        "answers status callbacks with the gateway",
        CPU_AND_RATE,
        Sizes(6_000, 500, 20),
        measure_callbacks,
    ),
    Row(
        "inbound",
        "answers what persons write with the gateway",
        CPU_AND_RATE,
        Sizes(6_000, 500, 20),
        measure_inbound,
    ),
)
