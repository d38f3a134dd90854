"""Attempts whose outcome is not proven, and accepted messages whose callbacks do not come."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sendwindow.timestamps import from_ms, to_ms
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from worker.ports.statuses import MissingStatus
from worker.ports.unknowns import Resolution, RivalAttempt, UnknownAttempt
from worker.stores.fact_parsing import read_rule, read_stage
from worker.stores.script_arguments import resolve_argument
from worker.stores.script_runner import ScriptRunner, compact
from worker.stores.worker_scripts import worker_script

_UNKNOWNS: Final = worker_script("unknowns")
_RETURNED: Final = worker_script("returned")
_RESOLVE: Final = worker_script("resolve")
_MISSING: Final = worker_script("missing")
_RIVALS: Final = worker_script("rivals")

_FORMS: Final = {b"t": True, b"f": False}

MAX_RIVALS: Final = 50
"""How many unproven attempts to one person are named. A person with more has a crowd of them."""

MAX_STATUS_AGE: Final = timedelta(hours=48)
"""How long after a message's acceptance its final status is asked for. WhatsApp may stay at `sent`
forever.
"""

_MAX_CALLS: Final = 64
"""How many calls one batch of missing statuses may take. In each call, messages that are due move
into their queues, and messages that are too old leave the list.
"""

_MS: Final = timedelta(milliseconds=1)


class UnknownStore:
    """Implements `worker.ports.Unknowns` on one partition."""

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def due(
        self, limit: int, again_after_ms: int, passing_over: Collection[str] = ()
    ) -> list[UnknownAttempt]:
        """Take the most urgent unknown attempts whose search is due, up to `limit`.

        All of them are of one purpose and account. None is returned again before `again_after_ms`.
        Accounts take turns, without those in `passing_over`.
        """
        asked = compact(
            {"limit": limit, "again_after": again_after_ms, "passed_over": list(passing_over)}
        )
        while True:
            now, is_more, taken = await self._calls.run(_UNKNOWNS, [asked])
            if taken or not is_more:
                return [_attempt(from_ms(int(now)), fields) for fields in taken]

    async def give_back(self, message_ids: Sequence[str]) -> None:
        """Make unknown attempts due again that were taken but not looked for."""
        if message_ids:
            await self._calls.run(_RETURNED, ["unknown", *message_ids])

    async def rivals(
        self, person_digest: str, message_id: str, since: datetime
    ) -> list[RivalAttempt] | None:
        """Return the other unproven attempts to a person, None when they are a crowd.

        The list has at least those that began at or after `since`.
        """
        found = await self._calls.run(
            _RIVALS, [person_digest, message_id, to_ms(since), MAX_RIVALS]
        )
        if found is None:
            return None
        return [
            RivalAttempt(
                name.decode(), int(attempt), from_ms(int(intent)), payload, _FORMS.get(form)
            )
            for name, attempt, intent, payload, form in found
        ]

    async def resolve(self, resolutions: Sequence[Resolution]) -> list[Stage | None]:
        """Act on unknown attempts by the rules of their messages.

        Returns for each the stage that it came to, None when the attempt is no longer unknown.
        """
        if not resolutions:
            return []
        arguments = [resolve_argument(one) for one in resolutions]
        return [read_stage(stage) for stage in await self._calls.run_once(_RESOLVE, arguments)]

    async def owners(self, message_sids: Sequence[str]) -> list[tuple[str, int] | None]:
        """Return the (message id, attempt) that each SID is bound to.

        None: this store does not know the SID.
        """
        if not message_sids:
            return []
        names = [self._calls.keys.sid(sid) for sid in message_sids]
        bound = await self._calls.ask("MGET", *names)
        return [_owner(value) for value in bound]

    async def missing(
        self, limit: int, quiet_for_ms: int, again_after_ms: int, passing_over: Collection[str] = ()
    ) -> list[MissingStatus]:
        """Take up to `limit` messages of one account that lack a final status.

        They were accepted at least `quiet_for_ms` ago. None is returned again before
        `again_after_ms`, and an old message only later. Accounts take turns, without those in
        `passing_over`.
        """
        settings = {
            "limit": limit,
            "quiet_for": quiet_for_ms,
            "again_after": again_after_ms,
            "give_up_after": MAX_STATUS_AGE // _MS,
            "passed_over": list(passing_over),
        }
        taken: list[Any] = []
        for step in range(_MAX_CALLS):
            asked = compact({**settings, "is_last_step": step == _MAX_CALLS - 1})
            is_more, taken = await self._calls.run(_MISSING, [asked])
            if taken or not is_more:
                break
        return [
            MissingStatus(message_id.decode(), int(attempt), sid.decode(), sender.decode())
            for message_id, attempt, sid, sender in taken
        ]

    async def still_missing(self, message_ids: Sequence[str]) -> None:
        """Make accepted messages due again that were taken but not asked for."""
        if message_ids:
            await self._calls.run(_RETURNED, ["undelivered", *message_ids])


def _attempt(now: datetime, fields: Sequence[Any]) -> UnknownAttempt:
    message_id, n, intent, on_unknown, _expires, payload, _looks, reason, person, form, listing = (
        fields[:11]
    )
    is_poison, doubts, content_sid, account, restored_at, was_posted = fields[11:]
    rule = read_rule(on_unknown)
    if restored_at and (not was_posted or rule is OnUnknown.RESEND):
        # If it were sent again without proof, the restore could cause a second copy.
        rule = OnUnknown.RESEND_IF_ABSENT
    return UnknownAttempt(
        message_id=message_id.decode(),
        attempt=int(n),
        intent_at=from_ms(int(intent)),
        now=now,
        on_unknown=rule,
        payload=payload,
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
    """Read a stored reason. A reason that a newer version wrote reads as a timeout."""
    try:
        return Reason((stored or b"").decode())
    except ValueError:
        return Reason.OUTCOME_TIMEOUT


def _owner(value: bytes | None) -> tuple[str, int] | None:
    if value is None or value.startswith(b"?"):
        return None
    attempt, _, message_id = value.decode().partition(":")
    return message_id, int(attempt)
