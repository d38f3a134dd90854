"""Tables of POST forms against Twilio's parameters, and of what answers and failures prove."""

import asyncio
import json
import re
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given
from hypothesis import strategies as st

from policies.decision import Content, FreeformContent, SeenRevisions, Send, TemplateContent, Trace
from sendwindow.timestamps import to_ms
from sendwindow.vocabulary import Reason
from tests.support.twilio_parameters import PARAMETERS
from worker.gateway.forms import GarbageError, read_status
from worker.ports.posts import Accepted, NotSent, Rejected, Unproven
from worker.twilio import replies
from worker.twilio.messages import read_message, read_page
from worker.twilio.requests import Route, build, status_callback

TWILIO_PARAMETERS: Final = frozenset(
    {
        "To",
        "From",
        "MessagingServiceSid",
        "Body",
        "MediaUrl",
        "ContentSid",
        "ContentVariables",
        "StatusCallback",
        "ApplicationSid",
        "ProvideFeedback",
        "Attempt",
        "ValidityPeriod",
        "MaxPrice",
        "ForceDelivery",
        "ContentRetention",
        "AddressRetention",
        "SmartEncoded",
        "PersistentAction",
        "TrafficType",
        "ShortenUrls",
        "ScheduleType",
        "SendAt",
        "SendAsMms",
        "RiskCheck",
        "FallbackFrom",
        "MessageIntent",
    }
)
"""Request parameters of "Messages resource" (twilio.com, read 2026-11-20)."""

NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
SID: Final = "MM" + "a" * 32


def send(content: Content, validity: timedelta = timedelta(hours=4)) -> Send:
    return Send(
        reason=Reason.WINDOW_OPEN,
        content=content,
        seen=SeenRevisions(person=1, sender=1, account=1),
        valid_until=NOW,
        validity_period=validity,
        trace=Trace("1", NOW, ()),
    )


def form(
    content: Content, *, service: str | None = None, validity: timedelta = timedelta(hours=4)
) -> dict[str, str]:
    route = Route(
        "main", "whatsapp:+14155550123", "whatsapp:+14155550100", service, "order 1/ä", 3, NOW
    )
    message = build(send(content, validity), route, "https://hooks.example.com/")
    assert len(dict(message.form)) == len(message.form)
    return dict(message.form)


def test_only_parameters_of_twilios_table_exist() -> None:
    """Forms hold only parameters of Twilio's table."""
    assert PARAMETERS <= TWILIO_PARAMETERS


@given(
    st.one_of(
        st.builds(
            FreeformContent, st.text(min_size=1), st.none() | st.just("https://example.com/a.png")
        ),
        st.builds(
            TemplateContent,
            st.just("HX" + "0" * 32),
            st.dictionaries(st.text(), st.text(), max_size=3),
        ),
    ),
    st.none() | st.just("MG" + "0" * 32),
    st.timedeltas(),
)
def test_every_form_has_to_from_content_callback_and_a_valid_validity(
    content: Content, service: str | None, validity: timedelta
) -> None:
    """Every form has known parameters, explicit From, one kind of content, and a valid
    ValidityPeriod. That is 1 to 36,000 seconds.
    """
    fields = form(content, service=service, validity=validity)
    assert set(fields) <= PARAMETERS
    assert {"To", "From", "StatusCallback", "ValidityPeriod"} <= set(fields)
    assert ("Body" in fields) != ("ContentSid" in fields)
    assert not ({"MediaUrl", "ContentSid"} <= set(fields))
    assert 1 <= int(fields["ValidityPeriod"]) <= 36_000


def test_a_template_goes_out_as_content_sid_and_variables_in_one_json_string() -> None:
    """ContentVariables is a string that holds a JSON object of strings."""
    fields = form(TemplateContent("HX" + "0" * 32, {"1": 'Ann "A"', "2": "ä"}))
    assert fields["ContentSid"] == "HX" + "0" * 32
    assert json.loads(fields["ContentVariables"]) == {"1": 'Ann "A"', "2": "ä"}
    assert "ContentVariables" not in form(TemplateContent("HX" + "0" * 32, {}))


