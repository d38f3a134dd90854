"""What an error of Twilio teaches about person, sender, account and template. Pure.

A reply, a callback and a row of Twilio's list teach the same.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from policies.error_catalogue import ErrorClass, ErrorEntry, Hold, Scope
from policies.facts import Approval
from policies.policy import ErrorGuard
from policies.retry_delay import least_wait
from policies.ruleset import Ruleset
from sendwindow.vocabulary import Channel
from worker.ports.effects import (
    CloseWindow,
    Effect,
    HoldBack,
    OptOut,
    PauseAccount,
    PauseSender,
    SetTemplate,
    SuppressAddress,
    WithdrawMarketing,
)

CREDENTIALS_REFUSED: Final = "code 20003"
"""The reason of a pause that ends as soon as Twilio takes the credentials of the account."""

_UNTIL_RESET_SECONDS: Final = int(timedelta(days=3650).total_seconds())
"""A pause that only an operator ends, in seconds."""

_TEMPLATE_STATES: Final = {
    63027: Approval.REJECTED,
    63040: Approval.REJECTED,
    63041: Approval.PAUSED,
}

_OF_PERSON: Final = frozenset({ErrorClass.OPTOUT, ErrorClass.HOLD, ErrorClass.BADADDR})


@dataclass(frozen=True, slots=True)
class Heard:
    """How an error arrived.

    `retry_after`: its `Retry-After`, in seconds. `channel_codes`: the channel's own error codes.
    """

    retry_after: float | None = None
    channel: Channel | None = None
    channel_codes: frozenset[int] = frozenset()


_PLAINLY: Final = Heard()


def effects_of(entry: ErrorEntry, rules: Ruleset, heard: Heard = _PLAINLY) -> tuple[Effect, ...]:
    """Return what a catalogue entry teaches, whether it came with the reply or with a callback.

    Only the store knows what was sent in the attempt. An effect that depends on it says so, and the
    store checks.
    """
    if (
        entry.error_class is ErrorClass.IGNORE
        or not heard.channel_codes & rules.errors.marketing_stopped
    ):
        return _taught(entry, rules.policy.error_guard, heard)
    # The channel's own code is more exact than the code that Twilio reports for it.
    withdrawal = WithdrawMarketing(
        f"twilio code {entry.code}, the channel says that marketing was stopped"
    )
    rest = (
        () if entry.error_class in _OF_PERSON else _taught(entry, rules.policy.error_guard, heard)
    )
    return (withdrawal, *rest)


def _taught(entry: ErrorEntry, guard: ErrorGuard, heard: Heard) -> tuple[Effect, ...]:
    if entry.error_class in _OF_PERSON:
        return _taught_of_person(entry, guard, heard)
    reason = f"code {entry.code}"
    seconds = _whole(entry.wait)
    match entry.error_class:
        case ErrorClass.TEMPLATE:
            return (CloseWindow(),)
        case ErrorClass.PAUSE_SENDER:
            return (PauseSender(seconds or _UNTIL_RESET_SECONDS, reason),)
        case ErrorClass.PAUSE_ACCOUNT:
            return (PauseAccount(seconds or _UNTIL_RESET_SECONDS, reason),)
        case ErrorClass.DISABLE_TEMPLATE:
            state = _TEMPLATE_STATES.get(entry.code or 0, Approval.DISABLED)
            return (SetTemplate(state, reason, seconds),)
        case ErrorClass.THROTTLE:
            return _slow_down(entry, _whole(least_wait(entry, heard.retry_after)), reason)
        case _:
            return ()


def _taught_of_person(entry: ErrorEntry, guard: ErrorGuard, heard: Heard) -> tuple[Effect, ...]:
    reason = f"code {entry.code}"
    seconds = _whole(entry.wait)
    if entry.hold is not None:
        return (_hold_back(entry, entry.hold, guard),)
    if entry.error_class is ErrorClass.OPTOUT:
        is_sms = heard.channel is Channel.SMS
        return (
            OptOut(
                entry.scope is Scope.SENDER, f"twilio {reason}", suspends_grants=is_sms, guard=guard
            ),
        )
    return (
        SuppressAddress(
            seconds or _UNTIL_RESET_SECONDS, reason, entry.for_user_id is not None, guard
        ),
    )


def _hold_back(entry: ErrorEntry, hold: Hold, guard: ErrorGuard) -> HoldBack:
    return HoldBack(
        holds=hold.holds,
        after_marketing=hold.after_marketing,
        seconds=_whole(entry.wait),
        until_inbound=hold.until_inbound,
        sender_only=entry.scope is Scope.SENDER,
        code=entry.code or 0,
        # A cap that the provider sets is not a sign of a faulty provider, however many persons
        # reach it.
        guard=guard if hold.until_inbound else None,
    )


def _slow_down(entry: ErrorEntry, seconds: int, reason: str) -> tuple[Effect, ...]:
    if seconds and entry.scope is Scope.SENDER:
        return (PauseSender(seconds, reason),)
    if seconds and entry.scope is Scope.ACCOUNT:
        return (PauseAccount(seconds, reason),)
    return ()


def _whole(wait: timedelta) -> int:
    return int(wait.total_seconds())
