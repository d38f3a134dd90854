"""Signed status callbacks of the sandbox: their order, and their retries."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest

from sandbox.callbacks import overrides_of
from sandbox.signing import sign
from tests.support.cast import ANNA, SHOP
from tests.support.sandbox_scene import CALLBACK, PUBLIC, lines, scene

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
