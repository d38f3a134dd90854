"""How to speak to a Twilio account, and how to know that it speaks."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Account:
    """Credentials and base URL of a Twilio account. `username` is the Account SID or an API key's SID.

    `proxy`: URL of the proxy that its requests go through, with credentials where it wants them.
    """

    name: str
    account_sid: str
    username: str
    password: str = field(repr=False)
    base_url: str = "https://api.twilio.com"
    webhook_tokens: tuple[str, ...] = field(default=(), repr=False)
    proxy: str | None = field(default=None, repr=False)
