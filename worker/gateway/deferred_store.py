"""Lets a gateway listen before its store is open.

A health probe then finds a process that is alive but not ready.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from aiohttp import web
from redis.exceptions import RedisError

from worker.gateway.context import GatewayContext, GatewayStore
from worker.gateway.endpoint_kind import Endpoint, endpoint_of
from worker.gateway.health import NOT_ANSWERED, StoreNotOpenError
from worker.gateway.inbound_endpoint import InboundEndpoint
from worker.gateway.inbound_form import InboundForm
from worker.gateway.request import SignedRequest
from worker.gateway.status_endpoint import StatusEndpoint
from worker.ports.people import People
from worker.ports.records import Records
from worker.ports.statuses import Statuses

MAX_SECONDS: Final = 1.0
"""How long a request waits for the store while it is still being opened, as at every start.

After that the gateway returns 503 and Twilio retries.
"""

_CARRIES: Final = {Endpoint.STATUS: "status callbacks", Endpoint.INBOUND: "incoming messages"}


class DeferredStore:
    """A store that the gateway receives once it is open.

    Until then each of its properties raises StoreNotOpenError. `why_closed` returns the reason, or
    None while the store has not answered yet.
    """

    def __init__(
        self,
        store: GatewayStore | None = None,
        why_closed: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._store = store
        self._why_closed = why_closed
        self._opened = asyncio.Event()
        if store is not None:
            self._opened.set()

    def open(self, store: GatewayStore) -> None:
        """Set the open store, and wake every request that waits for it."""
        self._store = store
        self._opened.set()

    def close(self) -> None:
        """Refuse the store to every new request, which then gets 503.

        The requests under way keep the store: they have stored something and must say so.
        """
        self._opened.clear()

    async def opened(self) -> None:
        """Wait until the store is open. Raises StoreNotOpenError after `MAX_SECONDS`."""
        try:
            async with asyncio.timeout(MAX_SECONDS):
                await self._opened.wait()
        except TimeoutError as error:
            raise self._closed() from error

    @property
    def people(self) -> People:
        """The store of what is known about persons."""
        return self._there().people

    @property
    def statuses(self) -> Statuses:
        """The store that status updates are applied to."""
        return self._there().statuses

    @property
    def records(self) -> Records:
        """The store's totals and depths."""
        return self._there().records

    @property
    def records_while_open(self) -> Records:
        """The store's totals and depths, for probes, which get nothing once the store is closed."""
        if not self._opened.is_set():
            raise self._closed()
        return self.records

    def _there(self) -> GatewayStore:
        if self._store is None:
            raise self._closed()
        return self._store

    def _closed(self) -> StoreNotOpenError:
        return StoreNotOpenError(self._why_closed() or NOT_ANSWERED)


class Endpoints:
    """The handlers of Twilio's two URLs.

    The two endpoints are built when the first request finds the store open. Before that, every
    request raises StoreNotOpenError.
    """

    def __init__(self, parts: GatewayContext, store: DeferredStore) -> None:
        self._parts = parts
        self._store = store
        self._under_way = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.made: tuple[StatusEndpoint, InboundEndpoint] | tuple[()] = ()

    async def status(self, signed: SignedRequest) -> web.Response:
        """Return the response to a request at the status URL.

        Raises StoreNotOpenError, or what the endpoint raises.
        """
        return await self._answer(signed, Endpoint.STATUS)

    async def inbound(self, signed: SignedRequest) -> web.Response:
        """Return the response to a request at the inbound URL.

        Raises StoreNotOpenError, or what the endpoint raises.
        """
        return await self._answer(signed, Endpoint.INBOUND)

    async def _answer(self, signed: SignedRequest, came_by: Endpoint) -> web.Response:
        async with self._writing() as (status, inbound):
            endpoint = endpoint_of(signed.params, came_by)
            response = await (status if endpoint is Endpoint.STATUS else inbound).answer(signed)
            if endpoint is not came_by:
                await self._misdirected(signed, came_by, endpoint)
            return response

    async def _misdirected(
        self, signed: SignedRequest, came_by: Endpoint, endpoint: Endpoint
    ) -> None:
        """Count and log a request that came to the wrong URL.

        The endpoint has already stored its content, whether or not the count succeeds.
        """
        parts = self._parts
        parts.metrics.misdirected(came_by)
        parts.log.error(
            "misdirected",
            came_by=came_by.value,
            belongs_to=endpoint.value,
            account=signed.account.name,
            remedy=f"in Twilio's console, set the URL of {_CARRIES[endpoint]} "
            f"to /twilio/{endpoint.value}",
        )
        try:
            await parts.store.records.note_misdirected(came_by.value)
        except (RedisError, OSError) as error:
            parts.metrics.failing("misdirected")
            parts.log.warning("failing", part="misdirected", error=type(error).__name__)

    async def apply_missed(self, account: str, form: InboundForm, received_at: datetime) -> None:
        """Apply an inbound message that Twilio did not deliver to any gateway.

        Raises StoreNotOpenError, or what the store raises.
        """
        async with self._writing() as (_, inbound):
            await inbound.apply(account, form, received_at)

    async def finish(self) -> None:
        """Wait until nothing here writes to the store any more: no request, and no batch.

        Each request has its time limit. The wait for each endpoint's batches has the same one.
        """
        await self._is_idle.wait()
        for endpoint in self.made:
            try:
                await endpoint.drained(self._parts.settings.gateway.timeout_seconds)
            except TimeoutError:
                # These requests got a 503 long ago, so Twilio sends them again.
                self._parts.log.warning("stopped_without_store")

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[tuple[StatusEndpoint, InboundEndpoint]]:
        """Yield the endpoints to a caller that may write until the block ends."""
        await self._store.opened()
        if not self.made:
            self.made = StatusEndpoint(self._parts), InboundEndpoint(self._parts)
        self._under_way += 1
        self._is_idle.clear()
        try:
            yield self.made
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._is_idle.set()
