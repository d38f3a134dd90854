"""Parses, applies and records status callbacks.

A status is stored before the gateway returns 2xx. A repeated callback changes nothing.
"""

from random import random
from typing import Final

from aiohttp import web

from sendwindow.vocabulary import Reason
from worker.gateway.batching import BatchedWrites
from worker.gateway.context import GatewayContext
from worker.gateway.forms import read_status
from worker.gateway.request import SignedRequest
from worker.ports.statuses import StatusApplied, StatusUpdate
from worker.status_updates import StatusReport, update_of

STATUS_PATH: Final = "/twilio/status"


class StatusEndpoint:
    """Handles `/twilio/status`."""

    def __init__(self, parts: GatewayContext) -> None:
        self._parts = parts
        self._group: BatchedWrites[StatusUpdate, StatusApplied] = BatchedWrites(
            parts.store.statuses.apply
        )

    async def answer(self, signed: SignedRequest) -> web.Response:
        """Apply a status and return 204. Raises GarbageError, or what the store raised."""
        report = read_status(signed.params, signed.query)
        applied = await self._group.submit(update_of(report, self._parts.rules, random()))
        self._note(report, applied)
        return web.Response(status=204)

    async def drained(self, seconds: float) -> None:
        """Wait until every submitted status is stored. Raises TimeoutError after `seconds`."""
        await self._group.drained(seconds)

    def _note(self, report: StatusReport, applied: StatusApplied) -> None:
        parts = self._parts
        message_id = applied.message_id or report.message_id
        parts.journal.write(
            "callback",
            sid=report.message_sid,
            status=report.status,
            id=message_id,
            attempt=report.attempt,
            known=applied.known,
            moved=applied.moved,
            resolved=applied.resolved,
            reopened=applied.reopened,
            ended=applied.is_end,
        )
        if applied.resolved:
            parts.journal.write(
                "resolved",
                id=message_id,
                attempt=report.attempt,
                reason=Reason.EVIDENCE_CALLBACK.value,
                sid=report.message_sid,
            )
        if applied.unbound is not None:
            wronged, attempt = applied.unbound
            parts.journal.write("unbound", id=wronged, attempt=attempt, sid=report.message_sid)
            parts.log.warning(
                "unbound", message_id=wronged, attempt=attempt, sid=report.message_sid
            )
        if applied.is_copy:
            parts.log.warning("duplicate", message_id=message_id)
        parts.metrics.callback(report.status, _effect(applied))
        parts.log.info(
            "callback",
            sid=report.message_sid,
            status=report.status,
            code=report.code,
            message_id=message_id,
            attempt=report.attempt,
            effect=_effect(applied),
        )


def _effect(applied: StatusApplied) -> str:
    if not applied.known:
        return "unknown"
    if applied.reopened:
        return "reopened"
    if applied.resolved:
        return "resolved"
    return "moved" if applied.moved else "repeated"
