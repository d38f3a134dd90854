"""Status callbacks: read, apply in a group, note, answer. Stored before the 2xx; what comes twice changes nothing."""

from random import random
from typing import Final

from aiohttp import web

from sendwindow.vocabulary import Reason
from worker.gateway.forms import read_status
from worker.gateway.group import Group
from worker.gateway.parts import Parts
from worker.gateway.request import SignedRequest
from worker.statuses import StatusReport, update_of
from worker.values.statuses import StatusApplied, StatusUpdate

STATUS_PATH: Final = "/twilio/status"


class StatusEndpoint:
    """Answers `/twilio/status`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._group: Group[StatusUpdate, StatusApplied] = Group(parts.store.statuses.apply)

    async def answer(self, signed: SignedRequest) -> web.Response:
        """Apply a status and answer 204. Raises GarbageError, or what the store raised."""
        report = read_status(signed.params, signed.query)
        applied = await self._group.submit(update_of(report, self._parts.rules, random()))
        self._note(report, applied)
        return web.Response(status=204)

    async def drained(self, seconds: float) -> None:
        """Wait until everything handed in is stored, at most so long. Raises TimeoutError."""
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
            parts.log.warning("unbound", message_id=wronged, attempt=attempt, sid=report.message_sid)
        if applied.is_copy:
            parts.log.warning("duplicate", message_id=message_id)
        parts.meter.callback(report.status, _effect(applied))
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
