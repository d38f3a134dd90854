"""A message at the status URL, a status at the inbound URL, and messages by GET count for what
they are.
"""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cast import ACCOUNT_SID, ANNA, MESSAGE_SID, SHOP
from tests.support.gateway_world import (
    PUBLIC_URL,
    TOKEN,
    Between,
    Scene,
    gateway_at,
    inbound_form,
    status_form,
)
from tests.support.stores_world import Place
from tests.worker.gateway.test_inbound import known_of
from tests.worker.gateway.test_words import consented, standings
from worker.gateway.endpoint_kind import Endpoint, endpoint_of
from worker.stores.records import RecordStore
from worker.stores.store import Store
from worker.twilio.signature import sign

STATUS, INBOUND = Endpoint.STATUS, Endpoint.INBOUND
BARE = {"AccountSid": ACCOUNT_SID, "MessageSid": MESSAGE_SID, "From": ANNA, "To": SHOP}


async def misdirected(scene: Scene, came_by: str, times: int = 1) -> None:
    """Check that the wrong URL is counted, logged, and kept for `doctor`."""
    assert await scene.world.count(f"misdirected:{came_by}") == times
    assert await scene.world.store.records.misdirected_for(came_by) is not None
    shown = f'sendwindow_misdirected_requests_total{{endpoint="{came_by}"}} {times}.0'
    assert shown.encode() in scene.metrics.render()
    told = [line for line in scene.lines if line["event"] == "misdirected"]
    assert [line["came_by"] for line in told] == [came_by] * times
    assert "14155550123" not in scene.logged.getvalue()


