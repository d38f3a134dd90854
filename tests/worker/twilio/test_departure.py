"""Where the first byte of a POST leaves: no byte leaves after the permit, wherever the loop stalls.

These tests fail if a release of aiohttp writes requests past the gate.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import pytest
from aiohttp import TCPConnector

from sendwindow.vocabulary import Reason
from tests.support.cast import ACCOUNT_SID
from tests.support.clocks import Clock
from tests.support.departure_world import (
    LOOPS,
    MESSAGE,
    SlowServer,
    after_turns,
    run,
    without_certificate,
)
from worker.ports.posts import Accepted, NotSent, Reply, Unproven
from worker.settings.accounts import Account
from worker.twilio import client as client_module
from worker.twilio import departure as departure_module
from worker.twilio.client import TwilioClient
from worker.twilio.departure import HUNG_UP, Departure, GatedConnector
from worker.twilio.replies import PERMIT_LAPSED

TURNS: Final = (*range(12), 20, 40)
ROUTES: Final = {"plain": (False, False), "tls": (True, False), "tunnel": (True, True)}
PERMIT_SECONDS: Final = 40.0

each_loop = pytest.mark.parametrize("loop", LOOPS)
each_route = pytest.mark.parametrize("route", ROUTES)
pooled_or_new = pytest.mark.parametrize(
    "answered", [pytest.param(1, id="pooled"), pytest.param(0, id="new")]
)


def recorded(patch: pytest.MonkeyPatch) -> list[Departure]:
    """Record every departure of the client."""
    made: list[Departure] = []

    class Recorded(Departure):
        def __init__(self, start_by: float | None) -> None:
            super().__init__(start_by)
            made.append(self)

    patch.setattr(client_module, "Departure", Recorded)
    return made


def server_for(route: str, answered: int) -> SlowServer:
    tls, tunnel = ROUTES[route]
    return SlowServer(answers=answered, tls=tls, tunnel=tunnel)


@asynccontextmanager
async def client_of(server: SlowServer, route: str) -> AsyncIterator[TwilioClient]:
    # Behind a tunnel the target is a name that only the proxy can reach.
    account = Account("main", ACCOUNT_SID, "SKuser", "secret", server.url)
    if ROUTES[route][1]:
        account = replace(account, proxy=f"http://user:secret@127.0.0.1:{server.port}")
    tls = without_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    async with TwilioClient({"main": account}, slots=1, tls=tls) as twilio:
        yield twilio


async def post_while(
    server: SlowServer,
    route: str,
    answered: int,
    turns: int,
    stall: Callable[[], None],
    start_by: float | None,
) -> Reply:
    async with client_of(server, route) as twilio:
        for _ in range(answered):
            assert isinstance(await twilio.create(MESSAGE), Accepted)
        if answered:
            assert server.parked.wait(60)
        # Stall after the POST in each iteration, in case a loop sends written bytes only at its
        # end.
        post = asyncio.ensure_future(twilio.create(MESSAGE, start_by=start_by))
        after_turns(turns, stall)
        return await post


@each_loop
@each_route
@pooled_or_new
def test_no_byte_leaves_after_the_permit(
    loop: str, route: str, answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the loop stalls, a request was on its way before the permit lapsed, or is proven not
    sent.
    """
    clock = Clock(monkeypatch, client_module, departure_module)
    departures = recorded(monkeypatch)
    for turns in TURNS:
        with server_for(route, answered) as server:
            before: list[bool] = []

            def stall(server: SlowServer = server, before: list[bool] = before) -> None:
                # A server that is still accepting the connection checks it before it parks.
                has_left = (
                    len(departures) > answered
                    and departures[-1].has_left
                    and server.parked.wait(60)
                )
                before.append(has_left and server.has_arrived())
                clock.now += 2 * PERMIT_SECONDS
                server.go_on()

            work = post_while(server, route, answered, turns, stall, clock.now + PERMIT_SECONDS)
            reply = run(loop, work)
        departures.clear()
        if len(server.received) > answered and before:
            assert before == [True], (
                f"a request left after its permit, {turns} turns after it was made"
            )
            assert isinstance(reply, Accepted)
        else:
            assert reply == PERMIT_LAPSED


