"""The bundled mock of the Messages API, in a process of its own.

It answers every POST with 201 and a unique SID, as cheaply as Python can, and every GET with an
empty list. Results measured with it are marked `bundled`: it takes a CPU core, which a small
machine may not have to spare.

With a script it also waits as long as Twilio does, hangs for one sender, plays an outage, and
remembers when each POST came. Its clock is the machine's monotonic one, which rows share.
"""

import asyncio
import itertools
import json
import math
import random
import re
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import quote_plus

import uvloop

from bench.child_commands import answer_commands, say

_SIDS = itertools.count(1)
_EMPTY_LIST: Final = json.dumps({"messages": [], "next_page_uri": None}).encode()
_DOWN: Final = json.dumps({"code": 20503, "status": 503, "message": "down"}).encode()
_MESSAGE_ID: Final = re.compile(rb"[?]m=([^&]+)&|%3Fm%3D([^%&]+)%26")
_P95: Final = 1.6448536269514722
"""How many standard deviations above the mean the 95th percentile of a normal distribution is."""


@dataclass(frozen=True, slots=True)
class Script:
    """What the mock does besides answering.

    `mean` and `p95`: how long an answer takes, in seconds and log-normally distributed; 0: at once.
    `hanging`: POSTs from this address take `hang_seconds`. `remembers`: keep the time and the
    message id of each POST.
    """

    mean: float = 0.0
    p95: float = 0.0
    hanging: str = ""
    hang_seconds: float = 0.0
    remembers: bool = False


def log_normal(mean: float, p95: float) -> tuple[float, float]:
    """Return mu and sigma of the log-normal distribution with this mean and 95th percentile.

    With z = 1.645: mean = exp(mu + sigma²/2) and p95 = exp(mu + z sigma), so
    sigma² - 2 z sigma + 2 ln(p95 / mean) = 0. The smaller solution has its median near the mean.
    Raises ValueError where there is none.
    """
    under_root = _P95**2 - 2 * math.log(p95 / mean)
    if under_root < 0 or p95 < mean:
        raise ValueError("no log-normal distribution has this mean and 95th percentile")
    sigma = _P95 - math.sqrt(under_root)
    return math.log(mean) - sigma**2 / 2, sigma


class Answers:
    """Decides what each POST gets, and when."""

    def __init__(self, script: Script) -> None:
        self._hanging = f"From={quote_plus(script.hanging)}".encode() if script.hanging else None
        self._hang_seconds = script.hang_seconds
        self._times = log_normal(script.mean, script.p95) if script.mean else None
        # The same latencies in every round and for every row.
        self._random = random.Random(1)
        self._remembers = script.remembers
        self.is_down = False
        self.asked = 0
        self.posts: list[tuple[float, str, bool]] = []

    def answer(self, head: bytes, body: bytes) -> tuple[str, bytes, float]:
        """Return the status line, the body, and after how many seconds they are sent."""
        if head.startswith(b"GET"):
            return "200 OK", _EMPTY_LIST, 0.0
        self.asked += 1
        if self._remembers:
            found = _MESSAGE_ID.search(body)
            name = (found[1] or found[2]).decode() if found else ""
            self.posts.append((time.monotonic(), name, not self.is_down))
        if self.is_down:
            return "503 Service Unavailable", _DOWN, self._seconds(body)
        sid = {"sid": f"SM{next(_SIDS):032x}", "status": "queued", "error_code": None}
        return "201 Created", json.dumps(sid).encode(), self._seconds(body)

    def _seconds(self, body: bytes) -> float:
        if self._hanging is not None and self._hanging in body:
            return self._hang_seconds
        return self._random.lognormvariate(*self._times) if self._times else 0.0


class MockApi(asyncio.Protocol):
    """HTTP/1.1 with keep-alive. It reads bodies by Content-Length."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio.Transport, so cast and do not check.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, length = self._buffer[:end], 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = (
                self._buffer[end + 4 : end + 4 + length],
                self._buffer[end + 4 + length :],
            )
            status, answer, seconds = self._answers.answer(head, body)
            if seconds:
                asyncio.get_running_loop().call_later(seconds, self._write, status, answer)
            else:
                self._write(status, answer)

    def _write(self, status: str, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)


async def _serve(script: Script, certificate: str, key: str) -> None:
    answers, loop = Answers(script), asyncio.get_running_loop()
    server = await loop.create_server(lambda: MockApi(answers), "127.0.0.1", 0)
    ports = {"port": server.sockets[0].getsockname()[1]}
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        over_tls = await loop.create_server(lambda: MockApi(answers), "127.0.0.1", 0, ssl=context)
        ports["tls_port"] = over_tls.sockets[0].getsockname()[1]
    say(ports)

    async def posts() -> Mapping[str, object]:
        return {"posts": answers.posts}

    async def asked() -> Mapping[str, object]:
        return {"asked": answers.asked}

    async def down() -> Mapping[str, object]:
        answers.is_down = True
        return {}

    async def up() -> Mapping[str, object]:
        answers.is_down = False
        return {"at": time.monotonic()}

    await answer_commands({"posts": posts, "asked": asked, "down": down, "up": up})


if __name__ == "__main__":
    given = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    uvloop.run(
        _serve(
            Script(**given.get("script", {})), given.get("certificate", ""), given.get("key", "")
        )
    )