def test_from_stays_with_a_messaging_service() -> None:
    """From is sent next to a messaging service, so that the service chooses no other sender.

    A window belongs to one sender.
    """
    fields = form(FreeformContent("hi"), service="MG" + "0" * 32)
    assert fields["MessagingServiceSid"] == "MG" + "0" * 32
    assert fields["From"] == "whatsapp:+14155550123"


def test_the_callback_names_message_attempt_and_life_and_asks_for_retries() -> None:
    """The callback URL's query names message, attempt and life; its fragment asks for Twilio's
    retries. Twilio signs the query and never sends the fragment.
    """
    assert status_callback("https://h.example/", "a b/ü", 2, NOW) == (
        f"https://h.example/twilio/status?i=a~20b~2F~C3~BC&q={to_ms(NOW)}&a=2#rc=5&rp=all"
    )


@given(st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=40))
def test_the_callback_query_holds_no_character_that_a_proxy_rewrites(message_id: str) -> None:
    """The callback's query holds only unreserved characters, whatever the id, and the gateway
    reads the same id.
    """
    query = urlsplit(status_callback("https://h.example", message_id, 2, NOW)).query
    assert re.fullmatch(r"[mi]=[A-Za-z0-9._~-]+&q=[0-9]+&a=2", query)
    report = read_status(
        {"MessageSid": "SM" + "a" * 32, "MessageStatus": "sent"}, dict(parse_qsl(query))
    )
    assert (report.message_id, report.attempt) == (message_id, 2)


@pytest.mark.parametrize(
    "message_id", ["order-7", "a.b_c~d", "a:b", "{sw}m1", "+14155550123", "ü/ö", "100%"]
)
def test_callbacks_under_way_with_the_older_query_are_still_read(message_id: str) -> None:
    """Callbacks with the query of an older version are read: `m` percent-encoded, with or without
    life. Twilio brings them for days after an upgrade.
    """
    params = {"MessageSid": "SM" + "a" * 32, "MessageStatus": "sent"}
    for query in (
        f"m={quote(message_id, safe='')}&q=1795000000000&a=3",
        f"m={quote(message_id, safe='')}&a=3",
    ):
        assert read_status(params, dict(parse_qsl(query))).message_id == message_id


@pytest.mark.parametrize("escaped", ["", "a~", "a~3a", "a~3", "a:b", "~FF", "ü", "a%3Ab", "~C3"])
def test_an_escape_that_was_never_written_is_garbage(escaped: str) -> None:
    """Only escapes that the worker writes after `i=` name a message."""
    with pytest.raises(GarbageError):
        read_status(
            {"MessageSid": "SM" + "a" * 32, "MessageStatus": "sent"}, {"i": escaped, "a": "1"}
        )


def test_media_goes_out_with_the_text() -> None:
    """A body with one media URL is one message, and so is media alone."""
    both = form(FreeformContent("see", "https://example.com/a.png"))
    assert (both["Body"], both["MediaUrl"]) == ("see", "https://example.com/a.png")
    assert "Body" not in form(FreeformContent("", "https://example.com/a.png"))


