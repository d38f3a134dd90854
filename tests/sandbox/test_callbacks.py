"""What the sandbox sends to the gateway: signed status callbacks, in any order, and inbound
messages.
"""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web

from sandbox.app import running, say, serve
from sandbox.callbacks import overrides_of
from sandbox.config import SandboxAccount, SandboxConfig, SandboxSettings
from sandbox.signing import sign
from sandbox.state import Sandbox
from tests.support.cast import ACCOUNT_SID, ANNA, SHOP
from tests.support.waiting import HANG_SECONDS, until

PUBLIC = "https://hooks.example.com"
CALLBACK = f"{PUBLIC}/twilio/status?m=order%3A1&a=1#rc=5&rp=all"


@dataclass
class Gateway:
    """A gateway with scripted answers that records path with query, form and headers."""

    came: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    answers: Iterator[int] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
        self.came.append((request.raw_path, form, dict(request.headers)))
        return web.Response(status=next(self.answers, 200) if self.answers else 204)

    def statuses(self) -> list[str]:
        return [form["MessageStatus"] for _, form, _ in self.came]


@dataclass
class Scene:
    """A running sandbox, a gateway behind its callback URLs, and a sender."""

    url: str
    state: Sandbox
    gateway: Gateway
    session: aiohttp.ClientSession

    async def send(self, **more: str) -> dict[str, Any]:
        form = {"To": ANNA, "From": SHOP, "Body": "hello", "StatusCallback": CALLBACK} | more
        url = f"{self.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        async with self.session.post(url, data=form, headers={"Authorization": BASIC}) as answer:
            body: dict[str, Any] = await answer.json()
            return body

    async def order(self, what: str, body: object) -> Any:
        async with self.session.post(f"{self.url}/sandbox/{what}", json=body) as answer:
            return await answer.json()

    async def fault(self, action: str, **more: Any) -> None:
        await self.order("faults", {"rules": [{"action": action, **more}]})

    async def drained(self) -> None:
        async with asyncio.timeout(HANG_SECONDS):
            await self.state.callbacks.drained()


BASIC = "Basic " + base64.b64encode(f"{ACCOUNT_SID}:secret".encode()).decode()


@asynccontextmanager
async def scene(tmp_path: Path | None = None, **account: Any) -> AsyncIterator[Scene]:
    """Run everything on loopback."""
    gateway = Gateway()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", gateway.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = SandboxConfig(
        accounts=(SandboxAccount(sid=ACCOUNT_SID, token="secret", **account),),
        inbound_url=f"{PUBLIC}/twilio/inbound",
        rewrites={PUBLIC: f"http://127.0.0.1:{runner.addresses[0][1]}"},
        journal=tmp_path / "sandbox.jsonl" if tmp_path else None,
        settings=SandboxSettings(callback_delay_ms=0, callback_retry_ms=1),
    )
    try:
        async with running(config) as (url, state), aiohttp.ClientSession() as session:
            await session.post(
                f"{url}/sandbox/people", json={"from": ANNA, "to": SHOP, "wrote_ago_ms": 60_000}
            )
            yield Scene(url, state, gateway, session)
    finally:
        await runner.cleanup()


