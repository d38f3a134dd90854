"""What an error of Twilio's teaches about person, sender, account and template, whichever way it came. Pure."""

from datetime import timedelta
from typing import Final

from policies.errors import ErrorClass, ErrorEntry, Scope
from policies.facts import Approval
from worker.values.effects import (
    CloseWindow,
    Effect,
    OptOut,
    PauseAccount,
    PauseSender,
    SetTemplate,
    SuppressAddress,
)

_UNTIL_RESET: Final = int(timedelta(days=3650).total_seconds())
"""A pause that only a person ends, in seconds."""

_TEMPLATE_STATES: Final = {63027: Approval.REJECTED, 63040: Approval.REJECTED, 63041: Approval.PAUSED}


def effects_of(entry: ErrorEntry, retry_after: float | None = None) -> tuple[Effect, ...]:
    """Say what a catalogue entry teaches, come with the answer or with a callback. `retry_after` in seconds."""
    reason = f"code {entry.code}"
    seconds = int(entry.wait.total_seconds())
    match entry.error_class:
        case ErrorClass.TEMPLATE:
            return (CloseWindow(),)
        case ErrorClass.OPTOUT:
            return (OptOut(sender_only=entry.scope is Scope.SENDER, evidence=f"twilio {reason}"),)
        case ErrorClass.BADADDR:
            return (SuppressAddress(seconds or _UNTIL_RESET, reason),)
        case ErrorClass.PAUSE_SENDER:
            return (PauseSender(seconds or _UNTIL_RESET, reason),)
        case ErrorClass.PAUSE_ACCOUNT:
            return (PauseAccount(seconds or _UNTIL_RESET, reason),)
        case ErrorClass.DISABLE_TEMPLATE:
            state = _TEMPLATE_STATES.get(entry.code or 0, Approval.DISABLED)
            return (SetTemplate(state, reason, seconds),)
        case ErrorClass.THROTTLE:
            return _slow_down(entry, max(seconds, min(int(retry_after or 0), 3600)), reason)
        case _:
            return ()


def _slow_down(entry: ErrorEntry, seconds: int, reason: str) -> tuple[Effect, ...]:
    if seconds and entry.scope is Scope.SENDER:
        return (PauseSender(seconds, reason),)
    if seconds and entry.scope is Scope.ACCOUNT:
        return (PauseAccount(seconds, reason),)
    return ()
