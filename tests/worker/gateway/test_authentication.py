"""Which requests are taken: those that Twilio signed for our accounts, bounded in size and
readable.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlencode

import pytest

from tests.support.cast import ACCOUNT_SID, MESSAGE_SID, OTHER_ACCOUNT_SID
from tests.support.gateway_world import (
    NEW_TOKEN,
    OTHER_TOKEN,
    PUBLIC_URL,
    TOKEN,
    Between,
    Scene,
    gateway_at,
    inbound_form,
    status_form,
)
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from worker.gateway.batching import BatchedWrites
from worker.gateway.request import RefusedError
from worker.ports.statuses import StatusApplied, StatusUpdate
from worker.stores.store import Store
from worker.twilio.signature import sign

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATHS = ["/twilio/status", "/twilio/inbound"]


async def refused(scene: Scene, answer: int, expected: int) -> None:
    """Check the answer, and that no key was written."""
    assert answer == expected
    assert not (await scene.world.store.records.counts())
    assert scene.logged_events() == ["request_refused"]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers", [{}, {"X-Twilio-Signature": ""}, {"X-Twilio-Signature": "x" * 28}]
)
async def test_a_missing_or_wrong_signature_is_refused(
    store: Place, path: str, headers: dict[str, str]
) -> None:
    """A missing or wrong signature gets 403, writes nothing, and is counted."""
    async with gateway_at(store) as scene:
        body = b"AccountSid=" + ACCOUNT_SID.encode() + b"&MessageSid=" + MESSAGE_SID.encode()
        answer, _ = await scene.twilio.send("POST", path, body, FORM | headers)
        await refused(scene, answer, 403)
        endpoint = path.rsplit("/", 1)[1]
        expected = f'sendwindow_signature_failures_total{{endpoint="{endpoint}"}} 1.0'
        assert expected.encode() in scene.metrics.render()


@pytest.mark.asyncio
async def test_a_changed_form_is_refused(store: Place) -> None:
    """A form with one parameter more, less or different from the signed one is forged."""
    async with gateway_at(store) as scene:
        signed = status_form("sent")
        for sent in (status_form("read"), [*signed, ("Body", "")], signed[:-1]):
            assert (await scene.twilio.post("/twilio/status", sent, signed=signed))[0] == 403
        assert not (await scene.world.store.records.counts())


@pytest.mark.asyncio
async def test_a_changed_query_is_refused(store: Place) -> None:
    """The query names message and attempt, and a changed query is forged."""
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        url = PUBLIC_URL + "/twilio/status?m=m1&a=1"
        for query in ("?m=m2&a=1", "?m=m1&a=2", "?a=1&m=m1", "?m=%6d1&a=1", ""):
            assert (
                await scene.twilio.post("/twilio/status" + query, status_form("read"), url=url)
            )[0] == 403


@pytest.mark.asyncio
async def test_the_token_of_another_account_does_not_fit(store: Place) -> None:
    """The account in the request chooses the token, so another account's token is refused."""
    async with gateway_at(store) as scene:
        await refused(
            scene,
            (await scene.twilio.post("/twilio/inbound", inbound_form(), token=OTHER_TOKEN))[0],
            403,
        )


@pytest.mark.asyncio
async def test_an_account_that_is_not_ours_is_refused(store: Place) -> None:
    """An AccountSid outside the configuration fits no token, not even a configured one."""
    async with gateway_at(store) as scene:
        await refused(scene, await scene.twilio.status(AccountSid="AC" + "9" * 32), 403)


@pytest.mark.asyncio
async def test_both_tokens_are_accepted_while_rotating(store: Place) -> None:
    """`webhook_tokens` lists the old and the new token; each account has its own."""
    async with gateway_at(store) as scene:
        for token, account in (
            (TOKEN, ACCOUNT_SID),
            (NEW_TOKEN, ACCOUNT_SID),
            (OTHER_TOKEN, OTHER_ACCOUNT_SID),
        ):
            form = status_form(AccountSid=account)
            assert (await scene.twilio.post("/twilio/status", form, token=token))[0] == 204


@pytest.mark.asyncio
async def test_the_host_a_request_claims_counts_for_nothing(store: Place) -> None:
    """Signatures are checked against the configured URL, not the host that the request claims."""
    async with gateway_at(store) as scene:
        forged = {
            "Host": "evil.example",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Proto": "http",
        }
        url = "http://evil.example/sw/twilio/status"
        assert (await scene.twilio.post("/twilio/status", status_form(), url=url, headers=forged))[
            0
        ] == 403
        assert (await scene.twilio.post("/twilio/status", status_form(), headers=forged))[0] == 204


@pytest.mark.asyncio
@pytest.mark.parametrize("signed", [PUBLIC_URL, PUBLIC_URL.replace(".com", ".com:443")])
async def test_the_standard_port_may_be_signed(store: Place, signed: str) -> None:
    """Twilio signs with or without :443."""
    async with gateway_at(store) as scene:
        assert (
            await scene.twilio.post("/twilio/status", status_form(), url=signed + "/twilio/status")
        )[0] == 204


