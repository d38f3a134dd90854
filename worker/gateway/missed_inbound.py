"""Fetches what persons wrote while no gateway listened, so that a deploy loses no STOP.

Twilio tries to deliver a message to the gateway, and may give up when no gateway listens. The
message is still in Twilio's list of the account's messages.

Laws:
* The store's mark of an account advances only after every earlier message was applied.
* A message that Twilio also delivered is applied once.
* A gateway keeps working while Twilio is unavailable.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Protocol

from redis.exceptions import RedisError

from sendwindow.errors import NotDurable
from worker.gateway.context import GatewayContext
from worker.gateway.forms import GarbageError
from worker.gateway.inbound_form import InboundForm, read_inbound
from worker.gateway.request import RefusedError
from worker.runtime.cancellation import end_tasks
from worker.twilio.messages import InboundListing, InboundRow, ReadFailed

MARGIN: Final = timedelta(minutes=2)
"""How far before the last mark of a gateway the list starts.

It covers clock differences, and messages that a gateway received but could not store.
"""

MAX_GAP: Final = timedelta(hours=47)
"""Older messages are not fetched: after 48 h the store forgets which MessageSids it applied."""

MAX_REQUESTS: Final = 200
"""The most pages read for one account. A page has 500 messages, including those that we sent."""

SILENCE: Final = timedelta(seconds=20)
"""How long a mark may be missing before the gateway fetches the list again.

If the store took no mark for that long, the gateway may have lost messages too.
"""

Apply = Callable[[str, InboundForm, datetime], Awaitable[None]]

_MARK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 5.0
_MAX_RETRY_SECONDS: Final = 300.0
_MAX_BATCH_MESSAGES: Final = 32


class InboundLists(Protocol):
    """Twilio's list of what persons wrote."""

    async def list_inbound(
        self, account: str, since: datetime, max_requests: int
    ) -> InboundListing:
        """Return what persons wrote to an account since an instant, oldest first."""
        ...


class InboundCoverage(Protocol):
    """The store's record of when gateways were listening (`Store.listening`)."""

    async def heard_until(self, account: str) -> tuple[datetime, datetime | None]:
        """Return the store's current time, and the last instant at which a gateway listened.

        The second is None when no gateway has ever listened for this account.
        """
        ...

    async def hear(self, account: str) -> None:
        """Record that a gateway listens for this account now."""
        ...


class MissedInbound:
    """Fetches undelivered messages when a gateway starts and after the store was unavailable."""

    def __init__(self, parts: GatewayContext, apply: Apply) -> None:
        self._parts = parts
        self._apply = apply
        self._accounts = list(parts.settings.accounts)
        self._unlooked: set[str] = set()
        self._turned_away_since: datetime | None = None

    @property
    def problem(self) -> str | None:
        """Why the gateway is not ready: its first fetch has not ended. None once it has ended."""
        if not self._unlooked:
            return None
        return "messages that persons wrote while no gateway listened are still being fetched"

    def expect(self, turned_away_since: datetime | None = None) -> None:
        """Record that the first fetch is still to come. Readiness waits for it.

        `turned_away_since`: since when this gateway has returned 503 although it could reach the
        store. Another gateway may have moved the mark in the meantime, so the first fetch also
        covers that time.
        """
        self._unlooked = set(self._accounts)
        self._turned_away_since = turned_away_since

    async def run(self, lists: InboundLists, listening: InboundCoverage) -> None:
        """Fetch missed messages and record that this gateway listens, until cancelled."""
        self._unlooked = set(self._accounts)
        keepers = [
            asyncio.create_task(self._keep(account, lists, listening), name=f"missed:{account}")
            for account in self._accounts
        ]
        try:
            await asyncio.gather(*keepers)
        finally:
            await end_tasks(keepers)

    async def _keep(self, account: str, lists: InboundLists, listening: InboundCoverage) -> None:
        has_looked, pause = False, _RETRY_SECONDS
        while True:
            try:
                now, before = await listening.heard_until(account)
                if not has_looked and self._turned_away_since is not None:
                    before = min(before or now, self._turned_away_since)
                if before is not None and (not has_looked or now - before > SILENCE):
                    await self.fetch(account, before, now, lists)
                await listening.hear(account)
            except (RedisError, OSError, NotDurable, RefusedError):
                # The readiness probe already reports that the store is unavailable.
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 -- a dead task would miss later gaps
                self._say_not_fetched(account, error)
                self._unlooked.discard(account)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _MAX_RETRY_SECONDS)
            else:
                has_looked, pause = True, _RETRY_SECONDS
                self._unlooked.discard(account)
                await asyncio.sleep(_MARK_SECONDS)

    async def fetch(
        self, account: str, before: datetime, now: datetime, lists: InboundLists
    ) -> None:
        """Apply what persons wrote since shortly before `before`.

        Raises ReadFailed, or what the store raises.
        """
        log, since = self._parts.log, max(before - MARGIN, now - MAX_GAP)
        if since > before - MARGIN:
            log.error(
                "inbound_gap_too_long",
                account=account,
                unseen_since=(before - MARGIN).isoformat(),
                unseen_until=since.isoformat(),
                remedy="look in Twilio's log for what persons wrote in this time, "
                "and record their opt-outs",
            )
        listing = await lists.list_inbound(account, since, MAX_REQUESTS)
        rows = iter(listing.rows)
        while batch := list(islice(rows, _MAX_BATCH_MESSAGES)):
            await self._apply_rows(account, batch)
        log.info(
            "inbound_fetched",
            account=account,
            since=since.isoformat(),
            messages=len(listing.rows),
            requests=listing.requests,
        )
        self._parts.metrics.missed("fetched" if listing.is_complete else "incomplete")
        if not listing.is_complete:
            log.error(
                "inbound_list_incomplete",
                account=account,
                since=since.isoformat(),
                remedy="look in Twilio's log for what persons wrote since then, "
                "and record their opt-outs",
            )

    async def _apply_rows(self, account: str, rows: Sequence[InboundRow]) -> None:
        """Apply rows of the list exactly as the endpoint would have applied their requests."""
        applying = []
        for row in rows:
            try:
                form = _form_of(row)
            except GarbageError:
                self._parts.log.warning(
                    "inbound_row_unreadable", account=account, sid=row.message_sid
                )
                continue
            applying.append(self._apply(account, form, row.created_at))
        await asyncio.gather(*applying)

    def _say_not_fetched(self, account: str, error: Exception) -> None:
        is_read = isinstance(error, ReadFailed)
        self._parts.metrics.missed("failed")
        self._parts.log.error(
            "inbound_not_fetched",
            account=account,
            status=error.status if isinstance(error, ReadFailed) else None,
            error=str(error) if is_read else type(error).__name__,
            remedy=(
                "a STOP that was sent while no gateway listened may be missing: check with "
                "`doctor --live` that Twilio answers for this account; the gateway tries "
                "again by itself"
            ),
            exc_info=None if is_read else error,
        )


def _form_of(row: InboundRow) -> InboundForm:
    """Return a list row as the form that Twilio would have delivered.

    A list row has no payload, so its text counts as typed by the person.
    """
    return read_inbound(
        {"MessageSid": row.message_sid, "From": row.from_address, "To": row.to, "Body": row.body}
    )
