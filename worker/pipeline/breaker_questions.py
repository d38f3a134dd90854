"""Asks Twilio about accounts that may not send: does it answer, and take the credentials?"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.ports.breakers import AccountAnswer, Breakers


class AccountReader(Protocol):
    """The part of the Twilio client that asks for an account."""

    async def read_account(self, account: str) -> AccountAnswer:
        """Return how Twilio answers when it is asked for an account. Raises nothing."""
        ...


@dataclass(frozen=True, slots=True)
class BreakerQuestions:
    """Asks with a GET, which changes nothing at Twilio and leaves no unknown outcome."""

    accounts: Sequence[str]
    breakers: Breakers
    twilio: AccountReader

    async def turn(self) -> int:
        """Ask about each account whose question is due. Raises what the store raises."""
        due = await self.breakers.due(self.accounts)
        await asyncio.gather(*(self._ask(account) for account in due))
        return len(due)

    async def _ask(self, account: str) -> None:
        answer = await self.twilio.read_account(account)
        if answer is not AccountAnswer.NONE:
            await self.breakers.answered(account, is_active=answer is AccountAnswer.ACTIVE)
