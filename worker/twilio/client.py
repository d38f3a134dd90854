"""The only module that sends HTTP requests to the Messages API.

It makes no decisions: it sends forms, and returns what the responses prove.
"""

import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote_plus

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from policies.error_catalogue import Operation
from worker.ports.posts import CreateMessage, Reply
from worker.runtime.clock import monotonic
from worker.settings.accounts import Account
from worker.twilio.departure import DEPARTURE, Departure, GatedConnector
from worker.twilio.messages import (
    InboundListing,
    InboundRow,
    Listing,
    MessageRow,
    is_newest_first,
    read_message,
    read_page,
)
from worker.twilio.replies import (
    MAX_ANSWER_BYTES,
    PERMIT_LAPSED,
    read_answer,
    read_error,
    read_failure,
)

_MAX_PAGE_BYTES: Final = 8 * 1024 * 1024
_PAGE_SIZE: Final = 500
_READ_CONNECTIONS: Final = 8


class ReadFailed(Exception):
    """A list or a fetch got no usable response. The caller asks again later.

    `status` is None when there was no response at all.

    `code` is Twilio's error code. It is None when the response was not Twilio's or had no code.
    What the code means depends on `operation`; `policies.error_catalogue` decides it.
    """

    def __init__(
        self, detail: str, operation: Operation, status: int | None = None, code: int | None = None
    ) -> None:
        super().__init__(f"reading from Twilio failed ({detail}); it is tried again later")
        self.operation = operation
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class _AccountSession:
    """What is the same for every POST of an account. It is built once."""

    messages: URL
    origin: URL
    headers: CIMultiDict[str] = field(repr=False)
    proxy: URL | None = None
    proxy_headers: Mapping[str, str] | None = field(default=None, repr=False)


