"""Status callbacks: read, apply in a group, note, answer. Stored before the 2xx; what comes twice changes nothing."""

from random import random
from typing import Final

from aiohttp import web

from sendwindow.vocabulary import Reason
from worker.gateway.evidence import update_of
from worker.gateway.forms import StatusForm, read_status
from worker.gateway.group import Group
from worker.gateway.parts import Parts
from worker.gateway.signed import SignedRequest
from worker.values import StatusApplied, StatusUpdate

STATUS_PATH: Final = "/twilio/status"


class StatusEndpoint:
    """Answers `/twilio/status`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._group: Group[StatusUpdate, StatusApplied] = Group(parts.store.statuses.apply)

    async def answer(self, signed: SignedRequest) -> web.Response:
        """Apply a status and answer 204. Raises GarbageError, or what the store raised."""
        form = read_status(signed.params, signed.query)
        applied = await self._group.submit(update_of(form, self._parts.rules, random()))
        self._note(form, applied)
        return web.Response(status=204)

    async def drained(self, seconds: float) -> None:
        """Wait until everything handed in is stored, at most so long. Raises TimeoutError."""
        await self._group.drained(seconds)

    def _note(self, form: StatusForm, applied: StatusApplied) -> None:
        parts = self._parts
        message_id = applied.message_id or form.message_id
        parts.journal.write(
            "callback",
            sid=form.message_sid,
            status=form.status,
            id=message_id,
            attempt=form.attempt,
            known=applied.known,
            moved=applied.moved,
            resolved=applied.resolved,
        )
        if applied.resolved:
            parts.journal.write(
                "resolved",
                id=message_id,
                attempt=form.attempt,
                reason=Reason.EVIDENCE_CALLBACK.value,
                sid=form.message_sid,
            )
        if applied.unbound is not None:
            wronged, attempt = applied.unbound
            parts.journal.write("unbound", id=wronged, attempt=attempt, sid=form.message_sid)
            parts.log.warning("unbound", message_id=wronged, attempt=attempt, sid=form.message_sid)
        parts.meter.callback(form.status, _effect(applied))
        parts.log.info(
            "callback",
            sid=form.message_sid,
            status=form.status,
            code=form.code,
            message_id=message_id,
            attempt=form.attempt,
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
