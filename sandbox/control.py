"""The sandbox's own endpoints under /sandbox, which take and return JSON.

They control persons, the clock, faults and settings, and show what the sandbox holds.
"""

import asyncio
import contextlib
from typing import Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.address_rules import channel_of
from sandbox.api import SANDBOX
from sandbox.config import Approval, SandboxSettings
from sandbox.faults import FaultRule
from sandbox.json_bodies import bad, read, read_object, refused
from sandbox.message_store import StoredMessage
from sandbox.simulated_person import Say, say

_MAX_LISTED_MESSAGES: Final = 100
_MAX_WAIT_SECONDS: Final = 60.0


class _StrictOrder(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class _Clock(_StrictOrder):
    offset_ms: int


class _Faults(_StrictOrder):
    rules: tuple[FaultRule, ...]


class _Approval(_StrictOrder):
    sid: str
    approved: Approval


class _Person(_StrictOrder):
    """What the sandbox should remember of a person, without any inbound message to the gateway."""

    from_: str = Field(alias="from")
    to: str
    account: str | None = None
    wrote_ago_ms: int | None = Field(default=None, ge=0)
    stopped: bool | None = None
    user_id: str | None = None


async def post_say(request: web.Request) -> web.Response:
    """POST /sandbox/say: a person writes.

    {from, to, body, times?, lost?, sid?, user_id?, extra?} → {sid, http, answers, stop, start}.
    """
    words = await read(request, Say)
    try:
        said = await say(request.app[SANDBOX], words)
    except ValueError as error:
        raise bad(str(error)) from error
    last = said.answers[-1] if said.answers else None
    return web.json_response(
        {
            "sid": said.sid,
            "http": last,
            "answers": list(said.answers),
            "stop": said.stop,
            "start": said.start,
        }
    )


async def post_clock(request: web.Request) -> web.Response:
    """POST /sandbox/clock {offset_ms} → {offset_ms, now_ms}."""
    request.app[SANDBOX].outbox.offset_ms = (await read(request, _Clock)).offset_ms
    return await get_clock(request)


async def get_clock(request: web.Request) -> web.Response:
    """GET /sandbox/clock → {offset_ms, now_ms}."""
    outbox = request.app[SANDBOX].outbox
    return web.json_response({"offset_ms": outbox.offset_ms, "now_ms": outbox.now_ms()})


async def post_faults(request: web.Request) -> web.Response:
    """POST /sandbox/faults {rules: [rule, …]} adds the rules → {ids: […]}."""
    faults, wish = request.app[SANDBOX].faults, await read(request, _Faults)
    if not wish.rules:
        raise bad("rules: is empty; give at least one")
    return web.json_response({"ids": [faults.add(rule) for rule in wish.rules]})


async def get_faults(request: web.Request) -> web.Response:
    """GET /sandbox/faults → {rules: [{id, hits, action, …}, …]}."""
    return web.json_response({"rules": request.app[SANDBOX].faults.listing()})


async def delete_faults(request: web.Request) -> web.Response:
    """DELETE /sandbox/faults removes all rules → {rules: []}."""
    request.app[SANDBOX].faults.clear()
    return await get_faults(request)


async def post_settings(request: web.Request) -> web.Response:
    """POST /sandbox/settings with the settings to change → all settings.

    A change of `account_update` makes the state of Messenger's tag unknown to the sender again.
    """
    sandbox = request.app[SANDBOX]
    changes = await read_object(request)
    try:
        sandbox.settings = SandboxSettings.model_validate(sandbox.settings.model_dump() | changes)
    except ValidationError as error:
        raise refused(error, SandboxSettings) from error
    sandbox.callbacks.retry_ms = sandbox.settings.callback_retry_ms
    if "account_update" in changes:
        sandbox.told_dead = frozenset()
    return await get_settings(request)


async def get_settings(request: web.Request) -> web.Response:
    """GET /sandbox/settings → all settings."""
    return web.json_response(request.app[SANDBOX].settings.model_dump(mode="json"))


async def post_templates(request: web.Request) -> web.Response:
    """POST /sandbox/templates {sid, approved} changes an approval, as Meta may.

    It returns {sid, approved}.
    """
    sandbox, wish = request.app[SANDBOX], await read(request, _Approval)
    if wish.sid not in sandbox.templates:
        raise bad("the sandbox has no template with that sid: name it in the configuration")
    sandbox.templates[wish.sid] = sandbox.templates[wish.sid].model_copy(
        update={"approved": wish.approved}
    )
    sandbox.changed_templates |= {wish.sid}
    return web.json_response({"sid": wish.sid, "approved": wish.approved})


async def post_people(request: web.Request) -> web.Response:
    """POST /sandbox/people changes what the sandbox remembers of a person.

    {from, to, wrote_ago_ms?, stopped?, user_id?, account?} → {person}.
    """
    sandbox, wish = request.app[SANDBOX], await read(request, _Person)
    account = wish.account or next(iter(sandbox.accounts))
    if wish.user_id is not None:
        sandbox.people.link(wish.from_, f"whatsapp:{wish.user_id}")
    person = sandbox.people.at(wish.from_)
    if wish.wrote_ago_ms is not None:
        person.write(wish.to, sandbox.outbox.now_ms() - wish.wrote_ago_ms)
    if wish.stopped is True:
        person.blocked.add(wish.to)
        person.stopped.add((account, channel_of(wish.from_)))
    elif wish.stopped is False:
        person.start(account, {wish.to}, channel_of(wish.from_))
    return web.json_response({"person": sandbox.label(wish.from_)})


async def get_messages(request: web.Request) -> web.Response:
    """GET /sandbox/messages?to=&from=&id=&limit= → {messages: […]}.

    Newest first, at most `limit`, or 100 without it.
    """
    sandbox, query = request.app[SANDBOX], request.query
    limit = int(query["limit"]) if query.get("limit", "").isdigit() else _MAX_LISTED_MESSAGES
    found: list[dict[str, object]] = []
    for held in sandbox.messages.newest_first(to=query.get("to"), sender=query.get("from")):
        if len(found) >= limit:
            break
        if "id" not in query or held.message_id == query["id"]:
            found.append(_shown(held))
    return web.json_response({"messages": found})


async def get_stats(request: web.Request) -> web.Response:
    """GET /sandbox/stats → counters. `callbacks_pending` 0 means that no callback will follow."""
    sandbox = request.app[SANDBOX]
    return web.json_response(
        {
            "posts": sandbox.requests["create"],
            "lists": sandbox.requests["list"],
            "fetches": sandbox.requests["fetch"],
            "accepted": sandbox.counts["accepted"],
            "not_accepted": sandbox.counts["not_accepted"],
            "codes": _part(sandbox.counts, "code:"),
            "violations": _part(sandbox.counts, "violation:"),
            "inbounds": _part(sandbox.counts, "inbound:"),
            "faults": dict(sandbox.faults.hits),
            "callbacks": dict(sandbox.callbacks.counts),
            "callbacks_pending": sandbox.callbacks.pending,
            "held": len(sandbox.messages),
            "in_flight": sandbox.in_flight,
        }
    )


async def get_idle(request: web.Request) -> web.Response:
    """GET /sandbox/idle → {callbacks_pending}.

    It answers when no callback is left to post, at the latest after 60 s.
    """
    callbacks = request.app[SANDBOX].callbacks
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_MAX_WAIT_SECONDS):
            await callbacks.drained()
    return web.json_response({"callbacks_pending": callbacks.pending})


