"""Writes the scripts' arguments: effects, admissions, settlements, status updates. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from policies.decision import Trace
from policies.policy import ErrorGuard
from policies.status import describe
from sendwindow.scripts import Argument
from sendwindow.timestamps import to_ms
from worker.ports.admissions import AdmitRequest, Charge
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
from worker.stores.script_runner import compact, without_none

_MS: Final = timedelta(milliseconds=1)


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
    # No empty list, because Lua would write it as an object.
    return {"policy": trace.policy_version, "trace": verdicts or None}


def _charge(charge: Charge) -> dict[str, object]:
    paces = {"account": charge.account, "sender": charge.sender, "pair": charge.pair}
    posts = charge.posts
    places = {} if posts is None else {"posts": [posts.most, posts.term // _MS]}
    urgent = {"urgent": True} if charge.is_urgent and charge.pair is not None else {}
    portfolio = charge.portfolio
    people = {} if portfolio is None else {"portfolio": [portfolio.name, portfolio.people]}
    return {
        "units": charge.units,
        **people,
        **urgent,
        **places,
        **{
            name: [pace.interval_us, pace.tolerance_us]
            for name, pace in paces.items()
            if pace is not None
        },
    }


def admit_argument(request: AdmitRequest) -> str:
    """Return one request in the form that admit.lua reads.

    The fence and the revisions are texts, because Lua's numbers would not hold them exactly.
    """
    seen = request.seen
    revisions = {
        "person": seen.person,
        "sender": seen.sender,
        "account": seen.account,
        "template": seen.template,
        "tag": seen.tag,
    }
    return compact(
        {
            "id": request.message_id,
            "fence": str(request.fence),
            "attempt": request.attempt,
            "person": f"{request.person_digest} {request.other_digests}".rstrip(),
            "sender": request.sender,
            "account": request.account,
            "template": request.template or None,
            "seen": {name: str(one) for name, one in revisions.items() if one is not None},
            "valid_until": to_ms(request.valid_until),
            "reason": request.reason,
            "policy": request.trace.policy_version,
            "cap": request.person_cap,
            "relies_on_tag": request.relies_on_tag,
            "listing": request.listing,
            "charge": _charge(request.charge),
            "entry": without_none(
                {
                    "reason": request.reason,
                    "template": request.template,
                    "marketing": request.is_marketing or None,
                    "user_id": request.to_user_id or None,
                    **_trace(request.trace),
                }
            ),
        }
    )


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
                "keeps_place": result.keeps_place or None,
            }
        case SettleUnknown():
            return {
                "kind": "unknown",
                "reason": result.reason,
                "code": result.code,
                "look_after": result.look_after_ms,
            }
        case SettleUnresolved():
            return {"kind": "unresolved", "reason": result.reason}
        case _:
            assert_never(result)


def _entry(
    attempt: int, result: Result | SettleUnresolved, trace: Trace | None = None
) -> dict[str, object] | None:
    """Return the entry of the timeline.

    None for accepted attempts, which the script records itself.
    """
    if isinstance(result, SettleAccepted):
        return None
    detail = (
        result.detail if isinstance(result, SettleUnknown | SettleUnresolved) else result.sentence
    )
    return without_none(
        {
            "n": attempt or None,
            "reason": result.reason,
            "code": None if isinstance(result, SettleUnresolved) else result.code,
            "text": detail or None,
            **_trace(trace),
        }
    )


def settle_argument(settlement: Settlement) -> str:
    """Return one settlement in the form that settle.lua reads.

    The fence is a text, because Lua's numbers would not hold it exactly.
    """
    return compact(
        {
            "id": settlement.message_id,
            "fence": str(settlement.fence),
            "attempt": settlement.attempt,
            "posted": settlement.posted,
            "answered": settlement.answered,
            "person": settlement.person_digest,
            "sender": settlement.sender,
            "account": settlement.account,
            "template": settlement.template,
            "effects": [encode_effect(effect) for effect in settlement.effects],
            "entry": _entry(settlement.attempt, settlement.result, settlement.trace),
            **_result(settlement.result),
        }
    )


def resolve_argument(resolution: Resolution) -> str:
    """Return one resolution in the form that resolve.lua reads."""
    return compact(
        {
            "id": resolution.message_id,
            "attempt": resolution.attempt,
            "entry": _entry(resolution.attempt, resolution.result),
            **_result(resolution.result),
        }
    )


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