def lines(tmp_path: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines of one event in the sandbox's journal."""
    every = [json.loads(line) for line in (tmp_path / "sandbox.jsonl").read_text().splitlines()]
    return [line for line in every if line["e"] == event]


# -- signatures ------------------------------------------------------------------------------------

_CALL = {"CallSid": "CA1234567890ABCDE", "Digits": "1234", "To": "+18005551212"}


@pytest.mark.parametrize(
    "caller, signature",
    [
        ("+14158675310", "L/OH5YylLD5NRKLltdqwSvS0BnU="),
        ("+14158675309", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    ],
)
def test_signatures_equal_the_published_vectors(caller: str, signature: str) -> None:
    """Signatures equal Twilio's two published examples, which also differ in host."""
    host = "example.com" if caller.endswith("10") else "mycompany.com"
    form = _CALL | {"Caller": caller, "From": caller}
    assert sign("12345", f"https://{host}/myapp.php?foo=1&bar=2", form.items()) == signature


def test_the_fragment_is_not_signed() -> None:
    """The fragment is not signed: connection overrides are for Twilio only."""
    assert sign("t", "https://e.com/x?a=1#rc=5", [("A", "b")]) == sign(
        "t", "https://e.com/x?a=1", [("A", "b")]
    )


def test_repeated_names_are_signed_once_per_value_in_order() -> None:
    """A repeated name is signed once for each value, in order, as Twilio's libraries do."""
    assert sign("t", "https://e.com", [("A", "2"), ("A", "1"), ("A", "2")]) == sign(
        "t", "https://e.com", [("A", "1"), ("A", "2")]
    )


# -- sequences -------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "to, sender, statuses",
    [
        (ANNA, SHOP, ["sent", "delivered", "read"]),
        ("messenger:777", "messenger:555", ["sent"]),
        ("+14155550123", "+14155550100", ["sent", "delivered"]),
    ],
)
async def test_each_channel_has_its_sequence(to: str, sender: str, statuses: list[str]) -> None:
    """Each channel has its own sequence of statuses, and the first status has no callback.

    Messenger knows only sent and failed, and SMS has no read.
    """
    async with scene() as s:
        body = await s.send(To=to, From=sender)
        await s.drained()
        assert s.gateway.statuses() == statuses
        path, form, headers = s.gateway.came[0]
    assert path == "/twilio/status?m=order%3A1&a=1"
    assert form["MessageSid"] == form["SmsSid"] == body["sid"]
    assert form.get("ChannelPrefix") == (None if to.startswith("+") else to.partition(":")[0])
    assert headers["X-Twilio-Signature"] == sign("secret", CALLBACK, form.items())
    assert headers["I-Twilio-Idempotency-Token"] == body["sid"]


@pytest.mark.asyncio
async def test_queued_is_told_only_after_accepted() -> None:
    """A messaging service answers `accepted`, and `queued` comes by callback."""
    service = "MG" + "a" * 32
    async with scene(services={service: (SHOP,)}) as s:
        await s.send(From="", MessagingServiceSid=service)
        await s.drained()
        assert s.gateway.statuses() == ["queued", "sent", "delivered", "read"]
        assert s.gateway.came[0][1]["MessagingServiceSid"] == service


@pytest.mark.asyncio
async def test_an_asynchronous_refusal_is_a_failed_callback_with_its_code() -> None:
    """63016 comes as a `failed` callback after the 201, and lists and fetches show it."""
    async with scene() as s:
        await s.send(To="whatsapp:+14155550122")
        await s.drained()
        (_, form, _), *rest = s.gateway.came
        (held, *_others) = s.state.messages.newest_first()
    assert (form["MessageStatus"], form["ErrorCode"], rest) == ("failed", "63016", [])
    assert (held.status, held.error_code) == ("failed", 63016)


@pytest.mark.asyncio
async def test_a_failed_callback_tells_that_the_tag_is_dead(tmp_path: Path) -> None:
    """After a `failed` callback got a 2xx, the next POST on that Page with a dead tag is a
    violation.
    """
    async with scene(tmp_path) as s:
        await s.order("settings", {"account_update": "dead"})
        await s.order(
            "people",
            {"from": "messenger:777", "to": "messenger:555", "wrote_ago_ms": 24 * 3600 * 1000},
        )
        for _ in range(2):
            await s.send(To="messenger:777", From="messenger:555")
            await s.drained()
    assert [line["violation"] for line in lines(tmp_path, "post")] == [None, "tag_known_dead"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault, told",
    [
        ({"action": "callback_lost"}, []),
        (
            {"action": "callback_doubled"},
            ["sent", "sent", "delivered", "delivered", "read", "read"],
        ),
        ({"action": "callback_reordered"}, ["read", "delivered", "sent"]),
        ({"action": "callback_delayed", "delay_ms": 1}, ["sent", "delivered", "read"]),
        ({"action": "fail", "code": 30500}, ["failed"]),
        ({"action": "fail", "status": "undelivered"}, ["sent", "undelivered"]),
    ],
)
async def test_scripted_callbacks(fault: dict[str, Any], told: list[str]) -> None:
    """Callbacks may be lost, doubled, reordered, delayed or failing.

    The provider's own record moves on.
    """
    async with scene() as s:
        await s.fault(**fault)
        await s.send()
        await s.drained()
        assert s.gateway.statuses() == told
        (held, *_) = s.state.messages.newest_first()
        assert held.status == ("read" if fault["action"] != "fail" else told[-1])


@pytest.mark.asyncio
async def test_a_callback_may_overtake_the_answer() -> None:
    """With the fault, the first callback is answered before the POST is."""
    async with scene() as s:
        await s.fault("callback_first")
        body = await s.send()
        assert s.gateway.statuses()[0] == "sent"
        assert body["status"] == "queued"


@pytest.mark.asyncio
async def test_faults_combine(tmp_path: Path) -> None:
    """Faults combine: one answer with any modifiers."""
    async with scene(tmp_path) as s:
        await s.fault("accept_reset")
        await s.fault("callback_doubled")
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            await s.send()
        await s.drained()
        assert len(s.gateway.came) == 6
    assert lines(tmp_path, "post")[0]["fault"] == "accept_reset,callback_doubled"


@pytest.mark.asyncio
async def test_a_callback_may_come_by_get() -> None:
    """A callback by GET carries its form in the signed query, after the query of its own URL."""
    async with scene() as s:
        await s.fault("callback_by_get", times=1)
        await s.send()
        await s.drained()
        (path, form, headers), *_ = s.gateway.came
    query = dict(parse_qsl(path.partition("?")[2], keep_blank_values=True))
    assert (query["m"], query["MessageStatus"], form) == ("order:1", "sent", {})
    assert headers["X-Twilio-Signature"] == sign("secret", PUBLIC + path, ())


@pytest.mark.asyncio
async def test_an_error_code_may_be_written_with_a_decimal_point() -> None:
    """The fault changes how an answer, a callback and a list write the code, not the code."""
    async with scene() as s:
        await s.fault("decimal_code", times=2)
        await s.fault("reject", code=21610, times=1)
        await s.fault("fail", code=63024, times=1)
        answer = await s.send()
        created = await s.send()
        await s.drained()
        form = s.gateway.came[-1][1]
        listed = s.state.messages.by_sid(created["sid"])
        assert listed is not None
        assert (repr(answer["code"]), form["ErrorCode"]) == ("21610.0", "63024.0")
        assert (repr(listed.resource()["error_code"]), listed.error_code) == ("63024.0", 63024)
        assert s.state.counts["code:21610"] == 1


# -- retries ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fragment, answers, tries",
    [
        ("#rc=5&rp=all", [500, 503, 200], 3),
        ("#rc=5&rp=all", [403, 200], 2),
        ("#rc=5&rp=all", [500] * 9, 6),
        ("#rc=2&rp=5xx", [500] * 9, 3),
        ("#rc=2&rp=5xx", [404] * 9, 1),
        ("#rc=2&rp=4xx,5xx", [404] * 9, 3),
        ("#rc=0&rp=all", [500] * 9, 1),
        ("", [500] * 9, 1),
    ],
)
async def test_callbacks_are_repeated_as_the_fragment_asks(
    tmp_path: Path, fragment: str, answers: list[int], tries: int
) -> None:
    """Without overrides a failed connection is retried once, and a 5xx loses the callback."""
    async with scene(tmp_path) as s:
        await s.order("settings", {"statuses": {"whatsapp": ["sent"], "messenger": [], "sms": []}})
        s.gateway.answers = iter(answers)
        await s.send(StatusCallback=CALLBACK.partition("#")[0] + fragment)
        await s.drained()
        assert len(s.gateway.came) == tries
    sent = lines(tmp_path, "callback_sent")
    assert [line["http"] for line in sent] == answers[:tries]
    assert [line["given_up"] for line in sent][-1] is (answers[tries - 1] != 200)
    assert {line["id"] for line in sent} == {"order:1"}


