"""Bodies of every size: whole up to 1 MiB, only short parameters up to 4 MiB, few large ones at
once.
"""

import asyncio
import io
from typing import Final
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web

from tests.support.cast import sid
from tests.support.gateway_world import PUBLIC_URL, TOKEN, Scene, gateway_at, inbound_form
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from tests.worker.gateway.test_inbound import known_of
from tests.worker.gateway.test_words import consented, standings
from worker.gateway.request_bodies import MAX_LARGE_BODIES, RequestBodies
from worker.twilio.signature import sign

MIB: Final = 1_048_576
HEAD: Final = (
    "POST /twilio/inbound HTTP/1.1\r\nHost: x\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\n"
)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [60_000, 70_000, MIB - 2_000, MIB + 2_000, 3 * MIB])
async def test_a_signed_message_of_any_size_opens_the_window(store: Place, size: int) -> None:
    """A signed message of any size opens the window, because the person wrote it."""
    async with gateway_at(store) as scene:
        assert (await scene.twilio.inbound("x" * size))[0] == 200
        assert (await known_of(scene)).last_inbound_at is not None


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [70_000, MIB + 2_000, 3 * MIB])
async def test_a_stop_next_to_a_large_parameter_is_heard(store: Place, size: int) -> None:
    """A STOP next to a large parameter counts, because short parameters are kept."""
    async with gateway_at(store) as scene:
        await consented(scene)
        assert (await scene.twilio.inbound("STOP", ReferralBody="x" * size))[0] == 200
        assert await standings(scene) == ("opted_out", "opted_out")


@pytest.mark.asyncio
async def test_a_large_body_with_a_changed_parameter_is_refused(store: Place) -> None:
    """A large body with a changed parameter is refused.

    The signature covers all parameters, also those that are not kept.
    """
    async with gateway_at(store) as scene:
        form = inbound_form("x" * (2 * MIB))
        for sent in (inbound_form("x" * (2 * MIB) + "y"), [*form, ("Extra", "1")]):
            assert (await scene.twilio.post("/twilio/inbound", sent, signed=form))[0] == 403
        assert (
            await scene.twilio.post("/twilio/inbound", form, headers={"X-Twilio-Signature": ""})
        )[0] == 403
        assert not (await scene.world.store.records.counts())


@pytest.mark.asyncio
async def test_beyond_the_hard_limit_nothing_is_read(store: Place) -> None:
    """A body beyond the hard limit gets 413 by its announced length alone."""
    async with gateway_at(store) as scene:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.twilio.port)
        writer.write(f"{HEAD}Content-Length: {4 * MIB + 1}\r\n\r\n".encode())
        assert (await asyncio.wait_for(reader.readline(), HANG_SECONDS)).startswith(
            b"HTTP/1.1 413 "
        )
        writer.close()


async def _half_sent(
    scene: Scene, number: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Send the first half of a large signed body, and return the connection and the other half."""
    form = inbound_form("x" * (2 * MIB), MessageSid=sid(number))
    body = urlencode(form).encode()
    signature = sign(TOKEN, PUBLIC_URL + "/twilio/inbound", form)
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.twilio.port)
    head = f"{HEAD}X-Twilio-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[: len(body) // 2])
    return reader, writer, body[len(body) // 2 :]


@pytest.mark.asyncio
async def test_few_large_bodies_are_in_memory_and_all_are_answered(store: Place) -> None:
    """An ordinary message is answered at once while all places for large bodies are taken.

    The large ones that wait get a place later.
    """
    async with gateway_at(store) as scene:
        senders = [await _half_sent(scene, number) for number in range(1, 3 * MAX_LARGE_BODIES + 1)]
        assert (await scene.twilio.inbound("hello", MessageSid=sid(0)))[0] == 200
        assert await scene.world.count("inbound") == 1
        for _, writer, rest in senders:
            writer.write(rest)
        for reader, writer, _ in senders:
            assert (await asyncio.wait_for(reader.readline(), HANG_SECONDS)).startswith(
                b"HTTP/1.1 200 "
            )
            writer.close()
        assert await scene.world.count("inbound") == 3 * MAX_LARGE_BODIES + 1


@pytest.mark.asyncio
async def test_no_more_large_bodies_are_read_than_there_are_places() -> None:
    """A further large body is read only after an earlier one was answered."""
    bodies, inside, peak, full, go_on = RequestBodies(MIB), 0, 0, asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        nonlocal inside, peak
        async with bodies.read(request, is_signed=True):
            inside += 1
            peak = max(peak, inside)
            if inside == MAX_LARGE_BODIES:
                full.set()
            await go_on.wait()
            inside -= 1
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with asyncio.timeout(HANG_SECONDS), aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            posts = [
                asyncio.ensure_future(session.post(url, data=io.BytesIO(b"x" * MIB)))
                for _ in range(3 * MAX_LARGE_BODIES)
            ]
            await full.wait()
            go_on.set()
            assert [answer.status for answer in await asyncio.gather(*posts)] == [200] * (
                3 * MAX_LARGE_BODIES
            )
    finally:
        await runner.cleanup()
    assert peak == MAX_LARGE_BODIES
