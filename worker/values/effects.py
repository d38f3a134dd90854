"""What a reply or a status changes in what is known of person, sender, account, template and tag."""

from dataclasses import dataclass

from policies.facts import Holds
from policies.policy import ErrorGuard


@dataclass(frozen=True, slots=True)
class CloseWindow:
    """The provider says the window is closed (63016)."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """The provider says the person stopped (21610).

    `sender_only`: scope is this sender, or the messaging service it is in, else account and channel. `guard`: kept
    aside for an operator when the sender has more such errors than this. `suspends_grants`: for a person who never
    said stop to us, what they granted on the account is suspended until they write.
    """

    sender_only: bool
    evidence: str
    suspends_grants: bool = False
    guard: ErrorGuard | None = None


@dataclass(frozen=True, slots=True)
class HoldBack:
    """The provider's word holds messages to the person back (63014, 63049 …).

    `after_marketing`: what is held instead when the attempt sent a marketing template. `seconds` 0: no term.
    `until_inbound`: the person's own act ends it. `sender_only`: at this sender, else on the account. `guard`: as with
    OptOut.
    """

    holds: Holds
    after_marketing: Holds
    seconds: int
    until_inbound: bool
    sender_only: bool
    code: int
    guard: ErrorGuard | None = None


@dataclass(frozen=True, slots=True)
class WithdrawMarketing:
    """The provider says the person stopped marketing messages and nothing else (Meta, 131050)."""

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
    """Nothing goes to this address for `seconds` (63003, 63024, 21211 …), or until the person writes.

    `phones_only`: says nothing of a user id, for which the code is a fault of the sender. `guard`: as with OptOut.
    """

    seconds: int
    reason: str
    phones_only: bool = False
    guard: ErrorGuard | None = None


Effect = (
    CloseWindow
    | OptOut
    | HoldBack
    | WithdrawMarketing
    | PauseSender
    | PauseAccount
    | SetTemplate
    | SetTag
    | SuppressAddress
)
