"""What a reply or a status changes in what is known of person, sender, account, template and tag."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CloseWindow:
    """The provider says the window is closed (63016)."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """The provider says the person stopped (21610, 63014, 63033).

    `sender_only`: scope is this sender, or the messaging service it is in, else account and channel.
    """

    sender_only: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class PauseSender:
    """Nothing more goes out from this sender for `seconds`."""

    seconds: int
    reason: str


@dataclass(frozen=True, slots=True)
class PauseAccount:
    """Nothing more goes out from this account for `seconds`."""

    seconds: int
    reason: str


@dataclass(frozen=True, slots=True)
class SetTemplate:
    """The template's approval as the provider's error shows it (`rejected`, `paused`, `disabled`).

    `seconds` 0: until reset.
    """

    state: str
    reason: str
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class SetTag:
    """ACCOUNT_UPDATE on this Page is proven or dead."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class SuppressAddress:
    """Nothing goes to this address for `seconds` (63003, 63024, 21211 …)."""

    seconds: int
    reason: str


Effect = CloseWindow | OptOut | PauseSender | PauseAccount | SetTemplate | SetTag | SuppressAddress