class TwilioClient:
    """Creates, fetches and lists messages. Use it as an async context manager, once per process.

    `slots` bounds the connections for POSTs. Lists and fetches have a few connections of their own,
    so that a search for evidence never delays a POST.

    Timeouts are in seconds. `read_timeout` is about 30 s, because Twilio has been seen to take
    26 s. `keepalive` is how long an idle connection is kept; 0 means one connection per request. It
    must be shorter than the servers' own limit (60 s and more): if a server closes a connection
    during a POST, the outcome of that POST is unproven.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        *,
        slots: int = 25,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        keepalive: float = 15.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._doors = {name: _door(account) for name, account in accounts.items()}
        self._slots = slots
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._timeout = self._timeout_for(connect_timeout)
        self._keepalive = keepalive
        self._sees_writes = False
        self._tls = tls
        self._posts: aiohttp.ClientSession | None = None
        self._reads: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._posts = self._session(self._slots)
        self._reads = self._session(_READ_CONNECTIONS)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for session in (self._posts, self._reads):
            if session is not None:
                await session.close()

    async def create(self, message: CreateMessage, *, start_by: float | None = None) -> Reply:
        """POST one message. Raises nothing, whatever the network or Twilio does.

        `start_by` is in seconds of this process's monotonic clock. From then on no first byte is
        sent.
        """
        door = self._doors[message.account]
        timeout = self._timeout
        if start_by is not None:
            left = start_by - monotonic()
            if left <= 0:
                return PERMIT_LAPSED
            if left < self._connect_timeout:
                timeout = self._timeout_for(left)
        # Parameter names are plain ASCII, so only the values are encoded. That is half of the work
        # of urlencode.
        body = "&".join([f"{name}={quote_plus(value)}" for name, value in message.form]).encode(
            "ascii"
        )
        departure = Departure(start_by)
        mark = DEPARTURE.set(departure)
        try:
            async with _open(self._posts).post(
                door.messages,
                data=body,
                headers=door.headers,
                timeout=timeout,
                allow_redirects=False,
                proxy=door.proxy,
                proxy_headers=door.proxy_headers,
            ) as response:
                answer, complete = await _bounded(response, MAX_ANSWER_BYTES)
        except Exception as error:  # noqa: BLE001 -- bytes may have left: return a Reply
            departure.end()
            return departure.conclude(read_failure(error), is_trusted=self._sees_writes)
        finally:
            departure.end()
            DEPARTURE.reset(mark)
        # A future release of aiohttp may write without passing the gate. Then an answered POST has
        # no write that the gate saw, and from then on an unseen write proves nothing.
        self._sees_writes = departure.has_left
        to = dict(message.form).get("To", "")
        return read_answer(response.status, response.headers, answer, complete=complete, to=to)

    async def fetch(self, account: str, message_sid: str) -> MessageRow:
        """Fetch one message.

        Raises ReadFailed, also when Twilio has no message with that SID; `code` then says so.
        """
        door = self._doors[account]
        url = door.messages.parent / "Messages" / f"{message_sid}.json"
        status, body = await self._get(door, url, Operation.FETCH)
        row = read_message(body) if status == 200 else None
        if row is None:
            raise ReadFailed(
                "a message could not be read", Operation.FETCH, status, read_error(status, body)
            )
        return row

    async def list_messages(
        self, account: str, *, to: str | None, from_address: str, since: datetime, max_requests: int
    ) -> Listing:
        """List messages by From, and by To if given, newest pages first.

        Sends at most `max_requests` requests. The listing is complete when the last page was read,
        or when all rows came newest first and reach back before `since`.

        Twilio's date filter is not used: it compares the date sent, which is empty while a message
        is queued ("Messages resource", read 2026-11-20). Rows are returned unfiltered, because
        Twilio may write an address in another form, or ignore a filter. Raises ReadFailed.
        """
        door = self._doors[account]
        query = {"From": from_address, "PageSize": str(_PAGE_SIZE)} | (
            {"To": to} if to is not None else {}
        )
        url: URL | None = door.messages.with_query(query)
        rows: list[MessageRow] = []
        requests = 0
        is_complete = is_whole = False
        while url is not None and requests < max_requests and not is_complete:
            status, body = await self._get(door, url, Operation.LIST)
            requests += 1
            page = read_page(body) if status == 200 else None
            if page is None:
                raise ReadFailed(
                    "a page of messages could not be read",
                    Operation.LIST,
                    status,
                    read_error(status, body),
                )
            rows.extend(page.rows)
            url = _next_page(door, page.next_page)
            reaches_back = bool(rows) and rows[-1].created_at < since and is_newest_first(rows)
            is_whole = page.next_page is None
            is_complete = is_whole or reaches_back
        return Listing(tuple(rows), is_complete, requests, is_whole)

    async def list_inbound(
        self, account: str, since: datetime, max_requests: int
    ) -> InboundListing:
        """List what persons wrote to an account since an instant, oldest first.

        Sends at most `max_requests` requests. It reads every message of the account and selects the
        inbound ones here, because Twilio does not document whether its filters match a `whatsapp:`
        address or the date of an inbound message ("Messages resource", read 2026-11-20). Raises
        ReadFailed.
        """
        door = self._doors[account]
        url: URL | None = door.messages.with_query({"PageSize": str(_PAGE_SIZE)})
        found: dict[str, InboundRow] = {}
        dates: list[datetime] = []
        requests, is_whole = 0, True
        is_complete = False
        while url is not None and requests < max_requests and not is_complete:
            status, body = await self._get(door, url, Operation.LIST)
            requests += 1
            page = read_page(body) if status == 200 else None
            if page is None:
                raise ReadFailed(
                    "a page of messages could not be read",
                    Operation.LIST,
                    status,
                    read_error(status, body),
                )
            found |= {row.message_sid: row for row in page.inbounds if row.created_at >= since}
            is_whole = is_whole and page.has_all_inbounds
            dates.extend(page.dates)
            url = _next_page(door, page.next_page)
            reaches_back = (
                bool(dates) and dates[-1] < since and dates == sorted(dates, reverse=True)
            )
            is_complete = page.next_page is None or reaches_back
        # Among messages of the same second, Twilio lists the newest first.
        oldest_first = list(found.values())[::-1]
        rows = tuple(sorted(oldest_first, key=lambda row: row.created_at))
        return InboundListing(rows, is_complete and is_whole, requests)

    async def _get(
        self, door: _AccountSession, url: URL, operation: Operation
    ) -> tuple[int, bytes]:
        try:
            async with _open(self._reads).get(
                url,
                headers=door.headers,
                timeout=self._timeout,
                allow_redirects=False,
                proxy=door.proxy,
                proxy_headers=door.proxy_headers,
            ) as response:
                body, complete = await _bounded(response, _MAX_PAGE_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ReadFailed(type(error).__name__, operation) from None
        if not complete:
            raise ReadFailed("answer too long", operation, response.status)
        return response.status, body

    def _timeout_for(self, connect: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=self._connect_timeout + self._read_timeout,
            connect=connect,
            sock_read=self._read_timeout,
        )

    def _session(self, connections: int) -> aiohttp.ClientSession:
        # aiohttp rejects a keepalive time together with force_close.
        kept: dict[str, Any] = (
            {"keepalive_timeout": self._keepalive} if self._keepalive else {"force_close": True}
        )
        connector = GatedConnector(
            limit=connections, ssl=self._tls if self._tls is not None else True, **kept
        )
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _open(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    if session is None:
        raise RuntimeError("the Twilio client is not open; use `async with TwilioClient(...)`")
    return session


def _door(account: Account) -> _AccountSession:
    credentials = b64encode(f"{account.username}:{account.password}".encode()).decode("ascii")
    headers = CIMultiDict(
        {
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "sendwindow",
        }
    )
    base = URL(account.base_url)
    messages = (
        URL(account.base_url.rstrip("/"))
        / "2010-04-01"
        / "Accounts"
        / account.account_sid
        / "Messages.json"
    )
    if account.proxy is None:
        return _AccountSession(messages, base.origin(), headers)
    proxy = URL(account.proxy)
    login = _proxy_login(proxy)
    if base.scheme == "http":
        # Plain HTTP has no tunnel, so the proxy reads its credentials from the request itself.
        headers.update(login)
    return _AccountSession(messages, base.origin(), headers, proxy.with_user(None), login)


def _proxy_login(proxy: URL) -> dict[str, str]:
    if proxy.user is None:
        return {}
    credentials = b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode("ascii")
    return {"Proxy-Authorization": f"Basic {credentials}"}


def _next_page(door: _AccountSession, path: str | None) -> URL | None:
    """Return the URL of the next page. Raises ReadFailed for another host.

    The credentials of the account must not go to another host.
    """
    if path is None:
        return None
    url = door.origin.join(URL(path, encoded=True))
    if url.origin() != door.origin:
        raise ReadFailed("the next page is on another host", Operation.LIST)
    return url


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """Read at most `limit` bytes. The second value is False when the body is longer."""
    length = response.content_length
    if length is not None and length <= limit and "Content-Encoding" not in response.headers:
        return await response.read(), True
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > limit:
            response.close()
            return b"".join(parts)[:limit], False
    return b"".join(parts), True
