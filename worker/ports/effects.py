"""What a reply or a status teaches about a person, sender, account, template or tag.

Some effects about persons are held until an operator decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from policies.facts import Holds
from policies.policy import ErrorGuard


@dataclass(frozen=True, slots=True)
class CloseWindow:
    """The provider reports that the session window is closed (63016)."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """The provider reports that the person opted out (21610).

    `sender_only`: the opt-out applies to this sender, or to its messaging service if it is in one;
    otherwise it applies to the account on that channel. `suspends_grants`: if the person never told
    us to stop, their grants on the account are suspended until they write. `guard`: when the sender
    has more such errors than this, the effect is held until an operator decides.
    """

    sender_only: bool
    evidence: str
    suspends_grants: bool = False
    guard: ErrorGuard | None = None


@dataclass(frozen=True, slots=True)
class HoldBack:
    """The provider reports an error that holds back messages to the person (63014, 63049 …).

    `after_marketing`: what is held back instead when the attempt sent a marketing template.
    `seconds`: 0 means no time limit. `until_inbound`: the hold ends when the person writes.
    `sender_only`: it applies to this sender, otherwise to the whole account. `guard`: as with
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
    """The provider reports that the person stopped marketing messages only (Meta, 131050)."""

    evidence: str


@dataclass(frozen=True, slots=True)
class PauseSender:
    """This sender sends nothing for `seconds`."""

    seconds: int
    reason: str


@dataclass(frozen=True, slots=True)
class PauseAccount:
    """This account sends nothing for `seconds`."""

    seconds: int
    reason: str


@dataclass(frozen=True, slots=True)
class SetTemplate:
    """The template's approval as the provider's error shows it (`rejected`, `paused`, `disabled`).

    `seconds`: 0 means until an operator resets it.
    """

    state: str
    reason: str
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class SetTag:
    """The state of the ACCOUNT_UPDATE tag on this Page: proven or dead."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class SuppressAddress:
    """The worker sends nothing to this address for `seconds`, or until the person writes.

    Twilio reports such addresses with 63003, 63024, 21211 … `phones_only`: the effect says nothing
    about a user id, because the code then means a fault of the sender. `guard`: as with OptOut.
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


class HeldEffectsPort(Protocol):
    """Counts the effects about persons that are held until an operator decides.

    `Store.held` implements it.
    """

    async def waiting(self, senders: Sequence[str]) -> Mapping[str, int]:
        """Return how many effects are held for each sender. Senders without any are left out."""
        ...
