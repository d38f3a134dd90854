"""What the producers' tests use: one interface for both, a proxy that cuts connections, own
servers.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from sendwindow.batch import Progress
from sendwindow.contract import SendMessage
from sendwindow.producer import Producer
from sendwindow.results import CampaignStatus, CancelAnswer, MessageStatus, Receipt, SendSummary
from sendwindow.sync import Producer as BlockingProducer
from tests.support.free_ports import free_port


class Face(Protocol):
    """The calls of both producers, for a test with a loop."""

    async def send(self, message: Any) -> Receipt: ...
    async def send_many(
        self, messages: Any, *, batch: int = 500, on_progress: Progress | None = None
    ) -> SendSummary: ...
    async def status(self, message_id: str) -> MessageStatus | None: ...
    async def cancel(self, message_id: str) -> CancelAnswer: ...
    async def pause_campaign(
        self, sender: str, campaign: str, lasting: timedelta | None = None
    ) -> CampaignStatus: ...
    async def resume_campaign(self, sender: str, campaign: str) -> CampaignStatus: ...
    async def cancel_campaign(self, sender: str, campaign: str) -> CampaignStatus: ...
    async def campaign_status(self, sender: str, campaign: str) -> CampaignStatus: ...


class _Blocking:
    """The blocking producer, with each call in a thread."""

    def __init__(self, producer: BlockingProducer) -> None:
        self._producer = producer

    async def send(self, message: Any) -> Receipt:
        return await asyncio.to_thread(self._producer.send, message)

    async def send_many(
        self, messages: Any, *, batch: int = 500, on_progress: Progress | None = None
    ) -> SendSummary:
        return await asyncio.to_thread(
            self._producer.send_many, messages, batch=batch, on_progress=on_progress
        )

    async def status(self, message_id: str) -> MessageStatus | None:
        return await asyncio.to_thread(self._producer.status, message_id)

    async def cancel(self, message_id: str) -> CancelAnswer:
        return await asyncio.to_thread(self._producer.cancel, message_id)

    async def pause_campaign(
        self, sender: str, campaign: str, lasting: timedelta | None = None
    ) -> CampaignStatus:
        return await asyncio.to_thread(self._producer.pause_campaign, sender, campaign, lasting)

    async def resume_campaign(self, sender: str, campaign: str) -> CampaignStatus:
        return await asyncio.to_thread(self._producer.resume_campaign, sender, campaign)

    async def cancel_campaign(self, sender: str, campaign: str) -> CampaignStatus:
        return await asyncio.to_thread(self._producer.cancel_campaign, sender, campaign)

    async def campaign_status(self, sender: str, campaign: str) -> CampaignStatus:
        return await asyncio.to_thread(self._producer.campaign_status, sender, campaign)


@asynccontextmanager
async def opened(kind: str, url: str, partition: str = "p0", **options: Any) -> AsyncIterator[Face]:
    """Open a producer of one kind, `asyncio` or `blocking`."""
    if kind == "asyncio":
        async with Producer(url, partition, **options) as producer:
            yield producer
    else:
        with BlockingProducer(url, partition, **options) as blocking:
            yield _Blocking(blocking)


Open = Callable[..., AbstractAsyncContextManager[Face]]


def a_message(**fields: Any) -> SendMessage:
    """Return a valid message; `fields` replace its own."""
    own = {
        "to": "whatsapp:+14155550100",
        "sender": "shop",
        "purpose": "reply",
        "freeform": {"body": "Hello"},
    }
    return SendMessage(**{**own, **fields})


class Cut(StrEnum):
    """Where the proxy cuts: before a script's call has reached the server, or before its reply
    is back.
    """

    REQUEST = "request"
    HALF = "half"
    REPLY = "reply"


class Proxy:
    """A proxy in front of the store. Each script call takes the next cut of `cuts`, or passes."""

    def __init__(self, target: str) -> None:
        self.cuts: list[Cut] = []
        self.calls = 0
        self.connections: list[asyncio.Task[None]] = []
        self.before_cut: Callable[[], Awaitable[object]] | None = None
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection both ways until it ends or is cut."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.append(task)
        store_reader, store_writer = await asyncio.open_unix_connection(self._target)
        cut_reply = asyncio.Event()
        ways = [
            asyncio.ensure_future(self._carry_requests(reader, store_writer, cut_reply)),
            asyncio.ensure_future(self._carry_replies(store_reader, writer, cut_reply)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        store_writer.close()
        await asyncio.wait(ways)
        with suppress(ConnectionError):
            await writer.wait_closed()
        with suppress(ConnectionError):
            await store_writer.wait_closed()

    async def _carry_requests(
        self, reader: asyncio.StreamReader, store: asyncio.StreamWriter, cut_reply: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while request := await reader.read(1 << 20):
                script = b"EVAL" in request
                self.calls += script
                cut = self.cuts.pop(0) if script and self.cuts else None
                if cut is Cut.REQUEST:
                    return
                if cut is Cut.HALF:
                    store.write(request[: len(request) // 2])
                    return
                if cut is Cut.REPLY:
                    cut_reply.set()
                store.write(request)

    async def _carry_replies(
        self, store: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_reply: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while reply := await store.read(1 << 20):
                if cut_reply.is_set():
                    if self.before_cut:
                        await self.before_cut()
                    return
                writer.write(reply)


@asynccontextmanager
async def proxied(url: str, folder: Path) -> AsyncIterator[tuple[str, Proxy]]:
    """Run a proxy in front of a store on a unix socket. Yields its URL and itself."""
    proxy = Proxy(url.removeprefix("unix://").partition("?")[0])
    path = folder / "proxy.sock"
    server = await asyncio.start_unix_server(proxy.serve, path)
    try:
        yield f"unix://{path}", proxy
    finally:
        server.close()
        await asyncio.gather(*proxy.connections)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


Start = Callable[..., AbstractContextManager[Server]]


@contextmanager
def a_server(
    binary: str, folder: Path, *arguments: str, ready: bytes = b"Ready to accept"
) -> Iterator[Server]:
    """Run a server on a loopback port until the block ends."""
    port = free_port()
    command = [binary, *arguments, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        while ready not in (line := process.stdout.readline()):
            assert line, f"{command} ended"
        yield Server(port, process)
    finally:
        process.kill()
        process.communicate()
