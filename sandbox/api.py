"""The Messages API over HTTP: create, fetch and list messages.

It answers in Twilio's formats, or with the fault that a rule asks for.
"""

import asyncio
import base64
import binascii
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from sandbox.api_errors import ApiError, api_error
from sandbox.config import SandboxAccount
from sandbox.faults import Action, Drawn, FaultRule, ObservedRequest
from sandbox.message_store import StoredMessage
from sandbox.parameters import PostedForm
from sandbox.state import NOT_TAKEN, Sandbox, Taken

SANDBOX: Final = web.AppKey("sandbox", Sandbox)

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_HANG_MS: Final = 35_000
_GARBAGE: Final = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
_LINGER_OFF: Final = struct.pack("ii", 1, 0)
_MAX_PAGE_MESSAGES: Final = 1000


class _Cut(web.Response):
    """Stands for the answer that a reset connection never carried."""


async def create(request: web.Request) -> web.StreamResponse:
    """POST Messages.json."""
    sandbox = request.app[SANDBOX]
    number = sandbox.count("create")
    unread = sandbox.faults.draw(ObservedRequest("create", number), unread=True)
    if unread.answer is not None:
        sandbox.write_unread(number, unread.names)
        return _cut(request)
    body = await request.read()
    account = authenticate(request)
    if isinstance(account, ApiError):
        sandbox.write_unread(number, error=account)
        return error_response(account)
    try:
        form = PostedForm.parse(body)
    except UnicodeDecodeError:
        unreadable = api_error(20422)
        sandbox.write_unread(number, error=unreadable)
        return error_response(unreadable)
    sandbox.in_flight += 1
    try:
        return await _answer_post(request, sandbox, sandbox.take(number, account, form))
    finally:
        sandbox.in_flight -= 1


async def _answer_post(request: web.Request, sandbox: Sandbox, taken: Taken) -> web.StreamResponse:
    drawn, held = taken.drawn, taken.held
    # Build the answer now: the status may change while the answer is delayed.
    created = _encode(held.resource()).encode() if held else b""
    if held is not None and drawn.has(Action.CALLBACK_FIRST):
        await sandbox.callbacks.play_first(held, taken.steps)
    elif held is not None:
        sandbox.callbacks.play(held, taken.steps)
    delay = sandbox.settings.latency_ms + drawn.delay_ms(Action.LATENCY)
    if delay:
        await asyncio.sleep(delay / 1000)
    answer = await _fault_answer(request, drawn, taken_in=held is not None)
    if answer is None and taken.error is not None:
        sandbox.told_sync(taken)
        is_decimal = drawn.has(Action.DECIMAL_CODE)
        answer = error_response(replace(taken.error, is_decimal=is_decimal), drawn.answer)
    if answer is None:
        answer = _json(created, 201)
    if not isinstance(answer, _Cut):
        answer.headers["Twilio-Concurrent-Requests"] = str(sandbox.in_flight)
        sandbox.journal.write("answered", n=taken.number, http=answer.status)
    return answer


async def fetch(request: web.Request) -> web.StreamResponse:
    """GET Messages/{Sid}.json."""
    sandbox = request.app[SANDBOX]
    drawn, account = (
        sandbox.faults.draw(ObservedRequest("fetch", sandbox.count("fetch"))),
        authenticate(request),
    )
    if isinstance(account, ApiError):
        return error_response(account)
    answer = await _reading_fault(request, drawn)
    if answer is not None:
        return answer
    held = sandbox.messages.by_sid(request.match_info["sid"])
    if held is None or held.account != account.sid:
        return error_response(api_error(20404))
    held.heard = held.status
    return json_response(held.resource())


async def listing(request: web.Request) -> web.StreamResponse:
    """GET Messages.json: newest first, filtered by To, From and DateSent, in pages."""
    sandbox, query = request.app[SANDBOX], request.query
    seen = ObservedRequest(
        "list", sandbox.count("list"), query.get("From", ""), query.get("To", "")
    )
    drawn, account = sandbox.faults.draw(seen), authenticate(request)
    if isinstance(account, ApiError):
        return error_response(account)
    answer = await _reading_fault(request, drawn, sandbox.settings.list_latency_ms)
    if answer is not None:
        return answer
    try:
        size = min(max(int(query.get("PageSize", "50")), 1), _MAX_PAGE_MESSAGES)
        page = max(int(query.get("Page", "0")), 0)
        sent = _sent_between(query)
    except ValueError:
        return error_response(api_error(20422))
    token, now = query.get("PageToken"), sandbox.outbox.now_ms()
    after = sandbox.messages.by_sid(token.removeprefix("PA")) if token else None
    if token and after is None:
        return error_response(api_error(20404))
    found = (
        held
        for held in sandbox.messages.newest_first(
            to=query.get("To") or None, sender=query.get("From") or None
        )
        if held.account == account.sid
        and held.visible_ms <= now
        and (after is None or held.number < after.number)
        and (sent is None or (held.sent_ms is not None and sent[0] <= held.sent_ms < sent[1]))
    )
    start = 0 if after is not None else page * size
    rows = list(islice(found, start, start + size + 1))
    for held in rows[:size]:
        held.heard = held.status
    return json_response(_page(request, rows[:size], page, size, more=len(rows) > size))


async def not_found(_request: web.Request) -> web.StreamResponse:
    """Return 404: the sandbox has no other resource of the API."""
    return error_response(api_error(20404))


