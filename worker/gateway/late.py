"""A gateway listens before its store is open, so that whoever probes it finds a process that is alive and not ready."""

import asyncio
from datetime import datetime
from typing import Final

from aiohttp import web
from redis.exceptions import RedisError

from worker.gateway.endpoint import Endpoint, endpoint_of
from worker.gateway.inbound import InboundEndpoint
from worker.gateway.inbound_form import InboundForm
from worker.gateway.parts import GatewayStore, Parts
from worker.gateway.request import SignedRequest
from worker.gateway.status import StatusEndpoint
from worker.gateway.view import StoreNotOpenError
from worker.ports import People, Records, Statuses

LONGEST_SECONDS: Final = 1.0
"""A request that comes while the store is being opened, as at every start, waits so long; then Twilio comes again."""

_CARRIES: Final = {Endpoint.STATUS: "status callbacks", Endpoint.INBOUND: "incoming messages"}


class LateStore:
    """A store that is handed over once it is open. Until then each of its parts raises StoreNotOpenError."""

    def __init__(self, store: GatewayStore | None = None) -> None:
        self._store = store
        self._opened = asyncio.Event()
        if store is not None:
            self._opened.set()

    def open(self, store: GatewayStore) -> None:
        """Hand over the store, and let go on who waits for it."""
        self._store = store
        self._opened.set()

    async def opened(self) -> None:
        """Wait for the store, a moment at most. Raises StoreNotOpenError."""
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._opened.wait()
        except TimeoutError as error:
            raise StoreNotOpenError from error

    @property
    def people(self) -> People:
        """What is known about persons."""
        return self._there().people

    @property
    def statuses(self) -> Statuses:
        """Where statuses are applied."""
        return self._there().statuses

    @property
    def records(self) -> Records:
        """Totals and depths."""
        return self._there().records

    def _there(self) -> GatewayStore:
        if self._store is None:
            raise StoreNotOpenError
        return self._store


class Endpoints:
    """What answers Twilio. Made when the first request finds the store open; before that nothing is taken in."""

    def __init__(self, parts: Parts, store: LateStore) -> None:
        self._parts = parts
        self._store = store
        self.made: tuple[StatusEndpoint, InboundEndpoint] | tuple[()] = ()

    async def status(self, signed: SignedRequest) -> web.Response:
        """Answer what came to the status URL. Raises StoreNotOpenError, or what the endpoint raises."""
        return await self._answer(signed, Endpoint.STATUS)

    async def inbound(self, signed: SignedRequest) -> web.Response:
        """Answer what came to the inbound URL. Raises StoreNotOpenError, or what the endpoint raises."""
        return await self._answer(signed, Endpoint.INBOUND)

    async def _answer(self, signed: SignedRequest, came_by: Endpoint) -> web.Response:
        status, inbound = await self._both()
        endpoint = endpoint_of(signed.params, came_by)
        response = await (status if endpoint is Endpoint.STATUS else inbound).answer(signed)
        if endpoint is not came_by:
            await self._misdirected(signed, came_by, endpoint)
        return response

    async def _misdirected(self, signed: SignedRequest, came_by: Endpoint, endpoint: Endpoint) -> None:
        """Count and log a request at the wrong URL. What it brought is stored, whether or not the count succeeds."""
        parts = self._parts
        parts.meter.misdirected(came_by)
        parts.log.error(
            "misdirected",
            came_by=came_by.value,
            belongs_to=endpoint.value,
            account=signed.account.name,
            remedy=f"in Twilio's console, set the URL of {_CARRIES[endpoint]} to /twilio/{endpoint.value}",
        )
        try:
            await parts.store.records.note_misdirected(came_by.value)
        except (RedisError, OSError) as error:
            parts.meter.failing("misdirected")
            parts.log.warning("failing", part="misdirected", error=type(error).__name__)

    async def apply_missed(self, account: str, form: InboundForm, received_at: datetime) -> None:
        """Apply what a person wrote and nobody delivered. Raises StoreNotOpenError, or what the store raises."""
        await (await self._both())[1].apply(account, form, received_at)

    async def _both(self) -> tuple[StatusEndpoint, InboundEndpoint]:
        await self._store.opened()
        if not self.made:
            self.made = StatusEndpoint(self._parts), InboundEndpoint(self._parts)
        return self.made
