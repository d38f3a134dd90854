"""What Twilio's SDK asks for beyond sending and reading: cancel, redact and delete a message, its media, the account.

No fault of the sandbox hits these requests, and no journal tells of them: the service never makes one.
Source: twilio.com/docs/messaging/api/message-resource and media-resource, read 2026-11-20.
"""

import mimetypes
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from worker.sandbox.api import SANDBOX, authenticate, error_response, json_response
from worker.sandbox.config import SandboxAccount
from worker.sandbox.errors import api_error
from worker.sandbox.messages import Held, rfc2822
from worker.sandbox.parameters import Form, update_error
from worker.sandbox.plan import Step

CANCELLABLE: Final = frozenset({"accepted", "scheduled", "queued"})
"""Statuses of a message that has not been sent yet."""

_STARTED_MS: Final = 1_767_225_600_000
"""When the sandbox's accounts were created: the beginning of 2026."""

Handler = Callable[[web.Request, SandboxAccount, Held], Awaitable[web.StreamResponse]]


def _of_a_message(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler that authenticates and finds the message first: 20003 and 20404 are answered here."""

    async def handle(request: web.Request) -> web.StreamResponse:
        account = authenticate(request)
        if not isinstance(account, SandboxAccount):
            return error_response(account)
        held = request.app[SANDBOX].messages.by_sid(request.match_info["sid"])
        if held is None or held.account != account.sid:
            return error_response(api_error(20404))
        return await handler(request, account, held)

    return handle


@_of_a_message
async def update(request: web.Request, _account: SandboxAccount, held: Held) -> web.StreamResponse:
    """POST Messages/{Sid}.json: cancel with `Status=canceled`, redact with an empty `Body`, or both."""
    sandbox = request.app[SANDBOX]
    try:
        form = Form.parse(await request.read())
    except UnicodeDecodeError:
        return error_response(api_error(20422))
    code = update_error(form)
    if code is None and "Status" in form.values and held.status not in CANCELLABLE:
        code = 30409
    if code is not None:
        return error_response(api_error(code))
    held.updated_ms = sandbox.outbox.now_ms()
    if "Body" in form.values:
        held.body = ""
    if "Status" in form.values:
        held.status = held.heard = "canceled"
        sandbox.callbacks.play(held, [Step(sandbox.settings.callback_delay_ms, "canceled", happens=False)])
    return json_response(held.resource())


@_of_a_message
async def delete(request: web.Request, _account: SandboxAccount, held: Held) -> web.StreamResponse:
    """DELETE Messages/{Sid}.json: neither a fetch nor a list shows the message afterwards."""
    request.app[SANDBOX].messages.remove(held)
    return web.Response(status=204)


@_of_a_message
async def list_media(request: web.Request, _account: SandboxAccount, held: Held) -> web.StreamResponse:
    """GET Messages/{Sid}/Media.json, in one page: a message has at most ten media."""
    media = [_media(held, sid, url) for sid, url in held.media_urls.items()]
    page = {
        "media_list": media,
        "page": 0,
        "page_size": 50,
        "start": 0,
        "end": max(len(media) - 1, 0),
        "uri": request.path,
        "first_page_uri": request.path,
        "next_page_uri": None,
        "previous_page_uri": None,
    }
    return json_response(page)


@_of_a_message
async def fetch_media(request: web.Request, _account: SandboxAccount, held: Held) -> web.StreamResponse:
    """GET Messages/{Sid}/Media/{Sid}.json."""
    sid = request.match_info["media"]
    url = held.media_urls.get(sid)
    return error_response(api_error(20404)) if url is None else json_response(_media(held, sid, url))


@_of_a_message
async def delete_media(request: web.Request, _account: SandboxAccount, held: Held) -> web.StreamResponse:
    """DELETE Messages/{Sid}/Media/{Sid}.json."""
    sid = request.match_info["media"]
    if held.media_urls.pop(sid, None) is None:
        return error_response(api_error(20404))
    return web.Response(status=204)


async def account(request: web.Request) -> web.StreamResponse:
    """GET Accounts/{Sid}.json, without the token: who asks knows it."""
    found = authenticate(request)
    if not isinstance(found, SandboxAccount):
        return error_response(found)
    path = f"/2010-04-01/Accounts/{found.sid}"
    content = {
        "date_created": rfc2822(_STARTED_MS),
        "date_updated": rfc2822(_STARTED_MS),
        "friendly_name": "sandbox",
        "owner_account_sid": found.sid,
        "sid": found.sid,
        "status": "active",
        "subresource_uris": {"messages": f"{path}/Messages.json"},
        "type": "Full",
        "uri": f"{path}.json",
    }
    return json_response(content)


def _media(held: Held, sid: str, url: str) -> dict[str, object]:
    # The sandbox downloads nothing: the type is what the name in the URL promises.
    kind, _ = mimetypes.guess_type(urlsplit(url).path)
    return {
        "account_sid": held.account,
        "content_type": kind or "application/octet-stream",
        "date_created": rfc2822(held.created_ms),
        "date_updated": rfc2822(held.created_ms),
        "parent_sid": held.sid,
        "sid": sid,
        "uri": f"/2010-04-01/Accounts/{held.account}/Messages/{held.sid}/Media/{sid}.json",
    }