def authenticate(request: web.Request) -> SandboxAccount | ApiError:
    """Check the Basic credentials and the account in the path.

    Wrong credentials give error 20003, another account in the path gives 20404.
    """
    sandbox = request.app[SANDBOX]
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return api_error(20003)
    if kind.lower() != "basic":
        return api_error(20003)
    for account in sandbox.accounts.values():
        if (user == account.sid and password == account.token) or (
            user and account.keys.get(user) == password
        ):
            return account if account.sid == request.match_info["account"] else api_error(20404)
    return api_error(20003)


async def _reading_fault(
    request: web.Request, drawn: Drawn, latency_ms: int = 0
) -> web.StreamResponse | None:
    delay = latency_ms + drawn.delay_ms(Action.LATENCY)
    if delay:
        await asyncio.sleep(delay / 1000)
    answer = await _fault_answer(request, drawn, taken_in=True)
    if answer is None and drawn.answer is not None:
        code = NOT_TAKEN.get(drawn.answer.action, drawn.answer.code or 20422)
        answer = error_response(api_error(code, drawn.answer.http), drawn.answer)
    return answer


async def _fault_answer(
    request: web.Request, drawn: Drawn, *, taken_in: bool
) -> web.StreamResponse | None:
    """Build the answer of a proxy or of a broken server, or break the connection.

    Returns None if the API itself should answer.
    """
    rule = drawn.answer
    action = rule.action if rule else None
    if rule is None or (action is not None and action.startswith("accept_") and not taken_in):
        return None
    match action:
        case Action.RESET | Action.ACCEPT_RESET:
            return _cut(request)
        case Action.HANG | Action.ACCEPT_HANG:
            return await _hang(request, rule)
        case Action.GARBAGE | Action.ACCEPT_GARBAGE:
            status = 502 if action is Action.GARBAGE else 200
            return web.Response(body=_GARBAGE, status=status, content_type="text/html")
        case Action.RATE_LIMITED_BARE | Action.ACCEPT_RATE_LIMITED_BARE:
            return web.Response(text="Too Many Requests", status=429, headers=_retry_after(rule))
        case Action.ACCEPT_SERVER_ERROR:
            return error_response(api_error(20500))
        case Action.ACCEPT_UNAVAILABLE:
            return error_response(api_error(20503))
        case _:
            return None


async def _hang(request: web.Request, rule: FaultRule) -> web.StreamResponse:
    try:
        async with asyncio.timeout((rule.delay_ms or _HANG_MS) / 1000):
            await request.app[SANDBOX].closing.wait()
    except TimeoutError:
        pass
    return _cut(request)


def _cut(request: web.Request) -> web.StreamResponse:
    """Reset the connection, so that the caller reads an error and never an answer."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        transport.abort()
    return _Cut(status=502)


def json_response(content: Mapping[str, object], status: int = 200) -> web.Response:
    """Build an answer in Twilio's JSON."""
    return _json(_encode(content).encode(), status)


def _json(body: bytes, status: int) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


def error_response(error: ApiError, rule: FaultRule | None = None) -> web.Response:
    """Build the answer to a refused request, with the headers that the fault's rule asks for."""
    answer = json_response(error.body(), error.http)
    answer.headers.update(_retry_after(rule))
    if error.code == 20003:
        answer.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    return answer


def _retry_after(rule: FaultRule | None) -> dict[str, str]:
    return (
        {"Retry-After": f"{rule.retry_after:g}"}
        if rule is not None and rule.retry_after is not None
        else {}
    )


def _sent_between(query: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the span in milliseconds that `DateSent`, `DateSent<` and `DateSent>` select.

    Both bounds are inclusive. A bare date means that whole day in GMT.
    """
    if not any(name in query for name in ("DateSent", "DateSent<", "DateSent>")):
        return None
    least, below = float("-inf"), float("inf")
    for name in ("DateSent", "DateSent>"):
        if name in query:
            least = max(least, _span(query[name])[0])
    for name in ("DateSent", "DateSent<"):
        if name in query:
            below = min(below, _span(query[name])[1])
    return least, below


def _span(text: str) -> tuple[float, float]:
    begin = datetime.fromisoformat(text)
    begin = begin if begin.tzinfo else begin.replace(tzinfo=UTC)
    end = begin + (timedelta(days=1) if len(text) == len("2026-11-20") else timedelta(seconds=1))
    return begin.timestamp() * 1000, end.timestamp() * 1000


def _page(
    request: web.Request, rows: list[StoredMessage], page: int, size: int, *, more: bool
) -> dict[str, object]:
    filters = [
        (name, value)
        for name, value in request.query.items()
        if name not in {"Page", "PageToken", "PageSize"}
    ]

    def uri(number: int, token: str | None = None) -> str:
        paging = [
            ("PageSize", str(size)),
            ("Page", str(number)),
            *([("PageToken", token)] if token else []),
        ]
        return f"{request.path}?{urlencode([*filters, *paging])}"

    return {
        "messages": [held.resource() for held in rows],
        "page": page,
        "page_size": size,
        "start": page * size,
        "end": page * size + max(len(rows) - 1, 0),
        "uri": uri(page),
        "first_page_uri": uri(0),
        "next_page_uri": uri(page + 1, f"PA{rows[-1].sid}") if more else None,
        "previous_page_uri": uri(page - 1) if page else None,
    }