@pytest.mark.asyncio
async def test_a_proxy_may_keep_the_path_of_the_public_url(store: Place) -> None:
    """The signature fits whether a proxy passes on /sw or removes it."""
    async with gateway_at(store) as scene:
        signature = sign(TOKEN, PUBLIC_URL + "/twilio/status", status_form())
        body = "&".join(
            f"{name}={value}".replace("+", "%2B") for name, value in status_form()
        ).encode()
        headers = FORM | {"X-Twilio-Signature": signature}
        assert (await scene.twilio.send("POST", "/sw/twilio/status", body, headers))[0] == 204
        assert (await scene.twilio.send("POST", "/twilio/status", body, headers))[0] == 204


@pytest.mark.asyncio
async def test_blank_values_and_repeated_names_are_signed(store: Place) -> None:
    """A media message has `Body=`; a repeated name is signed once per different value."""
    async with gateway_at(store) as scene:
        form = [*inbound_form(""), ("Extra", "b"), ("Extra", "a"), ("Extra", "b")]
        assert (await scene.twilio.post("/twilio/inbound", form))[0] == 200


@pytest.mark.asyncio
async def test_unknown_parameters_are_ignored(store: Place) -> None:
    """Unknown parameters are ignored, and an unreadable external id fails no callback.

    Twilio adds parameters without notice.
    """
    async with gateway_at(store) as scene:
        extras = {
            "ExternalUserId": "!!\u0000??",
            "ParentExternalUserId": "",
            "NumMedia": "many",
            "Brandnew": "1",
        }
        assert (await scene.twilio.inbound(**extras))[0] == 200
        assert (
            await scene.twilio.status(ErrorCode="none", RawDlrDoneDate="?", ExternalUserId="US.")
            == 204
        )


@pytest.mark.asyncio
@pytest.mark.parametrize("path", PATHS)
async def test_a_body_too_large_is_refused(store: Place, path: str) -> None:
    """A body that is too large gets 413, by its announced length or once it has grown too large."""
    async with gateway_at(store, max_body_bytes=2_048) as scene:
        large = [*inbound_form(), ("Extra", "x" * 8_192)]
        assert (await scene.twilio.post(path, large))[0] == 413
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.twilio.port)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{_header(FORM)}\r\n"
        )
        writer.write(head.encode() + 2 * (b"2000\r\n" + b"x" * 0x2000 + b"\r\n") + b"0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()
        await writer.wait_closed()
        assert not (await scene.world.store.records.counts())


def _header(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/twilio/status?m=m1&a=1", {"MessageSid": None, "SmsSid": None}),
        ("/twilio/status?m=m1&a=1", {"MessageSid": "SM1"}),
        ("/twilio/status?m=m1&a=1", {"MessageStatus": None, "SmsStatus": None}),
        ("/twilio/status?m=m1&a=1", {"MessageStatus": "sent\n"}),
        ("/twilio/status?m=m1&a=zero", {}),
        ("/twilio/status?m=m1&a=0", {}),
        ("/twilio/status?m=m1&a=-1", {}),
        ("/twilio/status?m=m1", {}),
        ("/twilio/status?a=1", {}),
        ("/twilio/status?m=&a=1", {}),
        ("/twilio/status?m=%0a&a=1", {}),
        ("/twilio/status?m=m1&a=1&q=", {}),
        ("/twilio/status?m=m1&a=1&q=-1", {}),
        ("/twilio/inbound", {"MessageSid": None, "SmsSid": None}),
        ("/twilio/inbound", {"From": None}),
        ("/twilio/inbound", {"To": " "}),
    ],
)
async def test_a_signed_request_that_lacks_the_essential_is_garbage(
    store: Place, path: str, changes: dict[str, str | None]
) -> None:
    """A signed request without an essential part gets 400 with the name of the part and writes
    nothing.
    """
    async with gateway_at(store) as scene:
        form = (
            inbound_form("hello", **changes)
            if path == "/twilio/inbound"
            else status_form("sent", **changes)
        )
        answer, text = await scene.twilio.post(path, form)
        await refused(scene, answer, 400)
        assert "nothing was written" in text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"AccountSid=%ff%fe"),
        ("application/x-www-form-urlencoded", b"\xff\xfe=1"),
        ("application/x-www-form-urlencoded", b"a=1&" * 600),
        ("application/json", b"{"),
        ("application/json", b"[1]"),
        ("application/json", b"[" * 30_000),
        ("application/json", b"\xff"),
    ],
)
async def test_what_cannot_be_decoded_is_garbage(
    store: Place, content_type: str, body: bytes
) -> None:
    """Bytes that are no form and no JSON get 400, signed or not."""
    async with gateway_at(store) as scene:
        answer, _ = await scene.twilio.send(
            "POST", "/twilio/status", body, {"Content-Type": content_type}
        )
        await refused(scene, answer, 400)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello \r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /twilio/status HTTP/1.1\r\nHost: x\r\nContent-Length: minus\r\n\r\n",
        b"POST /twilio/status HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"POST /twilio/status HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET /twilio/status?" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["tls", "version", "length", "long header", "many headers", "long line"],
)
async def test_what_is_no_http_gets_a_bare_400(store: Place, sent: bytes) -> None:
    """An answer to bytes that are not HTTP repeats no input, names no software, and closes the
    connection.
    """
    async with gateway_at(store) as scene:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.twilio.port)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), HANG_SECONDS)
        writer.close()
        assert answer.split(b" ")[1] == b"400"
        assert answer.endswith(b"\r\n\r\nnot understood\n")
        assert b"aiohttp" not in answer
        assert b"Python" not in answer


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        (b"", b"X-Twilio-Signature: \xff\xfe", b"403"),
        (b"?m=\xff&a=1", b"X: y", b"400"),
        (b"?m=\xc3\xa9&a=1", b"X: y", b"400"),
    ],
)
async def test_bytes_that_are_no_text_are_refused(
    store: Place, query: bytes, header: bytes, expected: bytes
) -> None:
    """Raw bytes in the query or in the signature are refused like any forgery."""
    async with gateway_at(store) as scene:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.twilio.port)
        writer.write(
            b"GET /twilio/status" + query + b" HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n"
        )
        answer = await asyncio.wait_for(reader.readline(), HANG_SECONDS)
        writer.close()
        assert answer.split(b" ")[1] == expected


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/twilio/status/", 404),
        ("GET", "/", 404),
        ("GET", "/twilio/../metrics", 404),
    ],
)
async def test_nothing_else_is_served(store: Place, method: str, path: str, expected: int) -> None:
    """Any other request is refused without a hint about the paths that exist."""
    async with gateway_at(store) as scene:
        assert (await scene.twilio.send(method, path))[0] == expected


