"""Fetches what persons wrote while no gateway listened, so that a deploy loses no STOP.

Twilio delivers a message to the gateway, and may give up while none listens. Its list of the
account's messages still has it.
Laws: the store's mark of an account moves on only after what came before it was applied · a message
that was delivered as well is applied once · Twilio's absence never keeps a gateway from working.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, Protocol

from redis.exceptions import RedisError

from sendwindow.errors import NotDurable
from worker.gateway.forms import GarbageError
from worker.gateway.inbound_form import InboundForm, read_inbound
from worker.gateway.parts import Parts
from worker.gateway.request import RefusedError
from worker.tasks import end_tasks
from worker.twilio.client import ReadFailed
from worker.twilio.messages import InboundListing, InboundRow

MARGIN: Final = timedelta(minutes=2)
"""How far before the last sign of a gateway a list reaches back.

Covers clocks that differ, and messages that a gateway took on and did not get to store.
"""

LONGEST_GAP: Final = timedelta(hours=47)
"""Older messages are not fetched: the store forgets after 48 h which MessageSids it has applied."""

MOST_REQUESTS: Final = 200
"""Pages of 500 messages for one account, those that we sent included."""

SILENCE: Final = timedelta(seconds=20)
"""A gateway whose store did not take its mark for so long may have lost messages too, and looks."""

Apply = Callable[[str, InboundForm, datetime], Awaitable[None]]

_MARK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 5.0
_LONGEST_RETRY_SECONDS: Final = 300.0
_AT_ONCE: Final = 32


class InboundLists(Protocol):
    """Twilio's list of what persons wrote."""

    async def list_inbound(self, account: str, since: datetime, max_requests: int) -> InboundListing:
        """List what persons wrote to an account since an instant, oldest first."""
        ...


class Listening(Protocol):
    """Where gateways record that they listen (`Store.listening`)."""

    async def heard_until(self, account: str) -> tuple[datetime, datetime | None]:
        """Return the store's now, and until when a gateway is known to have heard this account."""
        ...

    async def hear(self, account: str) -> None:
        """Record that a gateway hears this account now."""
        ...


class Missed:
    """Looks at a gateway's start, and after the store was away, for what was not delivered."""

    def __init__(self, parts: Parts, apply: Apply) -> None:
        self._parts = parts
        self._apply = apply
        self._accounts = list(parts.settings.accounts)
        self._unlooked: set[str] = set()

    @property
    def problem(self) -> str | None:
        """Why the gateway is not ready yet: its first look has not ended. None when it has."""
        if not self._unlooked:
            return None
        return "what persons wrote while no gateway listened is being fetched"

    def expect(self) -> None:
        """Record that a first look is to come, which readiness waits for."""
        self._unlooked = set(self._accounts)

    async def run(self, lists: InboundLists, listening: Listening) -> None:
        """Look, and record that this gateway listens, until cancelled."""
        self.expect()
        keepers = [
            asyncio.create_task(self._keep(account, lists, listening), name=f"missed:{account}")
            for account in self._accounts
        ]
        try:
            await asyncio.gather(*keepers)
        finally:
            await end_tasks(keepers)

    async def _keep(self, account: str, lists: InboundLists, listening: Listening) -> None:
        has_looked, pause = False, _RETRY_SECONDS
        while True:
            try:
                now, before = await listening.heard_until(account)
                if before is not None and (not has_looked or now - before > SILENCE):
                    await self.fetch(account, before, now, lists)
                await listening.hear(account)
            except (RedisError, OSError, NotDurable, RefusedError):
                # Readiness already tells that the store is away.
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 -- a task that ended would lose every later gap
                self._say_not_fetched(account, error)
                self._unlooked.discard(account)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
            else:
                has_looked, pause = True, _RETRY_SECONDS
                self._unlooked.discard(account)
                await asyncio.sleep(_MARK_SECONDS)

    async def fetch(self, account: str, before: datetime, now: datetime, lists: InboundLists) -> None:
        """Apply what persons wrote since shortly before an instant. Raises ReadFailed, or what the store raises."""
        log, since = self._parts.log, max(before - MARGIN, now - LONGEST_GAP)
        if since > before - MARGIN:
            log.error(
                "inbound_gap_too_long",
                account=account,
                unseen_since=(before - MARGIN).isoformat(),
                unseen_until=since.isoformat(),
                remedy="look in Twilio's log for what persons wrote in this time, and record their opt-outs",
            )
        listing = await lists.list_inbound(account, since, MOST_REQUESTS)
        rows = iter(listing.rows)
        while batch := list(islice(rows, _AT_ONCE)):
            await self._apply_rows(account, batch)
        log.info(
            "inbound_fetched",
            account=account,
            since=since.isoformat(),
            messages=len(listing.rows),
            requests=listing.requests,
        )
        self._parts.meter.missed("fetched" if listing.is_complete else "incomplete")
        if not listing.is_complete:
            log.error(
                "inbound_list_incomplete",
                account=account,
                since=since.isoformat(),
                remedy="look in Twilio's log for what persons wrote since then, and record their opt-outs",
            )

    async def _apply_rows(self, account: str, rows: Sequence[InboundRow]) -> None:
        """Apply rows of the list, as the endpoint would have applied their requests."""
        applying = []
        for row in rows:
            try:
                form = _form_of(row)
            except GarbageError:
                self._parts.log.warning("inbound_row_unreadable", account=account, sid=row.message_sid)
                continue
            applying.append(self._apply(account, form, row.created_at))
        await asyncio.gather(*applying)

    def _say_not_fetched(self, account: str, error: Exception) -> None:
        is_read = isinstance(error, ReadFailed)
        self._parts.meter.missed("failed")
        self._parts.log.error(
            "inbound_not_fetched",
            account=account,
            status=error.status if isinstance(error, ReadFailed) else None,
            error=str(error) if is_read else type(error).__name__,
            remedy="a STOP sent while no gateway listened is not known yet: see that Twilio answers for "
            "this account (`doctor --live`); the gateway tries again by itself",
            exc_info=None if is_read else error,
        )


def _form_of(row: InboundRow) -> InboundForm:
    """Read a row as the form it was delivered as. A list shows no payload: its text counts as typed."""
    return read_inbound({"MessageSid": row.message_sid, "From": row.from_address, "To": row.to, "Body": row.body})
