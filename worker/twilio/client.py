"""The only module that sends HTTP requests to the Messages API.

It makes no decisions: it sends forms, and returns what the responses prove.
"""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote_plus

import aiohttp
from yarl import URL

from policies.error_catalogue import Operation
from worker.ports.breakers import AccountAnswer
from worker.ports.posts import CreateMessage, Reply
from worker.runtime.clock import monotonic
from worker.settings.accounts import Account
from worker.twilio.account_access import AccountAccess, access_to
from worker.twilio.departure import DEPARTURE, Departure, GatedConnector
from worker.twilio.messages import (
    InboundListing,
    InboundRow,
    Listing,
    MessageRow,
    Page,
    ReadFailed,
    is_newest_first,
    read_message,
    read_page,
)
from worker.twilio.replies import (
    MAX_ANSWER_BYTES,
    PERMIT_LAPSED,
    read_account,
    read_answer,
    read_error,
    read_failure,
)

_MAX_PAGE_BYTES: Final = 8 * 1024 * 1024
_PAGE_MESSAGES: Final = 500
_MAX_READ_CONNECTIONS: Final = 8
_MAX_QUESTION_SECONDS: Final = 4.0


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
        self._accounts = {name: access_to(account) for name, account in accounts.items()}
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
        self._reads = self._session(_MAX_READ_CONNECTIONS)
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
        access = self._accounts[message.account]
        timeout = self._timeout
        if start_by is not None:
            left = start_by - monotonic()
            if left <= 0:
                return PERMIT_LAPSED
            if left < self._connect_timeout:
                timeout = self._timeout_for(left)
        departure = Departure(start_by)
        mark = DEPARTURE.set(departure)
        try:
            async with _open(self._posts).post(
                access.messages,
                data=_encode(message),
                headers=access.headers,
                timeout=timeout,
                allow_redirects=False,
                proxy=access.proxy,
                proxy_headers=access.proxy_headers,
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
        access = self._accounts[account]
        url = access.messages.parent / "Messages" / f"{message_sid}.json"
        status, body = await self._get(access, url, Operation.FETCH)
        row = read_message(body) if status == 200 else None
        if row is None:
            raise ReadFailed(
                "a message could not be read", Operation.FETCH, status, read_error(status, body)
            )
        return row

    async def read_account(self, account: str) -> AccountAnswer:
        """Return how Twilio answers when it is asked for an account. Raises nothing.

        Waits a few seconds only, so that one that hangs holds up no other question.
        """
        access = self._accounts[account]
        url = access.messages.parent.with_name(f"{access.messages.parent.name}.json")
        try:
            async with asyncio.timeout(_MAX_QUESTION_SECONDS):
                status, body = await self._get(access, url, Operation.FETCH)
        except (ReadFailed, TimeoutError):
            return AccountAnswer.NONE
        return read_account(status, body)

    async def list_messages(
        self, account: str, *, to: str | None, from_address: str, since: datetime, max_requests: int
    ) -> Listing:
        """List messages by From, and by To if given, newest pages first.

        Sends at most `max_requests` requests. Stops before the last page when all rows came newest
        first and reach back before `since`.

        Twilio's date filter is not used: it compares the date sent, which is empty while a message
        is queued ("Messages resource", read 2026-11-20). Rows are returned unfiltered, because
        Twilio may write an address in another form, or ignore a filter. Raises ReadFailed.
        """
        access = self._accounts[account]
        query = {"From": from_address, "PageSize": str(_PAGE_MESSAGES)} | (
            {"To": to} if to is not None else {}
        )
        url: URL | None = access.messages.with_query(query)
        rows: list[MessageRow] = []
        requests = 0
        is_whole = reaches_back = False
        while url is not None and requests < max_requests and not reaches_back:
            page = await self._page(access, url)
            requests += 1
            rows.extend(page.rows)
            url = _next_page(access, page.next_page)
            reaches_back = bool(rows) and rows[-1].created_at < since and is_newest_first(rows)
            is_whole = page.next_page is None
        return Listing(tuple(rows), requests, is_whole)

    async def list_inbound(
        self, account: str, since: datetime, max_requests: int
    ) -> InboundListing:
        """List what persons wrote to an account since an instant, oldest first.

        Sends at most `max_requests` requests. It reads every message of the account and selects the
        inbound ones here, because Twilio does not document whether its filters match a `whatsapp:`
        address or the date of an inbound message ("Messages resource", read 2026-11-20). Raises
        ReadFailed.
        """
        access = self._accounts[account]
        url: URL | None = access.messages.with_query({"PageSize": str(_PAGE_MESSAGES)})
        found: dict[str, InboundRow] = {}
        dates: list[datetime] = []
        requests, is_whole = 0, True
        is_complete = False
        while url is not None and requests < max_requests and not is_complete:
            page = await self._page(access, url)
            requests += 1
            found |= {row.message_sid: row for row in page.inbounds if row.created_at >= since}
            is_whole = is_whole and page.has_all_inbounds
            dates.extend(page.dates)
            url = _next_page(access, page.next_page)
            reaches_back = (
                bool(dates) and dates[-1] < since and dates == sorted(dates, reverse=True)
            )
            is_complete = page.next_page is None or reaches_back
        # Among messages of the same second, Twilio lists the newest first.
        oldest_first = list(found.values())[::-1]
        rows = tuple(sorted(oldest_first, key=lambda row: row.created_at))
        return InboundListing(rows, is_complete and is_whole, requests)

    async def _page(self, access: AccountAccess, url: URL) -> Page:
        status, body = await self._get(access, url, Operation.LIST)
        page = read_page(body) if status == 200 else None
        if page is None:
            detail = "a page of messages could not be read"
            raise ReadFailed(detail, Operation.LIST, status, read_error(status, body))
        return page

    async def _get(
        self, access: AccountAccess, url: URL, operation: Operation
    ) -> tuple[int, bytes]:
        try:
            async with _open(self._reads).get(
                url,
                headers=access.headers,
                timeout=self._timeout,
                allow_redirects=False,
                proxy=access.proxy,
                proxy_headers=access.proxy_headers,
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


def _next_page(access: AccountAccess, path: str | None) -> URL | None:
    """Return the URL of the next page. Raises ReadFailed for another host.

    The credentials of the account must not go to another host.
    """
    if path is None:
        return None
    url = access.origin.join(URL(path, encoded=True))
    if url.origin() != access.origin:
        raise ReadFailed("the next page is on another host", Operation.LIST)
    return url


def _encode(message: CreateMessage) -> bytes:
    # Parameter names are plain ASCII, so only the values are encoded. That is half of the work of
    # urlencode.
    form = [f"{name}={quote_plus(value)}" for name, value in message.form]
    return "&".join(form).encode("ascii")


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