@pytest.mark.parametrize(
    "status, body, expected",
    [
        (201, {"sid": SID, "status": "accepted"}, Accepted(SID, "accepted", 201)),
        (200, {"sid": SID}, Accepted(SID, "queued", 200)),
        (201, {"sid": SID, "status": "\ud800"}, Accepted(SID, "queued", 201)),
        (201, {"sid": SID, "status": "a" * 41}, Accepted(SID, "queued", 201)),
        (201, {"sid": SID, "status": "sent\n"}, Accepted(SID, "queued", 201)),
        (201, {"sid": SID, "status": 7}, Accepted(SID, "queued", 201)),
        (
            201,
            {"sid": SID, "status": "not_yet-Known", "code": 10**400},
            Accepted(SID, "not_yet-Known", 201),
        ),
        (400, {"code": 21610}, Rejected(400, 21610)),
        (400, {"code": "21610"}, Rejected(400, 21610)),
        (400, {"code": 21610.0}, Rejected(400, 21610)),
        (400, {"code": 572006.0}, Rejected(400, 572006)),
        (400, {"code": 999_999_999}, Rejected(400, 999_999_999)),
        (404, {"code": 20404}, Rejected(404, 20404)),
        (429, {"code": 20429}, Rejected(429, 20429)),
        (429, {"code": 63018}, Rejected(429, 63018)),
    ],
)
def test_what_is_proven_by_an_answer(status: int, body: object, expected: object) -> None:
    """A SID proves acceptance, and a 4xx with Twilio's code proves that nothing was processed."""
    assert replies.read_answer(status, {}, json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    "status, body, reason, code",
    [
        (201, {"sid": "CA" + "0" * 32}, Reason.OUTCOME_UNREADABLE, None),
        (201, {"sid": SID + "\n"}, Reason.OUTCOME_UNREADABLE, None),
        (201, {"sid": "SM" + "١" * 32}, Reason.OUTCOME_UNREADABLE, None),
        (201, {"sid": SID[:-1], "to": "+14155550100"}, Reason.OUTCOME_UNREADABLE, None),
        (201, {"sid": None}, Reason.OUTCOME_UNREADABLE, None),
        (201, [SID], Reason.OUTCOME_UNREADABLE, None),
        (202, {}, Reason.OUTCOME_UNREADABLE, None),
        (400, {"message": "no code"}, Reason.OUTCOME_UNREADABLE, None),
        (400, {"code": True}, Reason.OUTCOME_UNREADABLE, None),
        (400, {"code": 0}, Reason.OUTCOME_UNREADABLE, None),
        (400, {"code": 10**9}, Reason.OUTCOME_UNREADABLE, None),
        (400, {"code": "1" * 10}, Reason.OUTCOME_UNREADABLE, None),
        (500, {"code": 10**400}, Reason.OUTCOME_SERVER_ERROR, None),
        (429, {}, Reason.OUTCOME_UNREADABLE, None),
        (302, {"code": 21610}, Reason.OUTCOME_UNREADABLE, None),
        (500, {"code": 20500}, Reason.OUTCOME_SERVER_ERROR, 20500),
        (503, {"code": 20503}, Reason.OUTCOME_SERVER_ERROR, 20503),
        (599, "?", Reason.OUTCOME_SERVER_ERROR, None),
    ],
)
def test_what_an_answer_leaves_open(
    status: int, body: object, reason: Reason, code: int | None
) -> None:
    """Every other answer is unproven and keeps its code for the operator."""
    reply = replies.read_answer(status, {}, json.dumps(body).encode())
    assert isinstance(reply, Unproven)
    assert (reply.reason, reply.http_status, reply.code) == (reason, status, code)


def test_a_201_with_an_odd_sid_keeps_the_names_of_its_fields_only() -> None:
    """A 201 with an invalid SID is unknown, and its detail names only the fields.

    The reader of the timeline sees neither the SID nor the address.
    """
    body = json.dumps({"sid": "SM" + "z" * 32, "to": "+14155550100", "status": "queued"}).encode()
    reply = replies.read_answer(201, {}, body)
    assert isinstance(reply, Unproven)
    assert (reply.detail, reply.excerpt) == (
        "HTTP 201 without a MessageSid",
        "fields: sid to status",
    )


@given(st.integers(100, 599), st.binary(max_size=300), st.booleans())
def test_no_answer_whatever_its_bytes_breaks_the_reader(
    status: int, body: bytes, complete: bool
) -> None:
    """Reading an answer never raises and never takes garbage for acceptance or rejection."""
    reply = replies.read_answer(
        status, {"Retry-After": body.decode("latin-1")}, body, complete=complete
    )
    assert isinstance(reply, Accepted | Rejected | Unproven)
    if not complete:
        assert isinstance(reply, Unproven)


