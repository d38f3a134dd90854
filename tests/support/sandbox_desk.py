"""A sandbox on a real socket, and a desk that sends to it as a sender does."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.app import running
from sandbox.config import SandboxAccount, SandboxConfig, SandboxTemplate
from sandbox.state import Sandbox
from tests.support.cast import ACCOUNT_SID, TEMPLATE_SID

PAGE, PSID = "messenger:555", "messenger:777"
HOUR = 3_600_000

Form = dict[str, str] | list[tuple[str, str]]


class Desk:
    """Sends requests to a sandbox as a sender does."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, state: Sandbox, journal: Path | None
    ) -> None:
        self.session, self.url, self.state, self.journal = session, url, state, journal
        self.auth = basic(ACCOUNT_SID, "secret")

    @property
    def messages(self) -> str:
        return f"{self.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"

    async def post(self, form: Form, **headers: str) -> tuple[int, dict[str, Any]]:
        async with self.session.post(
            f"{self.messages}.json", data=form, headers=self.auth | headers
        ) as answer:
            return answer.status, await answer.json()

    async def send(self, **more: str) -> tuple[int, dict[str, Any]]:
        """Send an SMS unless `more` says otherwise."""
        return await self.post(
            {"To": "+14155550123", "From": "+14155550100", "Body": "hello"} | more
        )

    async def get(self, path: str = ".json", **query: str | int) -> tuple[int, dict[str, Any]]:
        async with self.session.get(
            f"{self.messages}{path}", params=query, headers=self.auth
        ) as answer:
            return answer.status, await answer.json()

    async def tell(
        self, what: str, body: Mapping[str, object], method: str = "POST"
    ) -> dict[str, Any]:
        async with self.session.request(method, f"{self.url}/sandbox/{what}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            told: dict[str, Any] = await answer.json()
            return told

    async def wrote(self, person: str, sender: str, ago_ms: int = 60_000) -> None:
        await self.tell("people", {"from": person, "to": sender, "wrote_ago_ms": ago_ms})

    async def fault(self, action: str, **more: Any) -> None:
        await self.tell("faults", {"rules": [{"action": action, **more}]})

    def posts(self) -> list[dict[str, Any]]:
        assert self.journal is not None
        lines = [json.loads(line) for line in self.journal.read_text().splitlines()]
        return [line for line in lines if line["e"] == "post"]


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header with a sender's credentials."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@asynccontextmanager
async def desk(tmp_path: Path | None = None, **account: Any) -> AsyncIterator[Desk]:
    """Run a sandbox with one account and one template, and yield a desk to it."""
    journal = tmp_path / "sandbox.jsonl" if tmp_path else None
    config = SandboxConfig(
        accounts=(
            SandboxAccount(sid=ACCOUNT_SID, token="secret", keys={"SK1": "key-secret"}, **account),
        ),
        templates={
            TEMPLATE_SID: SandboxTemplate(
                name="order", variables=frozenset({"1", "2"}), body="Hi {{1}}: {{2}}"
            )
        },
        journal=journal,
    )
    async with running(config) as (url, state), aiohttp.ClientSession() as session:
        yield Desk(session, url, state, journal)


SMS = {"To": "+14155550123", "From": "+14155550100", "Body": "x"}
