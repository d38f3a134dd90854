"""A gateway on a real socket with a real store, and a Twilio that signs."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import structlog
from yarl import URL

from tests.support.cast import ACCOUNT_SID, ANNA, MESSAGE_SID, OTHER_ACCOUNT_SID, SHOP
from tests.support.settings_examples import MAIN, settings_of
from tests.support.shipped import rules
from tests.support.stores_world import Place, World, opened
from tests.support.waiting import HANG_SECONDS
from worker.gateway.app import make_app
from worker.gateway.context import GatewayStore
from worker.gateway.server import RunningGateway, serve
from worker.ports.people import People
from worker.ports.records import Records
from worker.ports.statuses import Statuses
from worker.settings.settings import Settings
from worker.stores.ledger import Tuning
from worker.stores.store import Store
from worker.telemetry.journal import PatientJournal
from worker.telemetry.metrics import Metrics
from worker.twilio.signature import sign

TOKEN = "the-token-of-main"
NEW_TOKEN = "the-next-token-of-main"
OTHER_TOKEN = "the-token-of-other"
PUBLIC_URL = "https://hooks.example.com/sw"

Form = Sequence[tuple[str, str]]


def settings_for_tests(**gateway: Any) -> Settings:
    """Return settings of two accounts, a WhatsApp sender and a Page.

    `gateway` overrides that section.
    """
    return settings_of(
        {"TOKEN": TOKEN, "NEW_TOKEN": NEW_TOKEN, "OTHER_TOKEN": OTHER_TOKEN},
        gateway={"public_url": PUBLIC_URL, **gateway},
        accounts={
            "main": MAIN | {"webhook_tokens": ["env:TOKEN", "env:NEW_TOKEN"]},
            "other": {"account_sid": OTHER_ACCOUNT_SID, "auth_token": "env:OTHER_TOKEN"},
        },
    )


def status_form(status: str = "sent", **changes: str | None) -> Form:
    """Return Twilio's form of a status. A change to None leaves the parameter out."""
    form: dict[str, str | None] = {
        "ApiVersion": "2010-04-01",
        "AccountSid": ACCOUNT_SID,
        "MessageSid": MESSAGE_SID,
        "SmsSid": MESSAGE_SID,
        "MessageStatus": status,
        "SmsStatus": status,
        "From": SHOP,
        "To": ANNA,
        "ChannelPrefix": "whatsapp",
    }
    form |= changes
    return [(name, value) for name, value in form.items() if value is not None]


def inbound_form(body: str = "hello", **changes: str | None) -> Form:
    """Return Twilio's form of an inbound message."""
    form: dict[str, str | None] = {
        "AccountSid": ACCOUNT_SID,
        "MessageSid": "SM" + "b" * 32,
        "From": ANNA,
        "To": SHOP,
        "Body": body,
        "NumMedia": "0",
        "SmsStatus": "received",
        "ProfileName": "Anna",
        "WaId": "14155550123",
    }
    form |= changes
    return [(name, value) for name, value in form.items() if value is not None]


class Twilio:
    """Signs and sends as Twilio does: it knows the public URL and connects to the gateway's
    port.
    """

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self.port = port

    async def post(
        self,
        path: str,
        form: Form,
        *,
        token: str = TOKEN,
        signed: Form | None = None,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """POST a form. `signed` is signed in its place, and `url` in place of the URL."""
        signature = sign(token, url or PUBLIC_URL + path, form if signed is None else signed)
        return await self.send(
            "POST",
            path,
            urlencode(form).encode(),
            {
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Twilio-Signature": signature,
                **(headers or {}),
            },
        )

    async def status(
        self, status: str = "sent", query: str = "?m=m1&a=1", **changes: str | None
    ) -> int:
        """Report a status of attempt 1 of message m1."""
        return (await self.post("/twilio/status" + query, status_form(status, **changes)))[0]

    async def inbound(self, body: str = "hello", **changes: str | None) -> tuple[int, str]:
        """Deliver an inbound message."""
        return await self.post("/twilio/inbound", inbound_form(body, **changes))

    async def get(self, path: str, form: Form, token: str = TOKEN) -> int:
        """GET with the parameters in the query."""
        target = path + ("&" if "?" in path else "?") + urlencode(form)
        return (
            await self.send(
                "GET", target, None, {"X-Twilio-Signature": sign(token, PUBLIC_URL + target)}
            )
        )[0]

    async def post_json(self, path: str, value: object, *, body: bytes | None = None) -> int:
        """POST a JSON body with its digest in the signed query. `body` replaces the signed body."""
        text = json.dumps(value).encode()
        target = f"{path}{'&' if '?' in path else '?'}bodySHA256={hashlib.sha256(text).hexdigest()}"
        headers = {
            "Content-Type": "application/json",
            "X-Twilio-Signature": sign(TOKEN, PUBLIC_URL + target),
        }
        return (await self.send("POST", target, text if body is None else body, headers))[0]

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Send any request, return status and text, and check what all answers share."""
        url = URL(f"http://127.0.0.1:{self.port}{target}", encoded=True)
        data = None if body is None else io.BytesIO(body)
        async with self._session.request(method, url, data=data, headers=headers) as response:
            text = await response.text()
            assert not response.headers.get("Server")
            assert "Traceback" not in text
            return response.status, text


class Between:
    """Stands between gateway and store. A part that a test sets here replaces the store's own."""

    def __init__(self, store: Store) -> None:
        self.people: People = store.people
        self.statuses: Statuses = store.statuses
        self.records: Records = store.records


class Scene:
    """A running gateway with everything around it."""

    def __init__(
        self, world: World, gateway: RunningGateway, twilio: Twilio, metrics: Metrics
    ) -> None:
        self.world = world
        self.gateway = gateway
        self.twilio = twilio
        self.metrics = metrics
        self.logged = io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return every log line."""
        return [json.loads(line) for line in self.logged.getvalue().splitlines()]

    def logged_events(self) -> list[str]:
        return [line["event"] for line in self.lines]


@asynccontextmanager
async def gateway_at(
    place: Place,
    *,
    journal: Path | None = None,
    wrap: Callable[[Store], GatewayStore] | None = None,
    tuning: Tuning | None = None,
    **gateway: Any,
) -> AsyncIterator[Scene]:
    """Run a gateway with the store under test, or with what `wrap` makes of it.

    `gateway`: its settings.
    """
    async with opened(place, tuning=tuning or Tuning()) as world:
        used = world.store if wrap is None else wrap(world.store)
        async with serving(world, used, journal, gateway) as scene:
            yield scene


@asynccontextmanager
async def serving(
    world: World, store: GatewayStore, journal: Path | None, overrides: Mapping[str, Any]
) -> AsyncIterator[Scene]:
    """Serve on a free port until the block ends."""
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(out), processors=[structlog.processors.add_log_level, _as_json]
    )
    metrics = Metrics()
    written = PatientJournal(journal, "gateway")
    app = make_app(
        settings_for_tests(**overrides), store, rules(), journal=written, metrics=metrics, log=log
    )
    gateway = await serve(app, "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            scene = Scene(world, gateway, Twilio(session, gateway.port), metrics)
            scene.logged = out
            yield scene
    finally:
        await asyncio.wait_for(gateway.stop(), HANG_SECONDS)
        written.close()


def _as_json(_logger: object, _method: str, event: Any) -> str:
    event.pop("exc_info", None)
    return json.dumps(event, default=str)


def journal_lines(path: Path) -> list[dict[str, Any]]:
    """Read a journal back."""
    return [json.loads(line) for line in path.read_text().splitlines()]