@pytest.mark.asyncio
@pytest.mark.parametrize("fragment, tries", [("", 2), ("#rc=3&rp=5xx", 1), ("#rc=3&rp=all", 4)])
async def test_a_gateway_that_is_away_is_tried_again(
    tmp_path: Path, fragment: str, tries: int
) -> None:
    """A refused connection falls under `ct`, the default policy, and is retried."""
    async with scene(tmp_path) as s:
        await s.order("settings", {"statuses": {"whatsapp": ["sent"], "messenger": [], "sms": []}})
        await s.send(StatusCallback="http://127.0.0.1:1/twilio/status?m=m1&a=1" + fragment)
        await s.drained()
    assert [line["http"] for line in lines(tmp_path, "callback_sent")] == [None] * tries


def test_overrides_stay_within_twilios_limits() -> None:
    """Overrides outside Twilio's documented ranges mean the default."""
    assert overrides_of("") == overrides_of("rc=&rp=ct&ct=x")
    wild = overrides_of("rc=99&rp=all&ct=1&rt=99999&tt=99999")
    assert (wild.retries, wild.connect, wild.read, wild.total) == (5, 0.1, 15.0, 15.0)
    assert wild.retries_after("4xx")


# -- the person ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_a_person_writes_reaches_the_gateway_signed(tmp_path: Path) -> None:
    """An inbound message has the channel's parameters and a signature, and is answered after the
    gateway.
    """
    async with scene(tmp_path) as s:
        told = await say(s.url, ANNA, SHOP, "Hello there", user_id="US.abc")
        ((path, form, headers),) = s.gateway.came
    assert told == {
        "sid": form["MessageSid"],
        "http": 204,
        "answers": [204],
        "stop": False,
        "start": False,
    }
    assert path == "/twilio/inbound"
    assert (form["From"], form["To"], form["Body"], form["SmsStatus"]) == (
        ANNA,
        SHOP,
        "Hello there",
        "received",
    )
    assert (form["WaId"], form["ExternalUserId"], form["NumMedia"]) == (
        "14155550123",
        "US.abc",
        "0",
    )
    assert headers["X-Twilio-Signature"] == sign("secret", f"{PUBLIC}/twilio/inbound", form.items())
    (said,), (acked,) = lines(tmp_path, "said"), lines(tmp_path, "said_acked")
    assert (said["sid"], said["stop"], acked["http"]) == (told["sid"], False, 204)
    assert said["t"] <= acked["t"]


