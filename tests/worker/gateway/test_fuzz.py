"""Random requests over real sockets into the real app and store.

No request gets a 5xx, moves a status back, or is stored without a signature.
"""

import asyncio
import http.client
import itertools
import socket
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from policies.status import RANKS, UNKNOWN_RANK
from tests.depth import examples
from tests.support.cast import ANNA, MESSAGE_SID, SHOP
from tests.support.gateway_world import PUBLIC_URL, TOKEN, Scene, gateway_at, status_form
from tests.support.stores_world import Place
from worker.ports.settlements import SettleAccepted
from worker.twilio.signature import sign

Result = TypeVar("Result")

texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.sampled_from(
    [
        "MessageSid",
        "MessageStatus",
        "ErrorCode",
        "From",
        "To",
        "Body",
        "OptOutType",
        "NumMedia",
        "MediaUrl0",
    ]
)
values = texts | st.sampled_from(
    [MESSAGE_SID, ANNA, SHOP, "STOP", "yes", "sent", "failed", "read", "63016", "30500", "21610"]
)
forms = st.lists(st.tuples(names | texts, values), max_size=8)
targets = st.sampled_from(
    [
        "/twilio/inbound",
        "/twilio/status",
        "/twilio/status?m=m1&a=1",
        "/twilio/status?m=m1&a=2",
        "/twilio/status?m=&a=",
        "/twilio/status?m=m1&a=x",
        "/twilio/status?a=1",
        "/twilio/status?m=nobody&a=1",
        "/twilio/status?x=%ff",
        "/twilio/status?&&=&",
    ]
)
one_status = st.sampled_from([*RANKS, "teleported"])
statuses = st.lists(one_status, min_size=1, max_size=8)
# The gateway outlives the examples on purpose: the next example meets what the last one left.
several = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Line:
    """A kept connection to a gateway in another thread, with access to that thread's event loop."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", scene.gateway.port, timeout=60)

    def post(self, target: str, body: bytes, headers: dict[str, str]) -> int:
        self._connection.request("POST", target, body, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def form(self, target: str, form: list[tuple[str, str]]) -> int:
        """POST a form that Twilio signed."""
        signature = sign(TOKEN, PUBLIC_URL + target, form)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": signature,
        }
        return self.post(target, urlencode(form).encode(), headers)

    def there(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run something in the gateway's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def row(self, message_id: str) -> dict[str, str]:
        return self.there(self.scene.world.row(message_id))

    async def until_closed(self) -> None:
        await self._done.wait()

    def close(self) -> None:
        self._connection.close()
        self._loop.call_soon_threadsafe(self._done.set)


@pytest.fixture
def line(store: Place) -> Iterator[Line]:
    """Yield a gateway in a thread, because examples run without an event loop."""
    ready: Future[Line] = Future()

    async def run() -> None:
        async with gateway_at(store) as scene:
            line = Line(scene)
            ready.set_result(line)
            await line.until_closed()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    found = ready.result(60)
    yield found
    found.close()
    thread.join(60)


def test_no_signed_form_makes_a_5xx(line: Line) -> None:
    """Every signed form gets a 2xx, or a 400 if it lacks an essential part."""
    answers = set()

    @given(targets, forms, st.booleans())
    @example("/twilio/inbound", [], True)
    @example("/twilio/status", [("MessageStatus", "sent")], True)
    @example("/twilio/status", [], False)
    @settings(several, max_examples=examples(150))
    def check(target: str, form: list[tuple[str, str]], essential: bool) -> None:
        known = dict(status_form("sent"))
        base = [
            (name, known[name])
            for name in ("AccountSid", *(("MessageSid", "From", "To") if essential else ()))
        ]
        # The first of a repeated name counts, so the account stays ours.
        answers.add(line.form(target, [*base, *form]))

    check()
    assert answers == {200, 204, 400}


def test_nothing_unsigned_is_stored(line: Line) -> None:
    """Bytes without Twilio's signature are refused under any content type, and the store is
    unchanged.
    """
    before = line.there(line.scene.world.contents())

    @given(
        targets,
        st.binary(max_size=300) | forms.map(urlencode).map(str.encode),
        st.sampled_from(
            ["application/x-www-form-urlencoded", "application/json", "multipart/form-data", "/"]
        ),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    )
    @settings(several, max_examples=examples(150))
    def check(target: str, body: bytes, content_type: str, signature: str) -> None:
        headers = {"Content-Type": content_type, "X-Twilio-Signature": signature}
        assert line.post(target, body, headers) in {400, 403}

    check()
    assert line.there(line.scene.world.contents()) == before


def test_no_bytes_on_the_wire_make_a_5xx(line: Line) -> None:
    """Bytes that are not HTTP get 400 or no answer, and the next connection works as before."""

    @given(
        st.sampled_from([b"", b"POST /twilio/status HTTP/1.1\r\nHost: x\r\n", b"GET "]),
        st.binary(max_size=200),
    )
    @settings(several, max_examples=examples(40))
    def check(start: bytes, rest: bytes) -> None:
        with socket.create_connection(("127.0.0.1", line.scene.gateway.port), timeout=60) as raw:
            raw.sendall(start + rest + b"\r\n\r\n")
            raw.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: raw.recv(65_536), b""))
        assert not answer or answer.split(b" ")[1][:1] == b"4", answer

    check()
    assert line.form("/twilio/status", list(status_form())) == 204


def test_no_sequence_of_callbacks_moves_a_status_back(line: Line) -> None:
    """In any order of callbacks after the reply, the rank never falls and the furthest status
    stands.
    """
    numbers = itertools.count(1)

    @given(one_status, statuses)
    @settings(several, max_examples=examples(40))
    def check(reply: str, sequence: list[str]) -> None:
        number = next(numbers)
        message_id, sid = f"f{number}", f"SM{number:032x}"
        claimed = line.there(line.scene.world.post(message_id))
        line.there(line.scene.world.settle(claimed, SettleAccepted(sid, reply)))
        reached = [RANKS.get(reply, UNKNOWN_RANK)]
        for status in sequence:
            assert (
                line.form(
                    f"/twilio/status?m={message_id}&a=1", list(status_form(status, MessageSid=sid))
                )
                == 204
            )
            reached.append(RANKS.get(line.row(message_id)["st"], UNKNOWN_RANK))
        assert reached == sorted(reached)
        assert reached[-1] == max(
            reached[0], *(RANKS.get(status, UNKNOWN_RANK) for status in sequence)
        )

    check()
