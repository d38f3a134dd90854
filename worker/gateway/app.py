"""The gateway as an aiohttp application: routes, what every request gets, health and metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from policies.rules import Rules
from sendwindow.errors import NotDurable
from worker.clock import perf
from worker.gateway.forms import GarbageError
from worker.gateway.inbound import INBOUND_PATH
from worker.gateway.late import Endpoints, LateStore
from worker.gateway.missed import Missed
from worker.gateway.parts import GatewayStore, Parts
from worker.gateway.request import RefusedError, SignedRequest
from worker.gateway.signed import Door
from worker.gateway.status import STATUS_PATH
from worker.gateway.view import JournalView, StoreView
from worker.journal import Journal
from worker.logs import person_labels
from worker.settings import Settings
from worker.telemetry.metrics import CONTENT_TYPE, Metrics, ProcessMetrics
from worker.telemetry.stored import StoredMetrics

Answer = Callable[[SignedRequest], Awaitable[web.Response]]

METER: Final = web.AppKey("meter", ProcessMetrics)
MISSED: Final = web.AppKey("missed", Missed)
DRAINING: Final = web.AppKey("draining", asyncio.Event)


def make_app(
    settings: Settings,
    store: GatewayStore,
    rules: Rules,
    *,
    journal: Journal,
    meter: Metrics,
    log: FilteringBoundLogger,
) -> web.Application:
    """Build the gateway. The store stays the caller's to close, after the gateway has stopped.

    A LateStore may be opened later: until then the gateway is alive, not ready, and answers Twilio 503.
    """
    late = store if isinstance(store, LateStore) else LateStore(store)
    view = JournalView(journal, meter, log)
    parts = Parts(settings, late, rules, journal, meter, log, person_labels(settings.log_key), view)
    app = web.Application()
    app[METER] = meter
    app[DRAINING] = asyncio.Event()
    endpoints = Endpoints(parts, late)
    app[MISSED] = Missed(parts, endpoints.apply_missed)
    door = Door(settings)
    # a proxy may pass on the path of the public URL, or take it away
    for prefix in {"", urlsplit(settings.gateway.public_url).path}:
        for path, answer in ((STATUS_PATH, endpoints.status), (INBOUND_PATH, endpoints.inbound)):
            name = path.rpartition("/")[2]
            handle = _guarded(parts, door, name, path, answer)
            app.router.add_post(prefix + path, handle)
            app.router.add_get(prefix + path, handle, allow_head=False)
            app.router.add_route("*", prefix + path, _other_method(parts, name))
    _add_health(app, late, meter, view, settings.store_place)
    app.on_response_prepare.append(_without_banner)
    app.on_shutdown.append(_drain)

    async def stored(_app: web.Application) -> None:
        for endpoint in endpoints.made:
            try:
                await endpoint.drained(settings.gateway.timeout_seconds)
            except TimeoutError:
                # the requests were answered 503 long ago, so Twilio brings them again
                log.warning("stopped_without_store")

    app.on_cleanup.append(stored)
    return app


def _guarded(
    parts: Parts, door: Door, endpoint: str, path: str, answer: Answer
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Wrap an endpoint in what all of them need: a signature, a time limit, and an answer whatever happens."""
    limit = parts.settings.gateway.timeout_seconds

    async def handle(request: web.Request) -> web.Response:
        began = perf()
        signed: SignedRequest | None = None
        try:
            async with asyncio.timeout(limit):
                async with door.admitted(request, path) as signed:
                    response = await answer(signed)
        except RefusedError as refused:
            return _refused(parts, endpoint, refused)
        except GarbageError as garbage:
            return _refused(parts, endpoint, RefusedError(400, "garbage", str(garbage)))
        except (ConnectionResetError, web.RequestPayloadError):
            # the other side went away or sent a broken body: nobody reads the answer
            return _refused(parts, endpoint, RefusedError(400, "garbage", "the body did not arrive whole"))
        except TimeoutError as error:
            if signed is None:
                return _refused(parts, endpoint, RefusedError(408, "slow", "the body did not arrive in time"))
            return _failed(parts, endpoint, error)
        except Exception as error:  # noqa: BLE001  # whatever failed, it is not stored, and Twilio is to come again
            return _failed(parts, endpoint, error)
        parts.journal_view.look()
        parts.meter.answered(endpoint, perf() - began)
        return response

    return handle


def _other_method(parts: Parts, endpoint: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Refuse every method that Twilio cannot be set to, with a log line and a count."""

    async def handle(_request: web.Request) -> web.Response:
        response = _refused(parts, endpoint, RefusedError(405, "method", "only POST and GET are answered here"))
        response.headers["Allow"] = "GET, POST"
        return response

    return handle


def _refused(parts: Parts, endpoint: str, refused: RefusedError) -> web.Response:
    if refused.reason == "signature":
        parts.meter.signature_failed(endpoint)
    parts.meter.refused(endpoint, refused.reason)
    parts.log.warning("request_refused", endpoint=endpoint, reason=refused.reason, why=refused.sentence)
    return web.Response(status=refused.status, text=refused.sentence + "\n")


def _failed(parts: Parts, endpoint: str, error: Exception) -> web.Response:
    parts.meter.refused(endpoint, "store")
    is_ours = not isinstance(error, OSError | NotDurable) and type(error).__module__.partition(".")[0] != "redis"
    parts.log.error(
        "request_failed", endpoint=endpoint, error=type(error).__name__, exc_info=error if is_ours else None
    )
    return web.Response(status=503, text="not stored; come again\n", headers={"Retry-After": "1"})


def make_health_app(problem: Callable[[], str | None], meter: ProcessMetrics) -> web.Application:
    """Build what a process without a gateway tells an orchestrator. `problem`: why it is not ready, None when it is."""
    app = web.Application()
    app[METER] = meter
    app[DRAINING] = asyncio.Event()

    async def look() -> str | None:
        return problem()

    _add_probes(app, look, meter)
    app.on_response_prepare.append(_without_banner)
    return app


def _add_health(app: web.Application, store: GatewayStore, meter: Metrics, journal: JournalView, place: str) -> None:
    view = StoreView(lambda: store.records, place)
    stored = StoredMetrics(meter.registry)

    async def look() -> str | None:
        journal.look()
        # a full journal is counted and logged; turning traffic away for it would lose the one STOP that comes meanwhile
        await view.look()
        return view.problem or app[MISSED].problem

    async def metrics(request: web.Request) -> web.Response:
        problem = "draining" if request.app[DRAINING].is_set() else await look()
        stored.snapshot = await view.totals()
        stored.is_up = view.problem is None
        meter.ready(is_ready=problem is None)
        return web.Response(body=meter.render(), headers={"Content-Type": CONTENT_TYPE})

    _add_probes(app, look, meter)
    app.router.add_get("/metrics", metrics, allow_head=False)


def _add_probes(app: web.Application, look: Callable[[], Awaitable[str | None]], meter: ProcessMetrics) -> None:
    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(request: web.Request) -> web.Response:
        problem = "draining" if request.app[DRAINING].is_set() else await look()
        meter.ready(is_ready=problem is None)
        body = {"ready": problem is None} | ({} if problem is None else {"problem": problem})
        return web.json_response(body, status=200 if problem is None else 503)

    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)


async def _without_banner(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)


async def _drain(app: web.Application) -> None:
    app[DRAINING].set()
