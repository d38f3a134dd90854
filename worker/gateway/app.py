"""Builds the gateway's aiohttp application: routes, request handling, health and metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from policies.ruleset import Ruleset
from sendwindow.errors import NotDurable
from worker.gateway.authentication import RequestAuthenticator
from worker.gateway.context import GatewayContext, GatewayStore
from worker.gateway.deferred_store import DeferredStore, Endpoints
from worker.gateway.forms import GarbageError
from worker.gateway.health import JournalHealth, StoreHealth
from worker.gateway.inbound_endpoint import INBOUND_PATH
from worker.gateway.missed_inbound import MissedInbound
from worker.gateway.request import RefusedError, SignedRequest
from worker.gateway.status_endpoint import STATUS_PATH
from worker.runtime.clock import perf
from worker.settings.settings import Settings
from worker.telemetry.journal import Journal
from worker.telemetry.logs import person_labels
from worker.telemetry.metrics import CONTENT_TYPE, Metrics, ProcessMetrics
from worker.telemetry.stored_metrics import StoredMetrics

Respond = Callable[[SignedRequest], Awaitable[web.Response]]

METER: Final = web.AppKey("meter", ProcessMetrics)
ENDPOINTS: Final = web.AppKey("endpoints", Endpoints)
MISSED: Final = web.AppKey("missed", MissedInbound)
DRAINING: Final = web.AppKey("draining", asyncio.Event)


def make_app(
    settings: Settings,
    store: GatewayStore,
    rules: Ruleset,
    *,
    journal: Journal,
    metrics: Metrics,
    log: FilteringBoundLogger,
) -> web.Application:
    """Build the gateway. The caller closes the store after the gateway has stopped.

    `store` may be a DeferredStore that is opened later. Until it is open, the gateway is alive but
    not ready, and returns 503 to Twilio.
    """
    late = store if isinstance(store, DeferredStore) else DeferredStore(store)
    view = JournalHealth(journal, metrics, log)
    parts = GatewayContext(
        settings, late, rules, journal, metrics, log, person_labels(settings.log_key), view
    )
    app = web.Application()
    app[METER] = metrics
    app[DRAINING] = asyncio.Event()
    endpoints = app[ENDPOINTS] = Endpoints(parts, late)
    app[MISSED] = MissedInbound(parts, endpoints.apply_missed)
    door = RequestAuthenticator(settings)
    # A proxy may pass on the path of the public URL or strip it, so both forms are routed.
    for prefix in {"", urlsplit(settings.gateway.public_url).path}:
        for path, answer in ((STATUS_PATH, endpoints.status), (INBOUND_PATH, endpoints.inbound)):
            name = path.rpartition("/")[2]
            handle = _guarded(parts, door, name, path, answer)
            app.router.add_post(prefix + path, handle)
            app.router.add_get(prefix + path, handle, allow_head=False)
            app.router.add_route("*", prefix + path, _other_method(parts, name))
    _add_health(app, late, metrics, view, settings.store_place)
    app.on_response_prepare.append(_without_banner)
    app.on_shutdown.append(_drain)

    async def stored(_app: web.Application) -> None:
        await endpoints.finish()

    app.on_cleanup.append(stored)
    return app


def _guarded(
    parts: GatewayContext, door: RequestAuthenticator, endpoint: str, path: str, answer: Respond
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Wrap an endpoint in the signature check, the time limit and the error responses.

    The handler always returns a response, whatever the endpoint raises.
    """
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
            # Twilio disconnected or sent a broken body, so no client reads this response.
            return _refused(
                parts, endpoint, RefusedError(400, "garbage", "the body did not arrive completely")
            )
        except TimeoutError as error:
            if signed is None:
                return _refused(
                    parts, endpoint, RefusedError(408, "slow", "the body did not arrive in time")
                )
            return _failed(parts, endpoint, error)
        except Exception as error:  # noqa: BLE001  # nothing was stored, so Twilio must retry
            return _failed(parts, endpoint, error)
        parts.journal_view.look()
        parts.metrics.answered(endpoint, perf() - began)
        return response

    return handle


def _other_method(
    parts: GatewayContext, endpoint: str
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Build the handler that refuses methods which Twilio cannot be configured to use.

    It logs and counts each refused request.
    """

    async def handle(_request: web.Request) -> web.Response:
        response = _refused(
            parts, endpoint, RefusedError(405, "method", "only POST and GET are allowed here")
        )
        response.headers["Allow"] = "GET, POST"
        return response

    return handle


def _refused(parts: GatewayContext, endpoint: str, refused: RefusedError) -> web.Response:
    if refused.reason == "signature":
        parts.metrics.signature_failed(endpoint)
    parts.metrics.refused(endpoint, refused.reason)
    parts.log.warning(
        "request_refused", endpoint=endpoint, reason=refused.reason, why=refused.sentence
    )
    return web.Response(status=refused.status, text=refused.sentence + "\n")


def _failed(parts: GatewayContext, endpoint: str, error: Exception) -> web.Response:
    parts.metrics.refused(endpoint, "store")
    is_ours = (
        not isinstance(error, OSError | NotDurable)
        and type(error).__module__.partition(".")[0] != "redis"
    )
    parts.log.error(
        "request_failed",
        endpoint=endpoint,
        error=type(error).__name__,
        exc_info=error if is_ours else None,
    )
    return web.Response(
        status=503, text="not stored; try again later\n", headers={"Retry-After": "1"}
    )


def make_health_app(problem: Callable[[], str | None], metrics: ProcessMetrics) -> web.Application:
    """Build the health and metrics endpoints of a process that has no gateway.

    `problem` returns why the process is not ready, or None when it is ready.
    """
    app = web.Application()
    app[METER] = metrics
    app[DRAINING] = asyncio.Event()

    async def look() -> str | None:
        return problem()

    _add_probes(app, look, metrics)
    app.on_response_prepare.append(_without_banner)
    return app


def _add_health(
    app: web.Application, store: DeferredStore, metrics: Metrics, journal: JournalHealth, place: str
) -> None:
    view = StoreHealth(lambda: store.records_while_open, place)
    stored = StoredMetrics(metrics.registry)

    async def look() -> str | None:
        journal.look()
        # A full journal is counted and logged, but the gateway stays ready. If it refused traffic,
        # it could lose a STOP that arrives in the meantime.
        await view.look()
        return view.problem or app[MISSED].problem

    async def show_metrics(request: web.Request) -> web.Response:
        problem = "draining" if request.app[DRAINING].is_set() else await look()
        stored.snapshot = await view.totals()
        stored.is_up = view.problem is None
        metrics.ready(is_ready=problem is None)
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    _add_probes(app, look, metrics)
    app.router.add_get("/metrics", show_metrics, allow_head=False)


def _add_probes(
    app: web.Application, look: Callable[[], Awaitable[str | None]], metrics: ProcessMetrics
) -> None:
    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(request: web.Request) -> web.Response:
        problem = "draining" if request.app[DRAINING].is_set() else await look()
        metrics.ready(is_ready=problem is None)
        body = {"ready": problem is None} | ({} if problem is None else {"problem": problem})
        return web.json_response(body, status=200 if problem is None else 503)

    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)


async def _without_banner(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)


async def _drain(app: web.Application) -> None:
    app[DRAINING].set()