@pytest.mark.asyncio
@pytest.mark.parametrize("door", ["inbound", "status"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_person_is_brought_by_either_method_and_either_door(door: str, method: str) -> None:
    """An inbound by GET has all parameters in its signed URL and no body."""
    async with scene() as s:
        await say(s.url, ANNA, SHOP, "STOP", door=door, method=method)
        ((path, form, headers),) = s.gateway.came
    bare, _, query = path.partition("?")
    assert bare == f"/twilio/{door}"
    assert dict(parse_qsl(query) if method == "GET" else form)["Body"] == "STOP"
    assert bool(form) is (method == "POST")
    assert headers["X-Twilio-Signature"] == sign("secret", PUBLIC + path, form.items())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "payload", "means"),
    [
        ("Cancel", "cancel_appointment_42", "answer"),
        ("STOP", "row_1", "answer"),
        ("Continue", "STOP", "stop"),
        ("Stop promotions", "STOP", "stop_marketing"),
        ("Resume promotions", "START", "start_marketing"),
        ("Cancel", None, "stop"),
        ("START", None, "start"),
        ("Hello", None, None),
    ],
)
async def test_a_tap_means_its_payload(
    tmp_path: Path, body: str, payload: str | None, means: str | None
) -> None:
    """A tap means its payload, Meta's own buttons their label, and a typed text its word."""
    async with scene(tmp_path) as s:
        told = await say(s.url, ANNA, SHOP, body, payload=payload)
        ((_, form, _),) = s.gateway.came
    assert form.get("ButtonPayload") == payload
    assert (told["stop"], told["start"]) == (means == "stop", means == "start")
    (line,) = lines(tmp_path, "said")
    assert line["means"] == means


