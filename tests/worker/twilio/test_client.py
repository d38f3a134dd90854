"""A POST to Twilio: what proves that it was accepted, rejected or never sent."""

import asyncio
import json
import socket
import time
from typing import Final
from urllib.parse import parse_qs

import pytest

from sendwindow.vocabulary import Reason
from tests.support.cast import ACCOUNT_SID, MESSAGE_SID
from tests.support.twilio_server import Handler, answer, client, reset, sending, serving
from tests.support.waiting import HANG_SECONDS
from worker.ports.posts import Accepted, CreateMessage, NotSent, Rejected, Unproven

pytestmark = pytest.mark.asyncio


MESSAGE: Final = CreateMessage("main", (("To", "+14155550100"), ("Body", "Grüße & more")))


async def hang(request: bytes, writer: asyncio.StreamWriter) -> None:
    """Never answer. The client gives up first and closes."""
    await asyncio.Event().wait()


HALF_A_BODY: Final = answer(201, b'{"sid": "SM', length=900)


def created(**fields: object) -> bytes:
    return json.dumps({"sid": MESSAGE_SID, "status": "queued", **fields}).encode()


async def test_a_created_message_is_accepted_and_the_request_is_as_twilio_reads_it() -> None:
    """One form POST with Basic authentication to the account's Messages resource gives the SID."""
    seen: list[bytes] = []

    async def handle(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        writer.write(answer(201, created()))

    async with serving(handle) as url, client(url) as twilio:
        reply = await twilio.create(MESSAGE)
    assert reply == Accepted(MESSAGE_SID, "queued", 201)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(
        b"POST /2010-04-01/Accounts/" + ACCOUNT_SID.encode() + b"/Messages.json HTTP/1.1"
    )
    assert b"Authorization: Basic U0t1c2VyOnNlY3JldA==" in head
    assert b"application/x-www-form-urlencoded" in head
    assert parse_qs(body.decode()) == {"To": ["+14155550100"], "Body": ["Grüße & more"]}


@pytest.mark.parametrize(
    "handler, reason",
    [
        pytest.param(reset, Reason.OUTCOME_CONNECTION_LOST, id="reset-after-the-request-was-read"),
        pytest.param(
            sending(b"", close=True), Reason.OUTCOME_CONNECTION_LOST, id="closed-without-answer"
        ),
        pytest.param(
            sending(b"HTTP/1.1 20", close=True),
            Reason.OUTCOME_CONNECTION_LOST,
            id="half-a-status-line",
        ),
        pytest.param(
            sending(HALF_A_BODY, close=True),
            Reason.OUTCOME_CONNECTION_LOST,
            id="half-a-body",
        ),
        pytest.param(
            sending(b"\x00\xffgarbage\r\n\r\n", close=True),
            Reason.OUTCOME_CONNECTION_LOST,
            id="garbage",
        ),
        pytest.param(
            sending(answer(201, b"<html>ok</html>")),
            Reason.OUTCOME_UNREADABLE,
            id="201-that-is-no-json",
        ),
        pytest.param(
            sending(answer(201, b'{"status":"queued"}')),
            Reason.OUTCOME_UNREADABLE,
            id="201-without-a-sid",
        ),
        pytest.param(
            sending(answer(201, created(pad="x" * 99_999))),
            Reason.OUTCOME_UNREADABLE,
            id="a-huge-body",
        ),
        pytest.param(sending(b"HTTP/1.1 204 X\r\n\r\n"), Reason.OUTCOME_UNREADABLE, id="204"),
        pytest.param(
            sending(answer(307, b"", "Location: http://127.0.0.1:9/")),
            Reason.OUTCOME_UNREADABLE,
            id="a-redirect",
        ),
        pytest.param(
            sending(answer(500, b'{"code": 20500}')), Reason.OUTCOME_SERVER_ERROR, id="500"
        ),
        pytest.param(sending(answer(503, b"busy")), Reason.OUTCOME_SERVER_ERROR, id="503"),
        pytest.param(
            sending(answer(429, b"slow down")),
            Reason.OUTCOME_UNREADABLE,
            id="429-without-a-twilio-code",
        ),
        pytest.param(
            sending(answer(403, b"<h1>proxy</h1>")), Reason.OUTCOME_UNREADABLE, id="403-of-a-proxy"
        ),
    ],
)
async def test_once_the_request_may_have_been_read_only_twilios_own_answer_proves_anything(
    handler: Handler, reason: Reason
) -> None:
    """Once the request may have been read, only Twilio's own answer proves an outcome.

    Resets, half answers, garbage, redirects, 5xx and answers without a code do not.
    """
    async with serving(handler) as url, client(url) as twilio:
        reply = await twilio.create(MESSAGE)
    assert isinstance(reply, Unproven)
    assert reply.reason is reason


async def test_an_answer_that_never_comes_is_unproven() -> None:
    """After the read timeout the attempt is unproven, because Twilio may have sent the message."""
    async with serving(hang) as url, client(url, read_timeout=0.2) as twilio:
        reply = await twilio.create(MESSAGE)
    assert isinstance(reply, Unproven)
    assert reply.reason is Reason.OUTCOME_TIMEOUT


async def test_an_answer_that_drips_forever_is_unproven() -> None:
    """The total timeout ends an answer that drips byte by byte."""

    async def drip(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 201 X\r\nContent-Length: 5000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(drip) as url, client(url, connect_timeout=0.2, read_timeout=0.3) as twilio:
        reply = await twilio.create(MESSAGE)
    assert isinstance(reply, Unproven)
    assert reply.reason is Reason.OUTCOME_TIMEOUT


@pytest.mark.parametrize(
    "status, code, header, retry_after",
    [(429, 20429, "Retry-After: 7", 7.0), (400, 21610, "X: y", None), (401, 20003, "X: y", None)],
)
async def test_a_4xx_with_a_twilio_code_is_rejected(
    status: int, code: int, header: str, retry_after: float | None
) -> None:
    """Twilio's own error code with a 4xx proves that the message was not processed."""
    body = json.dumps(
        {"code": code, "message": "The 'To' number +14155550100 …", "status": status}
    ).encode()
    async with serving(sending(answer(status, body, header))) as url, client(url) as twilio:
        reply = await twilio.create(MESSAGE)
    assert reply == Rejected(status, code, retry_after)


async def test_a_refused_connection_is_proven_not_sent() -> None:
    """A refused connection proves that no byte of the request was sent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with client(f"http://127.0.0.1:{unused.getsockname()[1]}") as twilio:
            reply = await twilio.create(MESSAGE)
    assert reply == NotSent("connection refused or unreachable: ECONNREFUSED")


async def test_a_name_that_does_not_resolve_is_proven_not_sent() -> None:
    """A name without an address proves that nothing was sent (`.invalid` never resolves, RFC
    2606).
    """
    async with client("http://twilio.invalid") as twilio:
        assert isinstance(await twilio.create(MESSAGE), NotSent)


@pytest.mark.parametrize(
    "handshake",
    [pytest.param(b"no TLS here\r\n" * 9, id="speaks-no-tls"), pytest.param(b"", id="hangs-up")],
)
async def test_a_failed_tls_handshake_is_proven_not_sent(handshake: bytes) -> None:
    """A failed TLS handshake proves that nothing was sent, because the request is written after
    it.
    """

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(handshake)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server, client(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as twilio:
        reply = await twilio.create(MESSAGE)
    assert isinstance(reply, NotSent)


async def test_a_connection_that_is_not_there_in_time_is_proven_not_sent() -> None:
    """A TLS handshake that hangs ends at the connect timeout, before the request was written."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    base_url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client(base_url, connect_timeout=0.2) as twilio:
        assert await twilio.create(MESSAGE) == NotSent("no connection in time")


async def test_waiting_for_a_connection_of_the_pool_is_proven_not_sent() -> None:
    """A POST that gets no connection of the pool in time has never started."""
    async with (
        serving(hang) as url,
        client(url, connect_timeout=0.2, read_timeout=5.0, slots=1) as twilio,
    ):
        first = asyncio.create_task(twilio.create(MESSAGE))
        await asyncio.sleep(0)
        assert await twilio.create(MESSAGE) == NotSent("no connection in time")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_connection_closed_between_two_posts_leaves_the_second_unproven() -> None:
    """If a reused connection closes, the request on it is unproven and never repeated.

    Twilio may have read the request before the close.
    """
    requests = 0

    async def once(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        if requests == 1:
            writer.write(answer(201, created()))
        else:
            await reset(request, writer)

    async with serving(once) as url, client(url, slots=1) as twilio:
        assert isinstance(await twilio.create(MESSAGE), Accepted)
        reply = await twilio.create(MESSAGE)
    assert isinstance(reply, Unproven)
    assert requests == 2


async def test_nothing_is_sent_after_the_permit_lapsed() -> None:
    """A POST that cannot start in time does not start at all."""
    async with serving(sending(answer(201, created()))) as url, client(url) as twilio:
        assert await twilio.create(MESSAGE, start_by=time.monotonic() - 0.001) == NotSent(
            "permit lapsed"
        )
        assert isinstance(await twilio.create(MESSAGE, start_by=time.monotonic() + 60), Accepted)


async def test_the_permit_bounds_the_wait_for_a_connection() -> None:
    """A connection that comes after the permit lapsed is not used, because a STOP may have been
    answered.
    """
    async with serving(hang) as url, client(url, connect_timeout=30.0, slots=1) as twilio:
        first = asyncio.create_task(twilio.create(MESSAGE))
        await asyncio.sleep(0)
        assert await twilio.create(MESSAGE, start_by=time.monotonic() + 0.2) == NotSent(
            "no connection in time"
        )
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_surplus_answer_is_not_taken_for_that_of_the_next_post() -> None:
    """Bytes that arrive unasked on an idle connection are no answer: the next POST uses another
    one.
    """
    writers: list[asyncio.StreamWriter] = []

    async def handle(request: bytes, writer: asyncio.StreamWriter) -> None:
        if writer not in writers:
            writers.append(writer)
        writer.write(answer(201, json.dumps({"sid": f"SM{len(writers):032x}"}).encode()))
        await writer.drain()

    async with (
        serving(handle) as url,
        client(url, slots=1) as twilio,
        asyncio.timeout(HANG_SECONDS),
    ):
        assert await twilio.create(MESSAGE) == Accepted(f"SM{1:032x}", "queued")
        assert await twilio.create(MESSAGE) == Accepted(f"SM{1:032x}", "queued")
        assert twilio._posts is not None
        connector = twilio._posts.connector
        assert connector is not None
        [(idle, _)] = [
            pooled for connections in connector._conns.values() for pooled in connections
        ]
        writers[0].write(answer(201, json.dumps({"sid": f"SM{666:032x}"}).encode()))
        while not idle.should_close:  # noqa: ASYNC110 -- nothing tells when bytes reached a connection in the pool
            await asyncio.sleep(0)
        assert await twilio.create(MESSAGE) == Accepted(f"SM{2:032x}", "queued")


async def test_a_post_whose_answer_names_another_recipient_is_unproven() -> None:
    """An answer that names another recipient leaves the POST unproven."""
    theirs = json.dumps({"sid": MESSAGE_SID, "status": "queued", "to": "+14155550199"}).encode()
    async with serving(sending(answer(201, theirs))) as url, client(url) as twilio:
        reply = await twilio.create(MESSAGE)
    assert isinstance(reply, Unproven)
