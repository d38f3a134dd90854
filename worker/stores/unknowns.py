"""Attempts whose outcome is not proven, and accepted messages whose callbacks stay away."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sendwindow.instants import from_ms, to_ms
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from worker.stores.calls import Calls, worker_script
from worker.stores.encoding import flat, resolve_arguments
from worker.stores.facts import read_rule, read_stage
from worker.values.statuses import MissingStatus
from worker.values.unknowns import Resolution, RivalAttempt, UnknownAttempt

_UNKNOWNS: Final = worker_script("unknowns", "rings", "restored")
_RETURNED: Final = worker_script("returned")
_RESOLVE: Final = worker_script("resolve", "restored")
_MISSING: Final = worker_script("missing", "rings")
_RIVALS: Final = worker_script("rivals")

_FORMS: Final = {b"t": True, b"f": False}

MOST_RIVALS: Final = 50
"""Unproven attempts to one person that are named; a person with more has a crowd of them."""

GIVE_UP: Final = timedelta(hours=48)
"""How long after its acceptance a message's final status is asked for; WhatsApp may stay at `sent` for ever."""

_MOST_STEPS: Final = 64
"""Calls for one batch of missing statuses: what is due is sorted in, and what is too old let go of, in steps."""

_MS: Final = timedelta(milliseconds=1)


class UnknownStore:
    """Answers `worker.ports.Unknowns` from one partition."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def due(self, limit: int, again_after_ms: int, passing_over: Collection[str] = ()) -> list[UnknownAttempt]:
        """Take up to `limit` unknown attempts of one purpose and account, whose search is due and the most urgent.

        None is handed out again before `again_after_ms`. Accounts take turns, but those in `passing_over`.
        """
        while True:
            now, is_more, taken = await self._calls.run(_UNKNOWNS, [limit, again_after_ms, *passing_over])
            if taken or not is_more:
                return [_attempt(from_ms(int(now)), fields) for fields in taken]

    async def give_back(self, message_ids: Sequence[str]) -> None:
        """Make unknown attempts due again that were taken and not looked for."""
        if message_ids:
            await self._calls.run(_RETURNED, ["unknown", *message_ids])

    async def rivals(self, person_digest: str, message_id: str, since: datetime) -> list[RivalAttempt] | None:
        """The other unproven attempts to a person, at least those begun at or after `since`; None: a crowd."""
        found = await self._calls.run(_RIVALS, [person_digest, message_id, to_ms(since), MOST_RIVALS])
        if found is None:
            return None
        return [
            RivalAttempt(name.decode(), int(attempt), from_ms(int(intent)), payload, _FORMS.get(form))
            for name, attempt, intent, payload, form in found
        ]

    async def resolve(self, resolutions: Sequence[Resolution]) -> list[Stage | None]:
        """Act by the messages' rules; for each the stage it came to, None when the attempt is no longer unknown."""
        if not resolutions:
            return []
        arguments = flat([resolve_arguments(one) for one in resolutions])
        return [read_stage(stage) for stage in await self._calls.run_once(_RESOLVE, arguments)]

    async def owners(self, message_sids: Sequence[str]) -> list[tuple[str, int] | None]:
        """The (message id, attempt) each SID is bound to; None for a SID nobody here knows."""
        if not message_sids:
            return []
        names = [self._calls.keys.sid(sid) for sid in message_sids]
        bound = await self._calls.patiently(lambda: self._calls.redis.mget(names))
        return [_owner(value) for value in bound]

    async def missing(
        self, limit: int, quiet_for_ms: int, again_after_ms: int, passing_over: Collection[str] = ()
    ) -> list[MissingStatus]:
        """Take up to `limit` messages of one account, accepted at least `quiet_for_ms` ago without a final status.

        None is handed out again before `again_after_ms`, an old one later. Accounts take turns, but those in
        `passing_over`.
        """
        settings, taken = [limit, quiet_for_ms, again_after_ms, GIVE_UP // _MS], []
        for step in range(_MOST_STEPS):
            is_last = int(step == _MOST_STEPS - 1)
            is_more, taken = await self._calls.run(_MISSING, [*settings, is_last, *passing_over])
            if taken or not is_more:
                break
        return [
            MissingStatus(message_id.decode(), int(attempt), sid.decode(), sender.decode())
            for message_id, attempt, sid, sender in taken
        ]

    async def still_missing(self, message_ids: Sequence[str]) -> None:
        """Make accepted messages due again that were taken and not asked for."""
        if message_ids:
            await self._calls.run(_RETURNED, ["undelivered", *message_ids])


def _attempt(now: datetime, fields: Sequence[Any]) -> UnknownAttempt:
    message_id, n, intent, on_unknown, expires, payload, looks, reason, person, form, listing = fields[:11]
    is_poison, doubts, content_sid, account, restored_at, was_posted = fields[11:]
    rule = read_rule(on_unknown)
    if restored_at and (not was_posted or rule is OnUnknown.RESEND):
        # Sent again without proof, it could be the second copy that the restore makes.
        rule = OnUnknown.RESEND_IF_ABSENT
    return UnknownAttempt(
        message_id=message_id.decode(),
        attempt=int(n),
        intent_at=from_ms(int(intent)),
        now=now,
        on_unknown=rule,
        expires_at=from_ms(int(expires)),
        payload=payload,
        looks=int(looks),
        reason=_reason(reason),
        person_digest=person.decode(),
        was_template=_FORMS.get(form),
        content_sid=content_sid.decode() or None,
        listing=listing.decode(),
        is_poison=is_poison == 1,
        unproven=max(1, doubts),
        account=account.decode(),
        restored_at=from_ms(int(restored_at)) if restored_at else None,
        was_posted=was_posted == 1,
    )


def _reason(stored: bytes | None) -> Reason:
    """Read a stored reason; one that a newer version wrote is only a timeout to us."""
    try:
        return Reason((stored or b"").decode())
    except ValueError:
        return Reason.OUTCOME_TIMEOUT


def _owner(value: bytes | None) -> tuple[str, int] | None:
    if value is None or value.startswith(b"?"):
        return None
    attempt, _, message_id = value.decode().partition(":")
    return message_id, int(attempt)
