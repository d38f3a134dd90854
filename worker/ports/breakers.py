"""Accounts that may not send, as far as a worker asks Twilio on their behalf."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol


class AccountAnswer(StrEnum):
    """How Twilio answers when it is asked for an account."""

    ACTIVE = "active"
    """It takes the credentials, and the account is active."""
    REFUSED = "refused"
    """It answers something else. A proxy or the credentials may be the cause."""
    NONE = "none"
    """There is no answer, or the answer is an error of the server."""


class Breakers(Protocol):
    """Shares out the questions to Twilio. `Store.breakers` implements it."""

    async def due(self, accounts: Sequence[str]) -> list[str]:
        """Return the accounts that the caller asks Twilio about now.

        They have an open breaker, or are paused because Twilio refused their credentials.
        """
        ...

    async def answered(self, account: str, *, is_active: bool) -> None:
        """Record that Twilio answered, so that one message of the account may try.

        `is_active`: Twilio takes the credentials, so a pause because of them is over.
        """
        ...