@pytest.mark.asyncio
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused_aloud(store: Place, method: str, path: str) -> None:
    """Methods other than POST and GET are refused with a log line and a count, signed or not."""
    async with gateway_at(store) as scene:
        target = path + "?" + urlencode(inbound_form("STOP"))
        headers = {"X-Twilio-Signature": sign(TOKEN, PUBLIC_URL + target)}
        await refused(scene, (await scene.twilio.send(method, target, None, headers))[0], 405)
        endpoint = path.rsplit("/", 1)[1]
        expected = f'sendwindow_refused_requests_total{{endpoint="{endpoint}",reason="method"}} 1.0'
        assert expected.encode() in scene.metrics.render()


class Away:
    """A store that does not answer, or fails."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def apply(self, updates: Sequence[StatusUpdate]) -> list[StatusApplied]:
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()
        return []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error", [ConnectionError("down"), None, RuntimeError("a fault of ours: +14155550123")]
)
async def test_without_the_store_twilio_is_told_to_come_again(
    store: Place, error: Exception | None
) -> None:
    """Without the store Twilio gets 503 within the time limit, so that it repeats the request
    (rp=all). A request that is not stored must not get a 2xx.
    """

    def wrap(real: Store) -> Between:
        between = Between(real)
        between.statuses = Away(error)
        return between

    async with gateway_at(store, wrap=wrap, timeout_seconds=1) as scene:
        answer, text = await scene.twilio.post("/twilio/status", status_form())
        assert answer == 503
        assert text == "not stored; try again later\n"
        assert scene.logged_events() == ["request_failed"]


@pytest.mark.asyncio
async def test_waiting_requests_are_bounded() -> None:
    """Waiting requests are bounded, and further ones get 503 at once, so that memory does not
    grow.
    """
    away = Away(None)
    group: BatchedWrites[int, int] = BatchedWrites(away.apply, most_waiting=3)  # type: ignore[arg-type]  # it never looks at an item
    waiting = [asyncio.create_task(group.submit(number)) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(RefusedError) as refusal:
        await group.submit(4)
    assert (refusal.value.status, refusal.value.reason) == (503, "busy")
    with pytest.raises(TimeoutError):
        await group.drained(0.01)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


@pytest.mark.asyncio
async def test_what_no_caller_waits_for_is_not_stored() -> None:
    """A request that was answered with 503 is not stored later, because Twilio repeats it."""
    stored: list[int] = []
    gate = asyncio.Event()

    async def call(items: Sequence[int]) -> Sequence[int]:
        await gate.wait()
        stored.extend(items)
        return items

    group: BatchedWrites[int, int] = BatchedWrites(call)
    first, second = asyncio.create_task(group.submit(1)), asyncio.create_task(group.submit(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    given_up, kept = asyncio.create_task(group.submit(3)), asyncio.create_task(group.submit(4))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    gate.set()
    assert [await task for task in (first, second, kept)] == [1, 2, 4]
    await group.drained(60)
    assert stored == [1, 2, 4]


@pytest.mark.asyncio
async def test_a_body_that_never_comes_is_given_up(store: Place) -> None:
    """A request whose body never arrives holds its connection no longer than the time limit."""
    async with gateway_at(store, timeout_seconds=1) as scene:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.twilio.port)
        writer.write(
            b"POST /twilio/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nAccount"
        )
        answer = await asyncio.wait_for(reader.readline(), HANG_SECONDS)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 "), answer
