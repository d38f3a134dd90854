"""Parses and applies the messages that persons write to us, and returns empty TwiML.

A message is stored before the gateway returns 2xx. After a stop, the gateway delays its response
until no POST to that person can start. The TwiML is empty because Twilio would send a reply in it
directly to the person, past every rule of this service.
"""

from datetime import datetime
from typing import Final

from aiohttp import web

from policies.consent import is_stopped
from policies.keywords import STOPS, Keyword, effect
from sendwindow.addresses import AddressError, parse_address
from sendwindow.vocabulary import Channel
from worker.gateway.batching import BatchedWrites
from worker.gateway.context import GatewayContext
from worker.gateway.inbound_form import InboundForm, read_inbound
from worker.gateway.request import SignedRequest
from worker.gateway.stop_barrier import MAX_SECONDS, wait_for_permits
from worker.ports.people import Inbound, InboundApplied
from worker.runtime.clock import wall_now
from worker.settings.schema import SenderSettings

INBOUND_PATH: Final = "/twilio/inbound"

UNKNOWN_SENDER: Final = "?"
"""Replaces the sender's name when no sender has that address. No sender can have this name."""

_NOT_A_PERSON: Final = "not_a_person"
_TWIML: Final = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


class InboundEndpoint:
    """Handles `/twilio/inbound`."""

    def __init__(self, parts: GatewayContext) -> None:
        self._parts = parts
        self._senders = {(one.account, one.address): one for one in parts.settings.senders.values()}
        self._group: BatchedWrites[Inbound, InboundApplied] = BatchedWrites(
            parts.store.people.apply_inbound
        )

    async def answer(self, signed: SignedRequest) -> web.Response:
        """Apply an inbound message, and return empty TwiML.

        Raises GarbageError, or what the store raised.

        The message may go to an address of ours that no sender has. It is applied all the same,
        because a stop counts for the whole account and must be stored. A log line and a metric tell
        the operator what to configure.
        """
        form = read_inbound(signed.params)
        await self.apply(signed.account.name, form)
        return web.Response(body=_TWIML, content_type="text/xml")

    async def apply(
        self, account: str, form: InboundForm, received_at: datetime | None = None
    ) -> None:
        """Apply a message that a person wrote to an account, now or at `received_at`.

        Raises what the store raises.
        """
        channel = _channel_of(form.address)
        if channel is not None:
            await self._apply(form, channel, account, received_at)
        else:
            self._ignore(form, account)

    async def drained(self, seconds: float) -> None:
        """Wait until every submitted message is stored. Raises TimeoutError after `seconds`."""
        await self._group.drained(seconds)

    def _ignore(self, form: InboundForm, account: str) -> None:
        """Record a message from a short code, or on a channel that this service never sends to.

        It goes only to the journal, the metrics and the log: the store has nothing to remember.
        """
        self._parts.journal.write(
            "inbound", sid=form.message_sid, ignored=_NOT_A_PERSON, account=account
        )
        self._parts.metrics.inbound(None, _NOT_A_PERSON)
        self._parts.log.warning("inbound_not_a_person", sid=form.message_sid, account=account)

    async def _apply(
        self, form: InboundForm, channel: Channel, account: str, received_at: datetime | None
    ) -> None:
        sender = self._senders.get((account, form.sender_address))
        keyword = await self._keyword(form, channel, account, sender)
        inbound = Inbound(
            message_sid=form.message_sid,
            sender=sender.name if sender is not None else UNKNOWN_SENDER,
            account=account,
            address=form.address,
            keyword=keyword,
            wa_id=form.wa_id,
            received_at=received_at,
        )
        asked_at = self._parts.journal.now()
        applied = await self._group.submit(inbound)
        # The line is dated to before the store call. A worker may already have acted on the session
        # window that this message opened, and its own line must come later.
        self._parts.journal.write(
            "inbound",
            sid=form.message_sid,
            keyword=keyword,
            opted=applied.opted,
            account=account,
            sender=inbound.sender,
            person=applied.person_digest,
            t=asked_at,
        )
        self._note(form, inbound, applied)
        if not STOPS.isdisjoint({keyword, applied.opted}):
            await self._hold(form, applied)

    async def _keyword(
        self, form: InboundForm, channel: Channel, account: str, sender: SenderSettings | None
    ) -> str | None:
        keywords = self._parts.rules.keywords
        if form.tap is not None:
            found = keywords.match_tap(form.tap.text, form.tap.payload, form.opt_out_type)
        else:
            found = keywords.match(form.typed, form.opt_out_type, channel)
        if found is Keyword.YES:
            is_opted_out = sender is not None and await self._is_opted_out(
                form.address, account, sender.name
            )
            found = effect(found, is_opted_out=is_opted_out)
        if sender is None and found not in STOPS:
            return None
        return None if found is None else found.value

    async def _is_opted_out(self, address: str, account: str, sender: str) -> bool:
        facts = await self._parts.store.people.facts(address, sender, account, None)
        return is_stopped(facts.person, sender, wall_now())

    async def _hold(self, form: InboundForm, applied: InboundApplied) -> None:
        parts = self._parts
        left_ms = await wait_for_permits(
            parts.store.people, applied.person_digest, applied.open_permits_ms, MAX_SECONDS
        )
        if left_ms > 0:
            parts.metrics.overlapped()
            parts.log.warning(
                "opt_out_overlap",
                sid=form.message_sid,
                person=parts.label(form.address),
                left_ms=left_ms,
            )

    def _note(self, form: InboundForm, inbound: Inbound, applied: InboundApplied) -> None:
        parts = self._parts
        parts.metrics.inbound(inbound.keyword, "first" if applied.first else "repeated")
        parts.log.info(
            "inbound",
            sid=form.message_sid,
            sender=inbound.sender,
            person=parts.label(form.address),
            keyword=inbound.keyword,
            opted=applied.opted,
            first=applied.first,
            released=applied.released,
        )
        if inbound.sender == UNKNOWN_SENDER:
            parts.metrics.refused("inbound", "unknown_sender")
            parts.log.warning(
                "unknown_sender",
                sid=form.message_sid,
                account=inbound.account,
                remedy=(
                    "add a [senders.NAME] with the address that this message was sent to, "
                    "or set another URL for it at Twilio"
                ),
            )


def _channel_of(address: str) -> Channel | None:
    """Return the channel of a person's address.

    Returns None for a short code, and for a channel that this service never sends to.
    """
    try:
        return parse_address(address).channel
    except AddressError:
        return None
