"""Writes the scripts' arguments: effects, settlements, status updates, timeline notes. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, assert_never

from policies.decision import Trace
from policies.policy import ErrorGuard
from policies.status import describe
from sendwindow.scripts import Argument
from sendwindow.timestamps import to_ms
from worker.ports.admissions import AdmitRequest
from worker.ports.effects import (
    CloseWindow,
    Effect,
    HoldBack,
    OptOut,
    PauseAccount,
    PauseSender,
    SetTag,
    SetTemplate,
    SuppressAddress,
    WithdrawMarketing,
)
from worker.ports.settlements import (
    Result,
    SettleAccepted,
    SettleAgain,
    SettleEnd,
    Settlement,
    SettleUnknown,
)
from worker.ports.statuses import StatusUpdate
from worker.ports.unknowns import Resolution, SettleUnresolved
from worker.stores.script_runner import compact, rest_of_note


def _due(instant: datetime | None) -> int | None:
    return to_ms(instant) if instant else None


def encode_effect(effect: Effect) -> dict[str, object]:
    """Return an effect in the form that `apply_effects` in `lua/` reads."""
    match effect:
        case OptOut() | HoldBack() | SuppressAddress():
            fields = _of_person(effect)
            return fields if effect.guard is None else {**fields, "guard": _guard(effect.guard)}
        case CloseWindow():
            return {"t": "close_window"}
        case WithdrawMarketing():
            return {"t": "withdraw", "evidence": effect.evidence}
        case PauseSender():
            return {"t": "pause_sender", "ms": effect.seconds * 1000, "reason": effect.reason}
        case PauseAccount():
            return {"t": "pause_account", "ms": effect.seconds * 1000, "reason": effect.reason}
        case SetTemplate():
            return {
                "t": "template",
                "state": effect.state,
                "reason": effect.reason,
                "ms": effect.seconds * 1000,
            }
        case SetTag():
            return {"t": "tag", "state": effect.state, "reason": effect.reason}
        case _:
            assert_never(effect)


def _of_person(effect: OptOut | HoldBack | SuppressAddress) -> dict[str, object]:
    match effect:
        case OptOut():
            return {
                "t": "opt_out",
                "sender_only": effect.sender_only,
                "evidence": effect.evidence,
                "suspends": effect.suspends_grants,
            }
        case HoldBack():
            return {
                "t": "hold",
                "holds": effect.holds,
                "after_marketing": effect.after_marketing,
                "ms": effect.seconds * 1000,
                "until_inbound": effect.until_inbound,
                "sender_only": effect.sender_only,
                "code": effect.code,
            }
        case SuppressAddress():
            return {
                "t": "suppress",
                "ms": effect.seconds * 1000,
                "reason": effect.reason,
                "phones_only": effect.phones_only,
            }
        case _:
            assert_never(effect)


def _guard(guard: ErrorGuard) -> list[int]:
    return [guard.attempts, guard.most_percent, guard.most_errors]


def _trace(trace: Trace | None) -> dict[str, object]:
    if trace is None:
        return {}
    verdicts = [
        [one.rule, one.verdict, one.detail] if one.detail else [one.rule, one.verdict]
        for one in trace.verdicts
    ]
    return {"policy": trace.policy_version, "trace": verdicts}


def admit_arguments(request: AdmitRequest) -> list[Argument]:
    """Return the nineteen arguments that admit.lua takes for one request."""
    seen = request.seen
    return [
        request.message_id,
        request.fence,
        request.attempt,
        f"{request.person_digest} {request.other_digests}".rstrip(),
        request.sender,
        request.account,
        request.template or "",
        seen.person,
        seen.sender,
        seen.account,
        "" if seen.template is None else seen.template,
        "" if seen.tag is None else seen.tag,
        to_ms(request.valid_until),
        request.reason,
        request.trace.policy_version,
        request.person_cap,
        "1" if request.relies_on_tag else "",
        request.listing,
        rest_of_note(
            {
                "reason": request.reason,
                "template": request.template,
                "marketing": request.is_marketing or None,
                "user_id": request.to_user_id or None,
                **_trace(request.trace),
            }
        ),
    ]


def _result(result: Result | SettleUnresolved) -> dict[str, Any]:
    match result:
        case SettleAccepted():
            rank = describe(result.status).rank
            return {
                "kind": "accepted",
                "sid": result.message_sid,
                "status": result.status,
                "rank": rank,
            }
        case SettleEnd():
            return {
                "kind": "end",
                "stage": result.stage,
                "reason": result.reason,
                "code": result.code,
            }
        case SettleAgain():
            return {
                "kind": "again",
                "stage": result.stage,
                "reason": result.reason,
                "code": result.code,
                "due": _due(result.due_at),
                "delay": result.delay_ms,
                "on_inbound": result.on_inbound or None,
                "redecided": result.redecided or None,
            }
        case SettleUnknown():
            return {
                "kind": "unknown",
                "reason": result.reason,
                "code": result.code,
                "look": result.look_after_ms,
            }
        case SettleUnresolved():
            return {"kind": "unresolved", "reason": result.reason}
        case _:
            assert_never(result)


def _note(attempt: int, result: Result | SettleUnresolved, trace: Trace | None = None) -> str:
    """Return the rest of the timeline note.

    It is empty for accepted attempts, which the script notes itself.
    """
    if isinstance(result, SettleAccepted):
        return ""
    detail = (
        result.detail if isinstance(result, SettleUnknown | SettleUnresolved) else result.sentence
    )
    return rest_of_note(
        {
            "n": attempt or None,
            "reason": result.reason,
            "code": None if isinstance(result, SettleUnresolved) else result.code,
            "text": detail or None,
            **_trace(trace),
        }
    )


def settle_arguments(settlement: Settlement) -> list[Argument]:
    """Return the two arguments that settle.lua takes for one settlement."""
    fields = {
        "id": settlement.message_id,
        "fence": str(settlement.fence),
        "n": settlement.attempt,
        "posted": settlement.posted,
        "person": settlement.person_digest,
        "sender": settlement.sender,
        "account": settlement.account,
        "template": settlement.template,
        "effects": [encode_effect(effect) for effect in settlement.effects],
        **_result(settlement.result),
    }
    return [compact(fields), _note(settlement.attempt, settlement.result, settlement.trace)]


def resolve_arguments(resolution: Resolution) -> list[Argument]:
    """Return the two arguments that resolve.lua takes for one resolution."""
    fields = {"id": resolution.message_id, "n": resolution.attempt, **_result(resolution.result)}
    return [compact(fields), _note(resolution.attempt, resolution.result)]


def status_argument(update: StatusUpdate) -> str:
    """Return one status update in the form that status.lua reads."""
    return compact(
        {
            "sid": update.message_sid,
            "status": update.status,
            "rank": update.rank,
            "final": update.is_final,
            "failure": update.is_failure,
            "code": update.code,
            "id": update.message_id,
            "n": update.attempt,
            "life": update.life,
            "effects": [encode_effect(effect) for effect in update.effects],
            "reopen": update.reopen_after_ms,
            "tries": update.most_tries or None,
            "redecides": update.redecides or None,
            "evidence": update.evidence,
        }
    )


def flat(lists: Sequence[Sequence[Argument]]) -> list[Argument]:
    """Return the arguments of a batch as one list."""
    return [argument for each in lists for argument in each]
