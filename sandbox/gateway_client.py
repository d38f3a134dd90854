"""Posts signed forms to the gateway, as Twilio would.

It is the only module of the sandbox that opens connections.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from sandbox.clock import wall_now
from sandbox.config import SandboxConfig
from sandbox.signing import sign
from sandbox.simulated_people import SimulatedPeople

_MAX_CONNECTIONS: Final = 64


class GatewayClient:
    """Connections to the gateway, the sandbox's clock, and the accounts' tokens."""

    def __init__(self, config: SandboxConfig, people: SimulatedPeople) -> None:
        self._tokens: Mapping[str, str] = {
            account.sid: account.token for account in config.accounts
        }
        self._rewrites = config.rewrites
        self._people = people
        self._session: aiohttp.ClientSession | None = None
        self.offset_ms = config.offset_ms

    def open(self) -> None:
        """Create the connection pool. Needs a running loop."""
        connector = aiohttp.TCPConnector(limit=_MAX_CONNECTIONS)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def now_ms(self) -> int:
        """Return the sandbox's clock in milliseconds: the wall clock plus the offset."""
        return int(wall_now().timestamp() * 1000) + self.offset_ms

    def dlr_date(self) -> str:
        """Return the time for a carrier's delivery receipt, as YYMMDDhhmm."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC).strftime("%y%m%d%H%M")

    def user_id(self, address: str) -> str | None:
        """Return the WhatsApp user id of a phone, without its prefix, or None if it is unknown."""
        linked = self._people.at(address).user_id
        return linked.partition(":")[2] if linked else None

    async def post(
        self,
        account: str,
        url: str,
        form: Sequence[tuple[str, str]],
        timeouts: tuple[float, float] = (5.0, 15.0),
        method: str = "POST",
    ) -> tuple[int | None, str | None]:
        """Send a signed form. With GET it goes into the query.

        `timeouts`: seconds to connect and to read. Returns (HTTP status, failure). `failure` is
        None after a 2xx, otherwise `4xx`, `5xx`, `ct` (no connection) or `rt` (no answer).
        """
        if self._session is None:
            raise RuntimeError("the outbox is closed: run the application before posting")
        target, encoded = url.partition("#")[0], urlencode(form)
        if method == "GET":
            target += ("&" if "?" in target else "?") + encoded
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "X-Twilio-Signature": sign(
                self._tokens[account], target, () if method == "GET" else form
            ),
            "I-Twilio-Idempotency-Token": dict(form)["MessageSid"],
            "User-Agent": "TwilioProxy/1.1",
        }
        limits = aiohttp.ClientTimeout(total=None, sock_connect=timeouts[0], sock_read=timeouts[1])
        try:
            async with self._session.request(
                method,
                URL(self._rewritten(target), encoded=True),
                data=None if method == "GET" else encoded.encode(),
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return None, "ct"
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None, "rt"
        return status, None if 200 <= status < 300 else ("5xx" if status >= 500 else "4xx")

    def _rewritten(self, url: str) -> str:
        for prefix, instead in self._rewrites.items():
            if url.startswith(prefix):
                return instead + url[len(prefix) :]
        return url