@pytest.mark.parametrize(
    "asked, shown, is_ours",
    [
        pytest.param("+14155550100", "+14155550100", True, id="the same"),
        pytest.param("+14155550100", "+14155550101", False, id="another phone"),
        pytest.param(
            "whatsapp:+525512345678",
            "whatsapp:+5215512345678",
            True,
            id="the same, written differently",
        ),
        pytest.param(
            "whatsapp:+555112345678",
            "whatsapp:+5551912345678",
            True,
            id="with the ninth digit of Brazil",
        ),
        pytest.param("whatsapp:US.1a2b", "whatsapp:US.1a2c", False, id="another user id"),
        pytest.param(
            "whatsapp:US.1a2b", "whatsapp:US.ENT.1a2c", True, id="a user id under its parent's"
        ),
        pytest.param(
            "whatsapp:US.1a2b", "whatsapp:+14155550100", True, id="a user id under its phone"
        ),
        pytest.param("messenger:17", "messenger:18", False, id="another person on Messenger"),
        pytest.param(
            "whatsapp:+14155550100", "+14155550101", False, id="another phone on another channel"
        ),
        pytest.param(
            "whatsapp:+14155550100", "+14155550100", True, id="the same phone on another channel"
        ),
        pytest.param("+14155550100", None, True, id="not shown"),
        pytest.param("+14155550100", "****0101", True, id="redacted"),
        pytest.param("somebody", "+14155550100", True, id="not known"),
    ],
)
def test_an_answer_for_another_recipient_proves_nothing(
    asked: str, shown: str | None, is_ours: bool
) -> None:
    """A 201 that shows another recipient is the answer to another POST.

    An address in another form may be the same recipient, so it does not count as another.
    """
    body = json.dumps({"sid": SID, "status": "queued", "to": shown}).encode()
    reply = replies.read_answer(201, {}, body, to=asked)
    if is_ours:
        assert isinstance(reply, Accepted)
    else:
        assert isinstance(reply, Unproven)
        assert (reply.reason, reply.excerpt) == (Reason.OUTCOME_UNREADABLE, "fields: sid status to")


