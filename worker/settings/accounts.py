"""How to log in to a Twilio account, and how to verify what it sends."""

from dataclasses import dataclass, field

from policies.rate_limits import Pace


@dataclass(frozen=True, slots=True)
class Account:
    """Credentials and base URL of a Twilio account.

    `username` is the Account SID or the SID of an API key.

    `proxy` is the URL of the proxy for the account's requests, with credentials if it needs them.

    `pace`: None means that nothing limits the rate. `max_open_posts`: 0 means no limit.

    `portfolio`: the name of its business portfolio. `people_per_day`: the limit of that portfolio,
    0 for none.
    """

    name: str
    account_sid: str
    username: str
    password: str = field(repr=False)
    base_url: str = "https://api.twilio.com"
    webhook_tokens: tuple[str, ...] = field(default=(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    pace: Pace | None = None
    max_open_posts: int = 0
    portfolio: str = ""
    people_per_day: int = 0