@pytest.mark.asyncio
async def test_a_phone_writes_by_rcs_as_the_person_of_its_text_messages(tmp_path: Path) -> None:
    """By RCS only the two addresses are written differently; the person and the stop are those of
    SMS.
    """
    phone, text = "+14155550123", "+14155550100"
    async with scene(tmp_path) as s:
        await say(s.url, phone, text, "STOP", rcs=True)
        ((_, form, _),) = s.gateway.came
        await s.send(To=phone, From=text)
        with pytest.raises(ValueError, match="only a person with an SMS address writes by RCS"):
            await say(s.url, ANNA, SHOP, "STOP", rcs=True)
    assert (form["From"], form["To"]) == (f"rcs:{phone}", f"rcs:{text}")
    assert [line["violation"] for line in lines(tmp_path, "post")] == ["opted_out"]


@pytest.mark.asyncio
async def test_an_sms_carries_blank_values() -> None:
    """Blank parameters are part of the signature.

    A receiver that drops them rejects the message.
    """
    async with scene() as s:
        await say(s.url, "+14155550123", "+14155550100", "")
        ((_, form, headers),) = s.gateway.came
    assert (form["Body"], form["FromCity"], form["ToCountry"]) == ("", "", "US")
    assert headers["X-Twilio-Signature"] == sign("secret", f"{PUBLIC}/twilio/inbound", form.items())


@pytest.mark.asyncio
@pytest.mark.parametrize("http, violation", [(200, "opted_out"), (500, None)])
async def test_a_stop_counts_against_the_sender_once_it_was_answered(
    tmp_path: Path, http: int, violation: str | None
) -> None:
    """The provider blocks at once (21610), but a POST is a violation only after the STOP got a 2xx.

    START ends both.
    """
    async with scene(tmp_path) as s:
        s.gateway.answers = iter([http])
        assert (await say(s.url, ANNA, SHOP, " stop "))["stop"] is True
        assert (await s.send())["code"] == 21610
        await say(s.url, ANNA, SHOP, "Start")
        assert "sid" in await s.send()
    assert [line["violation"] for line in lines(tmp_path, "post")] == [violation, None]


@pytest.mark.asyncio
async def test_a_messaging_service_tells_the_block_by_callback() -> None:
    """A messaging service answers 201 and reports 21610 by `failed`, since it chooses its sender
    later.
    """
    service = "MG" + "a" * 32
    async with scene(services={service: (SHOP,)}) as s:
        await say(s.url, ANNA, SHOP, "STOP")
        assert (await s.send(From="", MessagingServiceSid=service))["status"] == "accepted"
        await s.drained()
        _, form, _ = s.gateway.came[-1]
    assert (form["MessageStatus"], form["ErrorCode"]) == ("failed", "21610")


@pytest.mark.asyncio
async def test_a_start_at_one_sender_of_a_service_lifts_the_block_of_all() -> None:
    """A START to any sender of a messaging service ends the block of all."""
    service, other = "MG" + "a" * 32, SHOP[:-1] + "9"
    async with scene(services={service: (SHOP, other)}) as s:
        await say(s.url, ANNA, SHOP, "STOP")
        await say(s.url, ANNA, other, "START")
        assert "sid" in await s.send()
        await s.send(From="", MessagingServiceSid=service)
        await s.drained()
        assert s.state.counts["code:21610"] == 0


@pytest.mark.asyncio
async def test_the_word_stop_inside_a_sentence_stops_nothing() -> None:
    """A STOP inside a sentence stops nothing, because Twilio matches the whole message."""
    async with scene() as s:
        assert (await say(s.url, ANNA, SHOP, "please stop"))["stop"] is False
        assert "sid" in await s.send()


