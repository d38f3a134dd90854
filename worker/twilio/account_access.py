"""How requests reach one Twilio account: URL, credentials and proxy."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from multidict import CIMultiDict
from yarl import URL

from worker.settings.accounts import Account


@dataclass(frozen=True, slots=True)
class AccountAccess:
    """What is the same for every request of an account. It is built once.

    `messages`: the URL of its messages. `proxy_headers`: the credentials for the proxy.
    """

    messages: URL
    origin: URL
    headers: CIMultiDict[str] = field(repr=False)
    proxy: URL | None = None
    proxy_headers: Mapping[str, str] | None = field(default=None, repr=False)


def access_to(account: Account) -> AccountAccess:
    """Return how requests reach an account."""
    credentials = b64encode(f"{account.username}:{account.password}".encode()).decode("ascii")
    headers = CIMultiDict(
        {
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "sendwindow",
        }
    )
    base = URL(account.base_url)
    messages = (
        URL(account.base_url.rstrip("/"))
        / "2010-04-01"
        / "Accounts"
        / account.account_sid
        / "Messages.json"
    )
    if account.proxy is None:
        return AccountAccess(messages, base.origin(), headers)
    proxy = URL(account.proxy)
    login = _proxy_login(proxy)
    if base.scheme == "http":
        # Plain HTTP has no tunnel, so the proxy reads its credentials from the request itself.
        headers.update(login)
    return AccountAccess(messages, base.origin(), headers, proxy.with_user(None), login)


def _proxy_login(proxy: URL) -> dict[str, str]:
    if proxy.user is None:
        return {}
    credentials = b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode("ascii")
    return {"Proxy-Authorization": f"Basic {credentials}"}
