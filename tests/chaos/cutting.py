"""A proxy in front of a store.

It cuts the connection at any byte of a script's reply, refuses connections, or leads to another
store.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from sendwindow.protocol import CANCEL, ENQUEUE
from sendwindow.scripts import Script
from tests.chaos.sentinel import StoreServer
from worker.stores import arq_ingress, ledger, people, records, statuses, store, unknowns

WHOLE: Final = -1
"""Cut one byte before the reply is complete."""
UNSENT: Final = -2
"""Cut before the call reaches the store, so that the script does not run."""


def scripts() -> Mapping[str, Script]:
    """Return every script of the service by its name."""
    modules = (arq_ingress, ledger, people, records, statuses, store, unknowns)
    found = [
        each for module in modules for each in vars(module).values() if isinstance(each, Script)
    ]
    return {script.name: script for script in (ENQUEUE, CANCEL, *found)}


def load_all(server: StoreServer) -> None:
    """Load every script, so that each call uses its digest, by which the proxy recognizes the
    script.
    """
    for script in scripts().values():
        server.ask("SCRIPT", "LOAD", script.source)


@dataclass(frozen=True, slots=True)
class Cut:
    """Which script's next reply is cut, and after how many of its bytes.

    `WHOLE` cuts all but the last byte; `UNSENT` has its own docstring.
    """

    script: str
    after: int


class Proxy:
    """One way to a store, `open` or not.

    The replies of the scripts that `cuts` names use the cuts up in order. `muted`: a connection
    that asks for such a command gets no answer from then on. `admitting`: requests for a permit
    that have no answer yet.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.cuts: list[Cut] = []
        self.done: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.cut_happened = asyncio.Event()
        self.was_muted = asyncio.Event()
        self.closes_after_cut = False
        self.muted: frozenset[bytes] = frozenset()
        self.admitting: set[asyncio.StreamWriter] = set()
        self._names = {script.sha.encode(): name for name, script in scripts().items()}
        self._is_open = True
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    def close(self) -> None:
        """Cut every connection and refuse new ones."""
        self._is_open = False
        for writer in self._writers:
            writer.transport.abort()

    def open(self) -> None:
        """Admit connections."""
        self._is_open = True

    def lead_to(self, target: tuple[str, int]) -> None:
        """Cut every connection and lead to another store from now on."""
        self.close()
        self.target = target
        self.open()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection in a task."""
        task = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def ended(self) -> None:
        """Cut every connection and wait until all are closed."""
        self.close()
        await asyncio.gather(*self._connections)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            writer.transport.abort()
            return
        try:
            store_reader, store_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        cut: list[Cut] = []
        both = {writer, store_writer}
        self._writers |= both
        there = asyncio.create_task(self._requests(reader, store_writer, cut))
        back = asyncio.create_task(
            self._replies(store_reader, writer, cut, lambda: self.admitting.discard(store_writer))
        )
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.admitting.discard(store_writer)
            self._writers -= both
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            for one in both:
                one.close()
                with suppress(OSError):
                    await one.wait_closed()

    async def _requests(
        self, reader: asyncio.StreamReader, store: asyncio.StreamWriter, cut: list[Cut]
    ) -> None:
        with suppress(OSError):
            while request := await reader.read(1 << 20):
                if any(command in request for command in self.muted):
                    self.was_muted.set()
                    await asyncio.Event().wait()
                name = next((name for sha, name in self._names.items() if sha in request), None)
                if name is not None:
                    self.seen[name] += 1
                    if self.cuts and self.cuts[0].script == name:
                        cut.append(self.cuts.pop(0))
                        if cut[0].after == UNSENT:
                            self._note(cut.pop())
                            return
                if name == "admit":
                    self.admitting.add(store)
                store.write(request)
                await store.drain()

    async def _replies(
        self,
        store: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cut: list[Cut],
        answered: Callable[[], None],
    ) -> None:
        with suppress(OSError):
            while reply := await store.read(1 << 20):
                if cut:
                    self._cut(writer, reply, cut.pop())
                    return
                writer.write(reply)
                await writer.drain()
                answered()

    def _cut(self, writer: asyncio.StreamWriter, reply: bytes, cut: Cut) -> None:
        most = len(reply) - 1
        writer.write(reply[: most if cut.after == WHOLE else min(cut.after, most)])
        self._note(cut)

    def _note(self, cut: Cut) -> None:
        self.done[cut.script] += 1
        if self.closes_after_cut:
            self.close()
        self.cut_happened.set()


@asynccontextmanager
async def proxied(target: tuple[str, int]) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a store until the block ends. Its `url` is the one to connect to."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.ended()
        await server.wait_closed()
