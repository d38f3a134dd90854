"""What the gateway makes of a request: one that Twilio signed, or one that it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.values.accounts import Account


class RefusedError(Exception):
    """A request that is answered with `status` and a short sentence; nothing was written."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that Twilio signed. `query` is signed as well. Each name has its first value."""

    account: Account
    params: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
