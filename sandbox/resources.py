"""The resources that Twilio's SDK uses beyond sending and reading messages.

They cancel, redact and delete a message, and read its media and the account. The service never uses
them, so no fault of the sandbox hits these requests and no journal records them.

Source: twilio.com/docs/messaging/api/message-resource and media-resource, read 2026-11-20.
"""

import mimetypes
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.api import SANDBOX, authenticate, error_response, json_response
from sandbox.api_errors import api_error
from sandbox.config import SandboxAccount
from sandbox.message_store import StoredMessage, rfc2822
from sandbox.parameters import PostedForm, update_error
from sandbox.status_schedule import Step

CANCELLABLE: Final = frozenset({"accepted", "scheduled", "queued"})
"""Statuses of a message that has not been sent yet."""

_STARTED_MS: Final = 1_767_225_600_000
"""When the sandbox's accounts were created, in ms: the beginning of 2026."""

Handler = Callable[[web.Request, SandboxAccount, StoredMessage], Awaitable[web.StreamResponse]]


def _of_a_message(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler that authenticates and finds the message first.

    It answers 20003 and 20404 itself.
    """

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
async def update(
    request: web.Request, _account: SandboxAccount, held: StoredMessage
) -> web.StreamResponse:
    """POST Messages/{Sid}.json: cancel, redact, or both.

    `Status=canceled` cancels, and an empty `Body` redacts.
    """
    sandbox = request.app[SANDBOX]
    try:
        form = PostedForm.parse(await request.read())
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
        sandbox.callbacks.play(
            held, [Step(sandbox.settings.callback_delay_ms, "canceled", happens=False)]
        )
    return json_response(held.resource())


@_of_a_message
async def delete(
    request: web.Request, _account: SandboxAccount, held: StoredMessage
) -> web.StreamResponse:
    """DELETE Messages/{Sid}.json: afterwards neither a fetch nor a list shows the message."""
    request.app[SANDBOX].messages.remove(held)
    return web.Response(status=204)


@_of_a_message
async def list_media(
    request: web.Request, _account: SandboxAccount, held: StoredMessage
) -> web.StreamResponse:
    """GET Messages/{Sid}/Media.json, in one page, because a message has at most ten media."""
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
async def fetch_media(
    request: web.Request, _account: SandboxAccount, held: StoredMessage
) -> web.StreamResponse:
    """GET Messages/{Sid}/Media/{Sid}.json."""
    sid = request.match_info["media"]
    url = held.media_urls.get(sid)
    return (
        error_response(api_error(20404)) if url is None else json_response(_media(held, sid, url))
    )


@_of_a_message
async def delete_media(
    request: web.Request, _account: SandboxAccount, held: StoredMessage
) -> web.StreamResponse:
    """DELETE Messages/{Sid}/Media/{Sid}.json."""
    sid = request.match_info["media"]
    if held.media_urls.pop(sid, None) is None:
        return error_response(api_error(20404))
    return web.Response(status=204)


async def account(request: web.Request) -> web.StreamResponse:
    """GET Accounts/{Sid}.json, without the token, which the caller knows."""
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


def _media(held: StoredMessage, sid: str, url: str) -> dict[str, object]:
    # The sandbox downloads nothing, so the name in the URL decides the type.
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
