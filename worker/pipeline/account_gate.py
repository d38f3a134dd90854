"""Makes a worker careful with an account after a POST that got no answer."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Doubt:
    """An account of which a POST got no answer, and none got one since.

    `trial`: the one message that may be posted. `unrecorded`: how many POSTs without an answer
    Redis does not know yet. `changed`: set, and replaced, when another message may go.
    """

    trial: object | None = None
    unrecorded: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class AccountGate:
    """Lets one message of an account go at a time while it is in doubt whether Twilio answers it.

    Without this, each POST that fails in an outage would make room for another before Redis has
    opened the account's breaker. A doubt begins with a POST without an answer, and ends with an
    answer. In a healthy account that is a few milliseconds later.
    """

    def __init__(self) -> None:
        self._doubts: dict[str, _Doubt] = {}
        self._closed = False

    async def enter(self, account: str, message: object) -> bool:
        """Wait until a message may go. Returns False when the gate was closed meanwhile."""
        while not self._closed:
            doubt = self._doubts.get(account)
            if doubt is None:
                return True
            if doubt.trial is None and doubt.unrecorded == 0:
                doubt.trial = message
                return True
            await doubt.changed.wait()
        return False

    def may_post(self, account: str, message: object) -> bool:
        """Return whether a message that entered may still be posted."""
        doubt = self._doubts.get(account)
        return doubt is None or doubt.trial is message

    def unanswered(self, account: str) -> None:
        """Record a POST without an answer. Call `recorded` once Redis knows of it."""
        self._doubts.setdefault(account, _Doubt()).unrecorded += 1

    def recorded(self, account: str) -> None:
        """Record that Redis knows of a POST without an answer."""
        if (doubt := self._doubts.get(account)) is not None:
            doubt.unrecorded = max(0, doubt.unrecorded - 1)
            _wake(doubt)

    def answered(self, account: str) -> None:
        """End the doubt about an account."""
        if (doubt := self._doubts.pop(account, None)) is not None:
            _wake(doubt)

    def leave(self, account: str, message: object) -> None:
        """Record that a message that entered is over."""
        doubt = self._doubts.get(account)
        if doubt is not None and doubt.trial is message:
            doubt.trial = None
            _wake(doubt)

    def close(self) -> None:
        """Turn away the messages that wait, and all that come."""
        self._closed = True
        for doubt in self._doubts.values():
            _wake(doubt)


def _wake(doubt: _Doubt) -> None:
    doubt.changed.set()
    doubt.changed = asyncio.Event()
