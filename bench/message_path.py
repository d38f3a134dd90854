"""Counts what one accepted message passes: files, functions, and moves from one file to another.

    .venv/bin/python -m bench.message_path [--list]

One process sends messages with `Producer` and takes them with a worker, against the bundled mock
API. The second message counts, because the first one also loads the scripts into Redis. Only the
project's own Python counts, from the call of `send` until the outcome is recorded. Left out is what
runs whether or not there is a message: leases, reaping, adoption and the periodic work.

A move is a call of a function in another file than the call before it in the same task. When a
waiting coroutine goes on, every coroutine that waits for it goes on too. A reader does not follow
these steps, and their number depends on how the replies arrive, so they are counted apart, as
resumptions.
"""

import argparse
import asyncio
import contextlib
import inspect
import os
import sys
import tempfile
import types
from collections import Counter
from pathlib import Path
from typing import Final

from bench.mock_server import mock_api
from bench.posted import FORM
from bench.world import connect, make_settings, opened, record_people
from sendwindow import Freeform, Producer, Purpose, SendMessage
from tests.support.cast import whatsapp
from worker.runtime.embedded_store import start
from worker.services import WorkerService
from worker.stores.store import Store

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = tuple(f"{ROOT / name}{os.sep}" for name in ("sendwindow", "policies", "worker"))
BACKGROUND: Final = frozenset({"renew", "reap", "adopt", "periodic", "register", "watch"})


class MessagePath:
    """Records each move from one file to another. Set `record` as the profile function."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()
        self.moves = 0
        self.resumptions = 0
        self._at: dict[asyncio.Task[object] | None, str] = {}
        self._begun: set[types.FrameType] = set()
        self.is_on = False

    def record(self, frame: types.FrameType, event: str, _arg: object) -> None:
        """Count one event of the interpreter. Only calls of the project's own functions count."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGES):
            return
        is_resumed = frame in self._begun
        if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_GENERATOR):
            self._begun.add(frame)
        if not self.is_on or code.co_name == "<module>":
            return
        task = None
        with contextlib.suppress(RuntimeError):
            task = asyncio.current_task()
        if task is not None and task.get_name() in BACKGROUND:
            return
        if is_resumed:
            self.resumptions += 1
            return
        file = str(Path(code.co_filename).relative_to(ROOT))
        self.files[file] += 1
        self.functions[f"{file}:{code.co_qualname}"] += 1
        self.moves += file != self._at.get(task)
        self._at[task] = file


async def walk(store_url: str, base_url: str) -> MessagePath:
    """Send two messages, and run a worker until each is recorded as accepted. Count the second."""
    path = MessagePath()
    settings = make_settings(store_url, base_url)
    async with opened(store_url) as store:
        await record_people(store, 1)
    service = WorkerService(settings)
    watch = await connect(store_url)
    sys.setprofile(path.record)
    running = asyncio.create_task(service.run(), name="service")
    while service.problem is not None:  # noqa: ASYNC110 -- the service has no event for it
        await asyncio.sleep(0.01)
    async with Producer(store_url) as producer:
        for number in (1, 2):
            message = SendMessage(
                to=whatsapp(0),
                sender="shop",
                purpose=Purpose.UTILITY,
                freeform=Freeform(body=FORM["Body"]),
            )
            path.is_on = number == 2
            await producer.send(message)
            await asyncio.create_task(_until_accepted(watch, number), name="watch")
            # The store has the outcome before the worker has the store's reply.
            for task in asyncio.all_tasks():
                if task.get_name() == "message":
                    await asyncio.wait({task})
        path.is_on = False
    sys.setprofile(None)
    await watch.close()
    await service.stop()
    await running
    return path


async def _until_accepted(watch: Store, number: int) -> None:
    ended = "end:accepted:window_open"
    while (await watch.records.counts()).get(ended, 0) < number:  # noqa: ASYNC110 -- no event tells of it
        await asyncio.sleep(0.01)


def main() -> None:
    """Print the counts. With --list, also print the files in the order of their first call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the files and their functions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, mock_api() as base_url:
        store = start(Path(folder), environ=os.environ)
        try:
            with tempfile.TemporaryFile("w") as log, contextlib.redirect_stderr(log):
                path = asyncio.run(walk(store.url, base_url))
        finally:
            store.stop()
    print(
        f"{len(path.files)} files, {len(path.functions)} functions, {path.moves} moves "
        f"({path.resumptions} resumptions)"
    )
    if arguments.list:
        for file in path.files:
            names = [name.split(":")[1] for name in path.functions if name.startswith(f"{file}:")]
            print(f"  {file}: {', '.join(names)}")


if __name__ == "__main__":
    main()
