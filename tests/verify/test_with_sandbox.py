"""Sandbox and `verify` together: a small honest sender is green, and each way of cheating is
red.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web

from sandbox.app import running, say
from sandbox.config import SandboxAccount, SandboxConfig, SandboxSettings, SandboxTemplate
from sandbox.state import Sandbox
from tests.support.cast import ACCOUNT_SID, ANNA, BERT, CARL, SHOP, TEMPLATE_SID
from verify.judge import verify
from verify.report import Report
from worker.telemetry.journal import Journal

RANK = {"sent": 1, "delivered": 2, "read": 3}


class Toy:
    """A sender with its gateway, as simple as the promises allow.

    `cheats` names the one that it breaks.
    """

    def __init__(self, folder: Path, cheats: str | None) -> None:
        self.cheats = cheats
        self.journal = Journal(folder / "toy.jsonl", "toy")
        self.wrote: set[str] = set()
        self.stopped: set[str] = set()
        self.rank: dict[str, int] = {}
        self.ended: set[str] = set()
        self.parked: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.session: aiohttp.ClientSession
        self.url = ""
        self.callbacks = ""

    def end(self, name: str, stage: str, attempt: int = 0, reason: str = "x") -> None:
        self.ended.add(name)
        self.journal.write(
            "settled", id=name, attempt=attempt, stage=stage, reason=reason, code=None, applied=True
        )

    async def send(self, name: str, to: str) -> None:
        """Accept a message and take it to its end, or park it."""
        self.journal.write("accepted", id=name, duplicate=False)
        self.journal.write("claimed", id=name, fence=1)
        if to in self.stopped and self.cheats != "ignores stop":
            self.journal.write(
                "decided", id=name, decision="refuse", reason="opted_out", form="none"
            )
            self.end(name, "refused")
            return
        is_open = to in self.wrote or self.cheats == "ignores the window"
        form = (
            {"Body": "hi"}
            if is_open
            else {"ContentSid": TEMPLATE_SID, "ContentVariables": json.dumps(self.variables())}
        )
        decision = "refuse" if self.cheats == "sends what it refused" else "send"
        kind = "freeform" if is_open else "template"
        self.journal.write("decided", id=name, decision=decision, reason="window_open", form=kind)
        await self.post(name, to, form)

    def variables(self) -> dict[str, str]:
        return {} if self.cheats == "leaves variables out" else {"1": "Ann"}

    async def post(self, name: str, to: str, form: dict[str, str]) -> None:
        attempt = self.attempts[name] = self.attempts.get(name, 0) + 1
        if self.cheats != "writes no intent":
            self.journal.write("intent", id=name, attempt=attempt, fence=1)
        form = {
            "To": to,
            "From": SHOP,
            "StatusCallback": f"{self.callbacks}/status?m={name}&a={attempt}",
        } | form
        form |= {"Tags": "{}"} if self.cheats == "invents parameters" else {}
        url = f"{self.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        auth = {
            "Authorization": "Basic " + base64.b64encode(f"{ACCOUNT_SID}:secret".encode()).decode()
        }
        try:
            async with self.session.post(url, data=form, headers=auth) as answer:
                body, status = await answer.json(), answer.status
        except aiohttp.ClientError:
            body, status = {}, 0
        await self.reply(name, to, form, body, status)

    async def reply(
        self, name: str, to: str, form: dict[str, str], body: dict[str, Any], status: int
    ) -> None:
        attempt = self.attempts[name]
        if status == 201:
            self.journal.write(
                "replied", id=name, attempt=attempt, reply="accepted", sid=body["sid"], http=201
            )
            if name not in self.ended:
                self.end(name, "accepted", attempt)
            if self.cheats == "ends twice":
                self.end(name, "expired")
        elif body.get("code") == 20429 or (status in {0, 500} and self.cheats == "retries blindly"):
            wanted = {"Body", "ContentSid", "ContentVariables"}
            await self.post(name, to, {key: value for key, value in form.items() if key in wanted})
        elif 400 <= status < 500:
            self.end(name, "failed", attempt)
        elif self.cheats != "forgets the unknown":
            self.journal.write(
                "replied", id=name, attempt=attempt, reply="unproven", sid=None, http=status or None
            )
            self.journal.write(
                "settled",
                id=name,
                attempt=attempt,
                stage="unknown",
                reason="x",
                code=None,
                applied=True,
            )
            self.parked.add(name)

    async def status(self, request: web.Request) -> web.Response:
        """Take a status callback."""
        form = dict(parse_qsl((await request.read()).decode()))
        sid, status, name = form["MessageSid"], form["MessageStatus"], request.query["m"]
        moved = RANK[status] > self.rank.get(sid, 0) or self.cheats == "applies every status"
        self.rank[sid] = max(RANK[status], self.rank.get(sid, 0))
        resolved = name in self.parked
        self.parked.discard(name)
        if self.cheats != "acknowledges unstored callbacks":
            attempt = int(request.query["a"])
            shown = {"sid": sid, "status": status, "id": name, "attempt": attempt}
            self.journal.write("callback", **shown, known=True, moved=moved, resolved=resolved)
        return web.Response(status=204)

    async def inbound(self, request: web.Request) -> web.Response:
        """Store an inbound message."""
        form = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
        self.wrote.add(form["From"])
        if form["Body"] == "STOP":
            self.stopped.add(form["From"])
        if self.cheats != "acknowledges unstored inbounds":
            self.journal.write("inbound", sid=form["MessageSid"], keyword=None, opted=None)
        return web.Response(status=204)


@asynccontextmanager
async def stage(folder: Path, toy: Toy) -> AsyncIterator[tuple[str, Sandbox]]:
    """Sandbox and toy gateway on loopback."""
    app = web.Application()
    app.router.add_post("/status", toy.status)
    app.router.add_post("/inbound", toy.inbound)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    toy.callbacks = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = SandboxConfig(
        accounts=(SandboxAccount(sid=ACCOUNT_SID, token="secret"),),
        inbound_url=f"{toy.callbacks}/inbound",
        templates={TEMPLATE_SID: SandboxTemplate(name="order", variables=frozenset({"1"}))},
        journal=folder / "sandbox.jsonl",
        settings=SandboxSettings(callback_delay_ms=0, async_codes=frozenset()),
    )
    try:
        async with running(config) as (url, state), aiohttp.ClientSession() as toy.session:
            toy.url = url
            yield url, state
    finally:
        await runner.cleanup()


async def play(folder: Path, cheats: str | None) -> Report:
    """Play three persons, one STOP, seven messages, and a fault of each kind that matters."""
    toy = Toy(folder, cheats)
    async with stage(folder, toy) as (url, state):
        rules = [
            {"action": "accept_reset", "match": {"id": "m2", "attempt": 1}},
            {"action": "rate_limited", "match": {"id": "m3", "attempt": 1}},
            {"action": "callback_reordered", "match": {"id": "m1"}},
            {"action": "callback_doubled", "match": {"id": "m4"}},
        ]
        await toy.session.post(f"{url}/sandbox/faults", json={"rules": rules})
        await say(url, ANNA, SHOP, "hello")
        for name, to in (("m1", ANNA), ("m2", ANNA), ("m3", BERT), ("m4", BERT)):
            await toy.send(name, to)
        await say(url, CARL, SHOP, "hello")
        await toy.send("m5", CARL)
        await say(url, CARL, SHOP, "STOP")
        await toy.send("m6", CARL)
        await state.callbacks.drained()
    toy.journal.close()
    return verify([folder / "toy.jsonl", folder / "sandbox.jsonl"])


@pytest.mark.asyncio
async def test_a_sender_that_keeps_the_promises_is_green_under_faults(tmp_path: Path) -> None:
    """An honest sender breaks nothing under a lost answer, a 429, and callbacks reordered and
    doubled.
    """
    report = await play(tmp_path, None)
    assert report.ok, report.promises
    assert report.unchecked == ()
    assert (report.headline, dict(report.not_judged).get("P2")) == ("nothing broken", None)
    counts = report.counts
    assert counts.ends == {"accepted": 5, "refused": 1}
    assert (counts.unknown, counts.avoided, counts.resolved) == (1, 1, {"evidence_callback": 1})
    assert counts.faults == {
        "accept_reset": 1,
        "rate_limited": 1,
        "callback_reordered": 1,
        "callback_doubled": 1,
    }


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "cheats, promise, rule",
    [
        ("ignores the window", "P1", "outside_window"),
        ("ignores stop", "P1", "after_stop"),
        ("leaves variables out", "P1", "missing_variables"),
        ("sends what it refused", "P1", "undecided"),
        ("forgets the unknown", "P2", "lost"),
        ("ends twice", "P2", "two_ends"),
        ("retries blindly", "P3", "duplicate"),
        ("writes no intent", "P3", "no_intent"),
        ("applies every status", "P4", "backward"),
        ("acknowledges unstored callbacks", "P4", "not_stored"),
        ("acknowledges unstored inbounds", "P4", "inbound_not_stored"),
        ("invents parameters", "requests", "unknown_parameter"),
    ],
)
async def test_each_way_of_cheating_is_seen(
    tmp_path: Path, cheats: str, promise: str, rule: str
) -> None:
    """A fault seeded in the sender breaks its promise, so verify and sandbox do notice it."""
    report = await play(tmp_path, cheats)
    found = next(each for each in report.promises if each.name == promise)
    assert rule in {breach.rule for breach in found.breaches}
    assert not report.ok