def test_deeply_nested_json_is_unreadable_not_a_crash() -> None:
    """An answer of nested brackets only is unproven and does not crash the reader."""
    assert isinstance(replies.read_answer(201, {}, b"[" * 60_000), Unproven)


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({}, None),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        (
            {
                "Retry-After": "Sat, 21 Nov 2026 12:01:00 GMT",
                "Date": "Sat, 21 Nov 2026 12:00:00 GMT",
            },
            60.0,
        ),
        (
            {
                "Retry-After": "Sat, 21 Nov 2026 11:00:00 GMT",
                "Date": "Sat, 21 Nov 2026 12:00:00 GMT",
            },
            0.0,
        ),
        ({"Retry-After": "Sat, 21 Nov 2026 12:01:00 GMT"}, None),
        ({"Retry-After": f"Sat, 21 Nov {'9' * 30} 12:01:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After is read as seconds or as an HTTP date; an unreadable value counts as absent."""
    assert replies.retry_after(headers) == seconds


KEY: Final = ConnectionKey("twilio.invalid", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientConnectorError(KEY, OSError(111, "refused")),
        aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "unknown name")),
        aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "handshake")),
        aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "expired")),
        aiohttp.ConnectionTimeoutError("no connection"),
        aiohttp.InvalidURL("nonsense"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_before_the_first_byte_are_proven_not_sent(error: BaseException) -> None:
    """The connector raises these errors before the request is written, so they prove that
    nothing was sent.
    """
    assert isinstance(replies.read_failure(error), NotSent)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.SocketTimeoutError("read"),
        aiohttp.ServerTimeoutError("either"),
        aiohttp.ClientOSError(104, "reset"),
        aiohttp.ClientPayloadError("cut"),
        aiohttp.ClientConnectionResetError("closing transport"),
        TimeoutError(),
        ConnectionResetError(),
        asyncio.IncompleteReadError(b"", 1),
        RuntimeError("anything"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_failures_after_the_first_byte_are_unproven(error: BaseException) -> None:
    """After the first byte the request may have been read, also on a reused connection."""
    assert isinstance(replies.read_failure(error), Unproven)


@pytest.mark.parametrize(
    "body, kept",
    [
        (b"<html><h1>Bad  gateway</h1></html>", "Bad gateway"),
        (b'{"to": "+14155550100", "body": "Dear Ann', "fields: to body"),
        (b'junk {"body": "Dear Ann"}', "fields: body"),
        (b"call +1 415 555 0100 or whatsapp:US.abc123 or a@b.example", "call # or whatsapp:# or #"),
        (b"\xff\x00", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_an_excerpt_holds_no_personal_data(body: bytes, kept: str) -> None:
    """An excerpt shows the shape of an unreadable answer and no personal data."""
    assert replies.excerpt(body) == kept


ROW: Final = {
    "sid": SID,
    "status": "sent",
    "to": "+14155550100",
    "date_created": "Sat, 21 Nov 2026 12:00:00 +0000",
}


@pytest.mark.parametrize(
    "fields, status, code",
    [
        ({"status": "\ud800", "error_code": 10**400}, "queued", None),
        ({"status": "x" * 41, "error_code": 10**9}, "queued", None),
        ({"status": "undelivered", "error_code": True}, "undelivered", None),
        ({"status": "undelivered", "error_code": "30003"}, "undelivered", 30003),
        ({"status": "undelivered", "error_code": 30003.0}, "undelivered", 30003),
        ({"status": "undelivered", "error_code": "30003.0"}, "undelivered", 30003),
        ({"status": "undelivered", "error_code": 572006}, "undelivered", 572006),
        ({"status": "undelivered", "error_code": 30003.5}, "undelivered", None),
        ({"status": "undelivered", "error_code": "30003.5"}, "undelivered", None),
        ({"status": "undelivered", "error_code": float("nan")}, "undelivered", None),
        ({"status": "undelivered", "error_code": float("inf")}, "undelivered", None),
        ({"status": "undelivered", "error_code": -30003.0}, "undelivered", None),
    ],
)
def test_an_odd_status_or_code_of_a_row_is_never_stored(
    fields: dict[str, Any], status: str, code: int | None
) -> None:
    """A row proves that its message exists; a status or code that no store can keep is left out."""
    found = read_message(json.dumps({**ROW, **fields}).encode())
    assert found is not None
    assert (found.status, found.error_code) == (status, code)


@pytest.mark.parametrize("at", [7, ["Sat"], f"Sat, 21 Nov {'9' * 30} 12:00:00 +0000"])
def test_a_row_with_an_absurd_date_is_unreadable(at: Any) -> None:
    """A row with an absurd date is unreadable and does not raise."""
    assert read_message(json.dumps({**ROW, "date_created": at}).encode()) is None


@pytest.mark.parametrize(
    "sid",
    [
        "",
        "SM1",
        "SM" + "z" * 32,
        SID + "\n",
        "sm" + "1" * 32,
        "RM" + "1" * 32,
        SID + "}:x",
        "SM" + "١" * 32,
        7,
        None,
    ],
)
def test_a_row_without_a_message_sid_is_unreadable(sid: Any) -> None:
    """A row needs SM or MM and 32 hex digits, since other text would become a key's name or bind
    a message.
    """
    assert read_message(json.dumps({**ROW, "sid": sid}).encode()) is None
    page = json.dumps(
        {"messages": [{**ROW, "direction": "outbound-api"}, {**ROW, "sid": sid}]}
    ).encode()
    assert read_page(page) is None