async def get_health(_request: web.Request) -> web.Response:
    """GET /sandbox/health → {ok: true}."""
    return web.json_response({"ok": True})


ROUTES: Final = (
    web.post("/sandbox/say", post_say),
    web.post("/sandbox/clock", post_clock),
    web.get("/sandbox/clock", get_clock),
    web.post("/sandbox/faults", post_faults),
    web.get("/sandbox/faults", get_faults),
    web.delete("/sandbox/faults", delete_faults),
    web.post("/sandbox/settings", post_settings),
    web.get("/sandbox/settings", get_settings),
    web.post("/sandbox/templates", post_templates),
    web.post("/sandbox/people", post_people),
    web.get("/sandbox/messages", get_messages),
    web.get("/sandbox/stats", get_stats),
    web.get("/sandbox/idle", get_idle),
    web.get("/sandbox/health", get_health),
)


def _shown(held: StoredMessage) -> dict[str, object]:
    return {
        "sid": held.sid,
        "id": held.message_id,
        "attempt": held.attempt,
        "to": held.to,
        "from": held.sender,
        "form": held.form,
        "tag": held.tag,
        "body": held.body,
        "status": held.status,
        "error_code": held.error_code,
        "direction": held.direction,
        "created_ms": held.created_ms,
    }


def _part(counts: dict[str, int], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): count
        for name, count in counts.items()
        if name.startswith(prefix)
    }
