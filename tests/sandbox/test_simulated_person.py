"""What a simulated person writes reaches the gateway as Twilio would send it."""

import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from sandbox.app import say
from sandbox.signing import sign
from tests.support.cast import ANNA, SHOP
from tests.support.sandbox_scene import PUBLIC, lines, scene


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
async def test_no_person_writes_from_an_impossible_address(tmp_path: Path, person: str) -> None:
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