@pytest.mark.asyncio
@pytest.mark.parametrize("query", ["", "?m=m1&a=1", "?x=1"])
@pytest.mark.parametrize("name", ["SmsStatus", "MessageStatus"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_stop_at_the_status_url_is_a_stop(
    store: Place, query: str, name: str, method: str
) -> None:
    """A STOP that arrives at the status URL is applied as an inbound message before the 2xx.

    No status of an unknown message is stored.
    """
    async with gateway_at(store) as scene:
        await consented(scene)
        form = [
            *((field, value) for field, value in inbound_form("STOP") if field != "SmsStatus"),
            (name, "received"),
        ]
        if method == "POST":
            answer, text = await scene.twilio.post("/twilio/status" + query, form)
            assert text.endswith("<Response/>")
        else:
            answer = await scene.twilio.get("/twilio/status" + query, form)
        assert answer == 200
        assert await standings(scene) == ("opted_out", "opted_out")
        assert await scene.world.count("inbound") == 1
        assert not any(
            name.startswith("status:") for name in await scene.world.store.records.counts()
        )
        await misdirected(scene, "status")


@pytest.mark.asyncio
async def test_every_repetition_at_the_wrong_url_counts_as_one_message(store: Place) -> None:
    """A repeated STOP at the wrong URL is one message and two requests at the wrong URL."""
    async with gateway_at(store) as scene:
        for _ in range(2):
            assert (await scene.twilio.post("/twilio/status", inbound_form("STOP")))[0] == 200
        assert await scene.world.count("inbound") == 1
        await misdirected(scene, "status", 2)


@pytest.mark.asyncio
async def test_a_status_at_the_inbound_url_is_a_status(store: Place) -> None:
    """A status at the inbound URL moves its message, and our sender does not become a person who
    wrote.
    """
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        assert (await scene.twilio.post("/twilio/inbound?m=m1&a=1", status_form("delivered")))[
            0
        ] == 204
        assert (await scene.world.row())["st"] == "delivered"
        assert await scene.world.count("inbound") == 0
        await misdirected(scene, "inbound")


@pytest.mark.asyncio
async def test_nothing_forged_is_handed_over(store: Place) -> None:
    """The signature is checked over the URL of the request, so a forged one is refused at either
    URL.
    """
    async with gateway_at(store) as scene:
        for path, signed in (("status", "inbound"), ("inbound", "status")):
            form = inbound_form("STOP") if path == "status" else status_form()
            answer, _ = await scene.twilio.post(
                f"/twilio/{path}", form, url=f"{PUBLIC_URL}/twilio/{signed}"
            )
            assert answer == 403
        assert not (await scene.world.store.records.counts())


class Uncounting(RecordStore):
    """A store that cannot count requests at the wrong URL."""

    async def note_misdirected(self, endpoint: str) -> None:
        raise ConnectionError(endpoint)


@pytest.mark.asyncio
async def test_a_stop_is_answered_although_the_wrong_url_cannot_be_counted(store: Place) -> None:
    """A STOP at the wrong URL is stored and answered even if that request cannot be counted."""

    def wrap(real: Store) -> Between:
        between = Between(real)
        between.records = Uncounting(real.records._calls)
        return between

    async with gateway_at(store, wrap=wrap) as scene:
        await consented(scene)
        assert (await scene.twilio.post("/twilio/status", inbound_form("STOP")))[0] == 200
        assert await standings(scene) == ("opted_out", "opted_out")
        assert "failing" in scene.logged_events()


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/twilio/inbound", "/twilio/inbound?shop=1", "/twilio/status"])
@pytest.mark.parametrize(
    "form", [inbound_form("STOP"), [*BARE.items(), ("Body", "STOP")]], ids=["whole", "bare"]
)
async def test_a_stop_by_get_is_a_stop(
    store: Place, path: str, form: list[tuple[str, str]]
) -> None:
    """A STOP by GET counts, because the signature covers the whole URL with its query."""
    async with gateway_at(store) as scene:
        await consented(scene)
        assert await scene.twilio.get(path, form) == 200
        assert await standings(scene) == ("opted_out", "opted_out")


@pytest.mark.asyncio
async def test_a_get_with_another_query_than_was_signed_is_refused(store: Place) -> None:
    """A GET whose query has a changed, added or reordered parameter is refused as a forgery."""
    async with gateway_at(store) as scene:
        signed = "/twilio/inbound?" + urlencode(inbound_form("hello"))
        headers = {"X-Twilio-Signature": sign(TOKEN, PUBLIC_URL + signed)}
        for target in (
            signed.replace("Body=hello", "Body=STOP"),
            signed + "&Body=STOP",
            "/twilio/inbound?" + urlencode(inbound_form("hello")[::-1]),
            signed.replace("/inbound", "/status"),
        ):
            assert (await scene.twilio.send("GET", target, None, headers))[0] == 403
        assert not (await scene.world.store.records.counts())
        assert (await scene.twilio.send("GET", signed, None, headers))[0] == 200


@pytest.mark.asyncio
async def test_a_long_message_by_get_is_read(store: Place) -> None:
    """A GET with 1,600 characters of four bytes each, percent-encoded, opens the window."""
    async with gateway_at(store) as scene:
        assert await scene.twilio.get("/twilio/inbound", inbound_form("😀" * 1_600)) == 200
        assert (await known_of(scene)).last_inbound_at is not None


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/twilio/inbound", "/twilio/status"])
@pytest.mark.parametrize("to", ["rcs:shop_agent", "rcs:+14155550199", "+14155550199"])
async def test_a_stop_in_rcs_stops_the_phone_number(store: Place, path: str, to: str) -> None:
    """Opt-outs of RCS and SMS are one, whether or not the RCS agent is a sender here."""
    async with gateway_at(store) as scene:
        form = inbound_form("STOP", From="rcs:+14155550123", To=to)
        assert (await scene.twilio.post(path, form))[0] == 200
        assert await standings(scene, "+14155550123") == ("opted_out", "opted_out")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"SmsStatus": "received", "Body": "STOP"}, (INBOUND, INBOUND)),
        ({"SmsStatus": "receiving"}, (INBOUND, INBOUND)),
        ({"MessageStatus": "received"}, (INBOUND, INBOUND)),
        ({"Body": ""}, (INBOUND, INBOUND)),
        ({"MessageStatus": "sent"}, (STATUS, STATUS)),
        ({"SmsStatus": "a status of tomorrow"}, (STATUS, STATUS)),
        ({"SmsStatus": "sent", "Body": "STOP"}, (STATUS, INBOUND)),
        ({}, (STATUS, INBOUND)),
    ],
)
def test_what_a_request_is_follows_from_what_it_says(
    params: dict[str, str], expected: tuple[Endpoint, Endpoint]
) -> None:
    """A request is what its content says, by either URL.

    An ambiguous one stays where it arrived.
    """
    assert (endpoint_of(params, STATUS), endpoint_of(params, INBOUND)) == expected


@given(
    st.dictionaries(
        st.sampled_from(["MessageStatus", "SmsStatus", "Body", "From"]), st.text(max_size=9)
    )
)
def test_it_is_the_same_by_either_url_unless_neither_is_certain(params: dict[str, str]) -> None:
    """An ambiguous request is not applied as something else when it is repeated at the other
    URL.
    """
    by_status, by_inbound = endpoint_of(params, STATUS), endpoint_of(params, INBOUND)
    assert by_status is by_inbound or (by_status, by_inbound) == (STATUS, INBOUND)