@pytest.mark.asyncio
async def test_an_inbound_may_be_lost_or_doubled() -> None:
    """A lost inbound is in the list only, and a doubled one has the same SID."""
    async with scene() as s:
        lost = await say(s.url, ANNA, SHOP, "anyone?", lost=True)
        assert (s.gateway.came, lost["http"], lost["answers"]) == ([], None, [])
        (held, *_) = s.state.messages.newest_first(to=SHOP)
        assert (held.direction, held.status, held.sid) == ("inbound", "received", lost["sid"])
        doubled = await say(s.url, ANNA, SHOP, "hello", times=2)
        assert [form["MessageSid"] for _, form, _ in s.gateway.came] == [doubled["sid"]] * 2


@pytest.mark.asyncio
async def test_say_tells_why_it_was_refused() -> None:
    """A refused `say` returns the sandbox's sentence to the caller."""
    async with scene(senders=frozenset({SHOP})) as s:
        with pytest.raises(
            ValueError, match=f"owns that sender: give `to` as one of {re.escape(SHOP)}"
        ):
            await say(s.url, ANNA, "whatsapp:+14155550199", "hi")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "person",
    [
        "zz",
        "",
        "32665",
        "whatsapp:",
        "whatsapp:0170",
        "rcs:agent_1",
        "+14155550123",
        "messenger:777",
    ],
)
async def test_nobody_writes_from_where_nobody_can_be(tmp_path: Path, person: str) -> None:
    """An inbound from another channel's address is refused without effect, as Twilio would not
    deliver it.
    """
    async with scene(tmp_path) as s:
        body = {"from": person, "to": SHOP, "body": "STOP"}
        async with s.session.post(f"{s.url}/sandbox/say", json=body) as answer:
            assert answer.status == 400
            assert "whatsapp:+<E.164>" in (await answer.json())["error"]
        assert s.gateway.came == []
        assert len(s.state.messages) == 0
    assert lines(tmp_path, "said") == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("person", "sender"),
    [
        (ANNA, SHOP),
        ("whatsapp:GB.8f3a2c7d1e", SHOP),
        ("whatsapp:GB.ENT.41c0ffee", SHOP),
        ("messenger:777", "messenger:555"),
        ("+14155550123", "+14155550100"),
        ("+14155550123", "32665"),
    ],
)
async def test_every_kind_of_person_may_write(person: str, sender: str) -> None:
    """Phones and user ids of every channel reach the gateway."""
    async with scene() as s:
        assert (await say(s.url, person, sender, "hi"))["http"] == 204


@pytest.mark.asyncio
async def test_writing_opens_the_window_for_freeform(tmp_path: Path) -> None:
    """An inbound opens the window in the sandbox from that moment."""
    async with scene(tmp_path) as s:
        bob = "whatsapp:+14155550122"
        await s.send(To=bob)
        await say(s.url, bob, SHOP, "hi")
        await s.send(To=bob)
    assert [line["violation"] for line in lines(tmp_path, "post")] == ["outside_window", None]


# -- running ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_it_serves_until_told_to_stop() -> None:
    """`serve` prints its URL, answers, and ends at the event, even with hanging requests."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    config = SandboxConfig(accounts=(SandboxAccount(sid=ACCOUNT_SID, token="secret"),))
    serving = asyncio.create_task(serve(config, stop, url.set_result))
    async with asyncio.timeout(HANG_SECONDS), aiohttp.ClientSession() as session:
        base = await url
        async with session.get(f"{base}/sandbox/health") as answer:
            assert await answer.json() == {"ok": True}
        await session.post(f"{base}/sandbox/faults", json={"rules": [{"action": "accept_hang"}]})
        form = {"To": "+14155550123", "From": "+14155550100", "Body": "x"}
        hanging = asyncio.create_task(
            session.post(
                f"{base}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json",
                data=form,
                headers={"Authorization": BASIC},
            )
        )

        async def stats() -> dict[str, Any]:
            async with session.get(f"{base}/sandbox/stats") as answer:
                found: dict[str, Any] = await answer.json()
                return found

        await until(stats, "the POST to arrive", holds=lambda found: found["accepted"])
        stop.set()
        await serving
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            await hanging
