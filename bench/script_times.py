"""Measures the time that Redis spends on one call of each script.

    .venv/bin/python -m bench.script_times [--rounds N] [--against CHECKOUT]

Each round opens a new store and repeats the same calls, with one message and with eight in a call.
The time is Redis's own (`usec` of EVALSHA in INFO commandstats), so neither the network nor Python
counts. With `--against`, another checkout of this project runs the same calls in turn with ours, so
that a noisy second affects both. The result is the median over the rounds of each round's median.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
BATCH_MESSAGES: Final = 8
REPEATS: Final = 24
"""How often one round runs each call with each size of batch."""

HANG_SECONDS: Final = 300.0
_WARM_UP: Final = 4
"""The first calls of each script load its text, so they are not counted."""

Times = dict[str, list[float]]
"""`<script> <messages in the call>` → µs of each call."""


async def _run_child() -> Times:
    """Run one round against a store of its own, and return the times.

    The imports are here, because `main` first puts the checkout to measure in front of the path.
    """
    from bench.script_calls import run_calls  # noqa: PLC0415 -- the path comes first
    from worker.runtime.embedded_store import start  # noqa: PLC0415 -- the path comes first

    times: Times = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        store = start(Path(folder), environ=os.environ)
        try:
            with _measured(store.url, times) as batch:
                await run_calls(store.url, batch, BATCH_MESSAGES, _turns())
        finally:
            store.stop()
    return {name: values[_WARM_UP:] or values for name, values in times.items()}


def _turns() -> Iterator[int]:
    """Yield the number of each repetition when the parent says that it is our turn."""
    for number, _ in enumerate(sys.stdin):
        yield number
        print("done", flush=True)


@contextmanager
def _measured(url: str, times: Times) -> Iterator[Callable[[int], None]]:
    """Record the time of every script call. Yields what sets how many messages a call has."""
    import redis  # noqa: PLC0415 -- the path comes first

    from sendwindow.scripts import Script  # noqa: PLC0415 -- the path comes first

    connection = redis.Redis.from_url(url)
    call, size = Script.__call__, 1

    async def measured(script: Script, *asked: Any, **named: Any) -> Any:
        connection.config_resetstat()
        answer = await call(script, *asked, **named)
        stats: Any = connection.info("commandstats")
        spent = sum(
            stats[name]["usec"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats
        )
        times[f"{script.name} {size}"].append(spent)
        return answer

    def set_size(messages: int) -> None:
        nonlocal size
        size = messages

    setattr(Script, "__call__", measured)  # noqa: B010 -- mypy forbids the plain assignment
    try:
        yield set_size
    finally:
        setattr(Script, "__call__", call)  # noqa: B010 -- as above
        connection.close()


def _round(checkouts: list[Path]) -> list[Times]:
    """Run one round of each checkout, in processes of their own that take turns."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "script_times.py"), "--child", str(checkout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for checkout in checkouts
    ]
    for _ in range(REPEATS):
        for process in processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            if not process.stdout.readline():
                sys.exit("bench: a round failed; its error is above")
    answers = [process.communicate(timeout=HANG_SECONDS)[0] for process in processes]
    return [json.loads(answer.strip().splitlines()[-1]) for answer in answers]


def _medians(rounds: list[Times]) -> dict[str, float]:
    """Return for each script the median over the rounds of each round's median."""
    names = sorted({name for one in rounds for name in one})
    return {
        name: statistics.median(statistics.median(one[name]) for one in rounds if name in one)
        for name in names
    }


def _show(ours: dict[str, float], others: dict[str, float]) -> None:
    """Print one line for each script and size of batch."""
    print(
        f"{'script':<16}{'messages':>9}{'µs':>8}" + (f"{'other':>8}{'ratio':>7}" if others else "")
    )
    for name in sorted(ours, key=lambda each: (each.split()[0], int(each.split()[1]))):
        script, size = name.split()
        line = f"{script:<16}{size:>9}{ours[name]:>8.0f}"
        if name in others:
            line += f"{others[name]:>8.0f}{ours[name] / others[name]:>7.2f}"
        print(line)


def main() -> None:
    """Parse the options, run the rounds, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.script_times", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout of this project")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        # Our own `bench`, and everything else from the checkout to measure.
        sys.path[:0] = [str(options.child), str(ROOT)]
        import bench  # noqa: PLC0415 -- the path comes first

        bench.__path__.insert(0, str(ROOT / "bench"))
        print(json.dumps(asyncio.run(_run_child())))
        return
    checkouts = [ROOT, *([options.against.resolve()] if options.against else [])]
    rounds = []
    for number in range(options.rounds):
        rounds.append(_round(checkouts))
        print(f"round {number + 1} of {options.rounds} done", flush=True)
    ours, *others = (_medians(list(times)) for times in zip(*rounds, strict=True))
    _show(ours, others[0] if others else {})


if __name__ == "__main__":
    main()
