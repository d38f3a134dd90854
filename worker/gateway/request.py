"""The two results of checking a request: Twilio signed it, or the gateway refuses it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.settings.accounts import Account


class RefusedError(Exception):
    """A refused request. The response is `status` and a short sentence; nothing was written."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that Twilio signed, with its query. Each name has its first value."""

    account: Account
    params: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
