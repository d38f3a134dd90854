"""The other side of `child.py`: answers words on the standard input until it closes."""

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable, Mapping

Command = Callable[[], Awaitable[Mapping[str, object]]]


def cpu_seconds() -> float:
    """Return the processor seconds of this process, by its rusage."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(answer: Mapping[str, object]) -> None:
    """Print one answer."""
    print(json.dumps(answer), flush=True)


async def answer_commands(commands: Mapping[str, Command]) -> None:
    """Respond to each word with its command's result, until the standard input closes.

    `cpu` is always known: the processor seconds of this process.
    """
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        word = line.decode().strip()
        say({"cpu": cpu_seconds()} if word == "cpu" else await commands[word]())