@each_loop
@each_route
@pytest.mark.parametrize("size", [10, 70_000])
def test_of_a_refused_request_no_part_leaves(
    loop: str, route: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers and body leave together: a permit that lapses before the first byte lets nothing
    leave.
    """
    clock = Clock(monkeypatch, client_module, departure_module)
    connect = GatedConnector.connect

    async def late(connector: GatedConnector, *asked: Any, **named: Any) -> Any:
        connection = await connect(connector, *asked, **named)
        clock.now += 2 * PERMIT_SECONDS
        return connection

    monkeypatch.setattr(GatedConnector, "connect", late)
    message = replace(MESSAGE, form=(("To", "+14155550100"), ("Body", "x" * size)))

    async def post(server: SlowServer) -> Reply:
        async with client_of(server, route) as twilio:
            return await twilio.create(message, start_by=clock.now + PERMIT_SECONDS)

    with server_for(route, 9) as server:
        assert run(loop, post(server)) == PERMIT_LAPSED
    server.join(60)
    assert server.received == []


@each_loop
@each_route
def test_a_connection_that_the_server_closed_is_not_used(loop: str, route: str) -> None:
    """A POST gets a new connection if the server has closed the kept one, even before the loop
    knows.
    """

    async def main(server: SlowServer) -> Reply:
        async with client_of(server, route) as twilio:
            assert isinstance(await twilio.create(MESSAGE), Accepted)
            assert server.parked.wait(60)
            server.hang_up()
            return await twilio.create(MESSAGE)

    with server_for(route, 1) as server:
        assert isinstance(run(loop, main(server)), Accepted)
    assert (server.connections, len(server.received)) == (2, 2)


@each_loop
@each_route
def test_a_connection_that_closes_before_the_first_byte_proves_that_nothing_left(
    loop: str, route: str
) -> None:
    """A connection that closes before the first byte proves that nothing was sent."""
    for turns in TURNS:
        with server_for(route, 1) as server:
            work = post_while(server, route, 1, turns, server.hang_up, None)
            reply = run(loop, work)
            received = len(server.received)
        if isinstance(reply, NotSent):
            assert received == 1, (
                f"a POST that left was called not sent, hung up on {turns} turns after it was made"
            )


@each_loop
def test_closed_at_the_first_byte_nothing_leaves(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is checked once more where the first byte leaves."""
    leave = Departure.leave

    with server_for("plain", 1) as server:

        def closed(departure: Departure, *asked: Any) -> None:
            if server.parked.is_set():
                server.hang_up()
            leave(departure, *asked)

        monkeypatch.setattr(Departure, "leave", closed)

        async def main() -> Reply:
            async with client_of(server, "plain") as twilio:
                assert isinstance(await twilio.create(MESSAGE), Accepted)
                assert server.parked.wait(60)
                return await twilio.create(MESSAGE)

        assert run(loop, main()) == HUNG_UP
        assert len(server.received) == 1


@each_loop
@each_route
def test_every_answered_request_was_seen_to_leave(loop: str, route: str) -> None:
    """Every answered request was seen to leave.

    An unseen write would count as not sent, and the message would go out twice.
    """

    async def main(server: SlowServer) -> list[bool]:
        async with client_of(server, route) as twilio:
            seen = []
            for _ in range(3):
                assert isinstance(await twilio.create(MESSAGE), Accepted)
                seen.append(twilio._sees_writes)
            return seen

    with server_for(route, 9) as server:
        assert run(loop, main(server)) == [True, True, True]


@each_loop
def test_unseen_writes_prove_nothing(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If aiohttp writes past the gate, a lost answer leaves the attempt unproven."""
    monkeypatch.setattr(GatedConnector, "connect", TCPConnector.connect)

    async def main(server: SlowServer) -> Reply:
        async with client_of(server, "plain") as twilio:
            assert isinstance(await twilio.create(MESSAGE), Accepted)
            after_turns(40, server.hang_up)
            return await twilio.create(MESSAGE)

    with server_for("plain", 1) as server:
        reply = run(loop, main(server))
    assert isinstance(reply, Unproven)


def test_what_a_departure_proves() -> None:
    """A departed byte outweighs every exception.

    Without one, only an observed gate proves anything.
    """
    lost = Unproven(Reason.OUTCOME_CONNECTION_LOST, "connection lost: X")
    refused = NotSent("connection refused")
    fresh = Departure(None)
    assert fresh.conclude(lost, is_trusted=True) == lost
    assert fresh.conclude(refused, is_trusted=False) == refused
    fresh.is_connecting = True
    assert isinstance(fresh.conclude(lost, is_trusted=False), NotSent)
    gated = Departure(None)
    gated.is_gated = True
    assert gated.conclude(lost, is_trusted=False) == lost
    assert isinstance(gated.conclude(lost, is_trusted=True), NotSent)
    gated.has_left = True
    assert gated.conclude(lost, is_trusted=True) == lost
    assert isinstance(gated.conclude(refused, is_trusted=True), Unproven)


@each_loop
def test_requests_go_through_a_tunnel_with_its_login_and_none_of_ours(loop: str) -> None:
    """The proxy gets its own login and the target.

    The request in the tunnel shows neither login.
    """

    async def main(server: SlowServer) -> Reply:
        async with client_of(server, "tunnel") as twilio:
            return await twilio.create(MESSAGE)

    with server_for("tunnel", 9) as server:
        assert isinstance(run(loop, main(server)), Accepted)
    [tunnel], [request] = server.tunnels, server.received
    assert tunnel.startswith(b"CONNECT 127.0.0.1:")
    assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in tunnel
    assert b"U0t1c2VyOnNlY3JldA==" not in tunnel
    assert b"Proxy-Authorization" not in request


@each_loop
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"",
        b"nonsense\r\n\r\n",
    ],
    ids=["407", "502", "closed", "nonsense"],
)
def test_a_tunnel_that_is_refused_proves_that_nothing_was_sent(loop: str, answer: bytes) -> None:
    """A refused tunnel proves that nothing was sent to Twilio, and no text shows the login."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def main() -> Reply:
        proxy = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = proxy.sockets[0].getsockname()[1]
        account = Account("main", ACCOUNT_SID, "SKuser", "secret", "https://127.0.0.1:9")
        account = replace(account, proxy=f"http://user:secret@127.0.0.1:{port}")
        try:
            async with TwilioClient({"main": account}) as twilio:
                return await twilio.create(MESSAGE)
        finally:
            proxy.close()

    reply = run(loop, main())
    assert isinstance(reply, NotSent)
    assert "secret" not in repr(reply)


@each_loop
def test_without_keepalive_each_request_has_a_connection_of_its_own(loop: str) -> None:
    """With `keepalive_seconds = 0`, for networks that drop idle connections, each request has
    its own.
    """

    async def main(server: SlowServer) -> None:
        account = Account("main", ACCOUNT_SID, "SKuser", "secret", server.url)
        async with TwilioClient({"main": account}, keepalive=0) as twilio:
            for _ in range(3):
                assert isinstance(await twilio.create(MESSAGE), Accepted)

    with server_for("plain", 9) as server:
        run(loop, main(server))
    assert server.connections == 3


@each_loop
def test_the_sweep_finds_a_client_that_does_not_look_at_the_first_byte(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep finds a client that checks the permit before aiohttp and not at the first byte."""

    def leave(departure: Departure, *_asked: object) -> None:
        departure.has_left = True

    monkeypatch.setattr(Departure, "leave", leave)
    clock = Clock(monkeypatch, client_module, departure_module)
    late = 0
    for turns in TURNS:
        with server_for("plain", 1) as server:
            before: list[bool] = []

            def stall(server: SlowServer = server, before: list[bool] = before) -> None:
                before.append(server.has_arrived())
                clock.now += 2 * PERMIT_SECONDS
                server.go_on()

            run(loop, post_while(server, "plain", 1, turns, stall, clock.now + PERMIT_SECONDS))
            late += len(server.received) > 1 and before == [False]
    assert late > 0
